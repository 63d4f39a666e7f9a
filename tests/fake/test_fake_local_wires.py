"""The fake's wires of local servers: Ollama's NDJSON and TGI's events."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fake import FakeProvider, Script, ToolCall

HELLO = [{"role": "user", "content": "hello there"}]


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def fake(provider: FakeProvider) -> FakeProvider:
    provider.clear()
    return provider


def call(fake: FakeProvider, method: str, path: str, body: Any = None) -> tuple[int, str, bytes]:
    """Status, Content-Type and body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=5)
    connection.request(method, path, None if body is None else json.dumps(body))
    response = connection.getresponse()
    answer = (response.status, response.headers["content-type"], response.read())
    connection.close()
    return answer


def lines(body: bytes) -> list[Any]:
    return [json.loads(line) for line in body.splitlines()]


def events(body: bytes) -> list[Any]:
    return [json.loads(event.removeprefix(b"data:")) for event in body.split(b"\n\n") if event]


def test_ollama_streams_lines_unless_told_not_to(fake: FakeProvider) -> None:
    _, content_type, body = call(fake, "POST", "/api/chat", {"model": "m", "messages": HELLO})
    *pieces, last = lines(body)
    assert content_type == "application/x-ndjson"
    assert [piece["message"]["content"] for piece in pieces] == ["You ", "said: ", "hello ", "there"]
    assert (last["done"], last["done_reason"]) == (True, "stop")
    assert (last["prompt_eval_count"], last["eval_count"]) == (2, 4)


def test_ollama_replies_whole_when_told_so(fake: FakeProvider) -> None:
    _, content_type, body = call(fake, "POST", "/api/chat", {"model": "m", "messages": HELLO, "stream": False})
    answer = json.loads(body)
    assert content_type.startswith("application/json")
    assert answer["message"] == {"role": "assistant", "content": "You said: hello there"}
    assert answer["done"] is True


def test_ollama_calls_tools_with_objects(fake: FakeProvider) -> None:
    fake.script("m", Script(tool_calls=[ToolCall(id="c", name="clock", arguments='{"zone": "CET"}')]))
    _, _, body = call(fake, "POST", "/api/chat", {"model": "m", "messages": HELLO})
    first, last = lines(body)
    function = first["message"]["tool_calls"][0]["function"]
    assert (function["name"], function["arguments"]) == ("clock", {"zone": "CET"})
    assert last["done_reason"] == "stop"


def test_ollama_thinks_in_a_field_of_its_own(fake: FakeProvider) -> None:
    fake.script("m", Script(thinking="Hm.", text="Yes."))
    _, _, body = call(fake, "POST", "/api/chat", {"model": "m", "messages": HELLO})
    assert [line["message"].get("thinking") for line in lines(body)] == ["Hm.", None, None]


def test_ollama_obeys_num_predict(fake: FakeProvider) -> None:
    ask = {"model": "m", "messages": HELLO, "options": {"num_predict": 2}}
    assert lines(call(fake, "POST", "/api/chat", ask)[2])[-1]["done_reason"] == "length"


def test_ollama_lists_shows_and_names_itself(fake: FakeProvider) -> None:
    fake.models(["llama3.2:latest", "qwen3:8b"])
    tags = json.loads(call(fake, "GET", "/api/tags")[2])
    assert [model["name"] for model in tags["models"]] == ["llama3.2:latest", "qwen3:8b"]
    running = json.loads(call(fake, "GET", "/api/ps")[2])
    assert running["models"][0]["context_length"] == 8192
    shown = json.loads(call(fake, "POST", "/api/show", {"model": "qwen3:8b"})[2])
    assert "tools" in shown["capabilities"]
    assert json.loads(call(fake, "GET", "/api/version")[2]).keys() == {"version"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"messages": HELLO}, "model is required"),
        ({"model": "m", "messages": "hi"}, "json: cannot unmarshal string into Go struct field"),
        ({"model": "m", "messages": [{"role": "user", "content": ["x"]}]}, "cannot unmarshal array"),
        ({"model": "m", "messages": HELLO, "think": "much"}, "invalid think value"),
        ({"model": "m", "messages": HELLO, "top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
    ],
)
def test_ollama_refuses_with_a_bare_error(fake: FakeProvider, body: dict[str, Any], error: str) -> None:
    status, _, answer = call(fake, "POST", "/api/chat", body)
    assert status == 400
    assert error in json.loads(answer)["error"]


def test_ollama_refuses_arguments_in_a_string(fake: FakeProvider) -> None:
    calls = [{"function": {"name": "f", "arguments": "{}"}}]
    messages = [*HELLO, {"role": "assistant", "content": "", "tool_calls": calls}]
    status, _, answer = call(fake, "POST", "/api/chat", {"model": "m", "messages": messages})
    assert status == 400
    assert "arguments" in json.loads(answer)["error"]


def test_ollama_fails_in_the_stream(fake: FakeProvider) -> None:
    fake.script("m", Script(stream_error="runner died"))
    _, _, body = call(fake, "POST", "/api/chat", {"model": "m", "messages": HELLO})
    assert lines(body)[-1] == {"error": "runner died"}


def test_tgi_generates_and_details_when_asked(fake: FakeProvider) -> None:
    plain = json.loads(call(fake, "POST", "/generate", {"inputs": "hello there"})[2])
    assert plain == {"generated_text": "You said: hello there"}
    ask = {"inputs": "hello there", "parameters": {"details": True, "max_new_tokens": 2}}
    details = json.loads(call(fake, "POST", "/generate", ask)[2])["details"]
    assert (details["finish_reason"], details["generated_tokens"]) == ("length", 2)
    assert [token["text"] for token in details["tokens"]] == ["You ", "said: "]


def test_tgi_streams_tokens_and_ends_with_the_text(fake: FakeProvider) -> None:
    ask = {"inputs": "hello there", "parameters": {"details": True}}
    _, content_type, body = call(fake, "POST", "/generate_stream", ask)
    *tokens, last = events(body)
    assert content_type == "text/event-stream"
    assert "".join(token["token"]["text"] for token in tokens) == "You said: hello there"
    assert last["generated_text"] == "You said: hello there"
    assert last["details"] == {
        "finish_reason": "eos_token",
        "generated_tokens": 4,
        "seed": None,
        "input_length": 2,
    }


def test_tgi_refuses_a_reply_with_422_and_a_stream_with_an_event(fake: FakeProvider) -> None:
    bad = {"inputs": "x", "parameters": {"temperature": 0}}
    expected = {
        "error": "Input validation error: `temperature` must be strictly positive",
        "error_type": "validation",
    }
    status, _, body = call(fake, "POST", "/generate", bad)
    assert (status, json.loads(body)) == (422, expected)
    status, _, body = call(fake, "POST", "/generate_stream", bad)
    assert (status, events(body)) == (200, [expected])


def test_tgi_serves_the_first_model(fake: FakeProvider) -> None:
    fake.models(["org/first", "org/second"])
    fake.script("org/first", Script(text="mine"))
    assert json.loads(call(fake, "GET", "/info")[2])["model_id"] == "org/first"
    assert json.loads(call(fake, "POST", "/generate", {"inputs": "x"})[2]) == {"generated_text": "mine"}


def test_a_route_without_a_model_is_scripted_by_its_path(fake: FakeProvider) -> None:
    fake.script("GET /api/tags", Script(status=500, error="no disk"))
    assert call(fake, "GET", "/api/tags")[::2] == (500, b'{"error":"no disk"}')
