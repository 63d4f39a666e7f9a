"""Ollama's native chat: what is asked, what comes back, and what is refused."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from switchgear.core.errors import InvalidRequest, UpstreamInvalid, UpstreamRejected, UpstreamTruncated
from switchgear.core.fold import fold
from switchgear.core.types import (
    Audio,
    Chat,
    Document,
    Event,
    Finished,
    Image,
    LogprobsDelta,
    Message,
    Origin,
    Prompt,
    Refusal,
    Reply,
    ResponseFormat,
    Target,
    Text,
    TextDelta,
    Thinking,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolResult,
)
from switchgear.formats import ollama
from tests.golden import GOLDEN, check_golden, pretty

DIRECTORY = GOLDEN / "ollama"
TARGET = Target("local", "llama3.2")
HELLO = [Message("user", [Text("Hello")])]
PNG = "iVBORw0KGgo="
SCHEMA = Raw(b'{"type":"object","properties":{"age":{"type":"integer"}},"required":["age"]}')
WEATHER = Tool(
    "get_weather", "The weather in a city", Raw(b'{"type":"object","properties":{"city":{"type":"string"}}}')
)
CLOCK = Tool("get_time")
CALLS = [
    Message("user", [Text("Paris and Rome?")]),
    Message(
        "assistant",
        [ToolCall("call_1", "get_weather", '{"city": "Paris", "at": 1.50}'), ToolCall("call_2", "get_time", "")],
    ),
]


@dataclass
class Case:
    messages: list[Message] = field(default_factory=lambda: HELLO)
    stream: bool = False
    prompt: dict[str, Any] = field(default_factory=dict)

    def chat(self) -> Chat:
        return Chat("any", stream=self.stream, prompt=Prompt(messages=self.messages, **self.prompt))


REQUESTS = {
    "text": Case(),
    "stream": Case(stream=True),
    "system_and_developer": Case(
        [Message("system", [Text("Be brief.")]), Message("developer", [Text("Be kind.")]), *HELLO]
    ),
    "images": Case([Message("user", [Text("What is "), Image(data=PNG, media_type="image/png"), Text("this?")])]),
    "tools": Case(prompt={"tools": [WEATHER, CLOCK], "tool_choice": ToolChoice("auto"), "parallel_tool_calls": True}),
    "tool_choice_none": Case(prompt={"tools": [WEATHER], "tool_choice": ToolChoice("none")}),
    "tool_results": Case(
        [
            *CALLS,
            Message("tool", [ToolResult("call_1", [Text("22 °C"), Image(data=PNG)])]),
            Message("tool", [ToolResult("call_2", [Text("noon")])]),
        ]
    ),
    "tool_error": Case([*CALLS, Message("tool", [ToolResult("call_1", [Text("no such city")], is_error=True)])]),
    "several_results_in_one_turn": Case(
        [*CALLS, Message("user", [ToolResult("call_2", [Text("noon")]), ToolResult("call_9", []), Text("And now?")])]
    ),
    "thinking": Case(
        [*HELLO, Message("assistant", [Thinking("Hm.", "sig"), Text("Hi")]), *HELLO],
        prompt={"reasoning_effort": "high"},
    ),
    "refusal": Case([*HELLO, Message("assistant", [Refusal("No.")]), *HELLO]),
    "json_object": Case(prompt={"response_format": ResponseFormat("json_object")}),
    "json_schema": Case(prompt={"response_format": ResponseFormat("json_schema", "person", SCHEMA, True)}),
    "options": Case(
        prompt={
            "max_tokens": 64, "temperature": 0.0, "top_p": 1.0, "top_k": 40, "min_p": 0.05, "seed": 7,
            "stop": ["END", "\n\n"], "presence_penalty": 0.5, "frequency_penalty": -0.5, "repetition_penalty": 1.1,
            "n": 1, "logprobs": True, "top_logprobs": 3,
        }
    ),
    "extra": Case(
        prompt={
            "temperature": 0.5, "reasoning_effort": "low", "response_format": ResponseFormat("json_object"),
            "extra": {
                "keep_alive": Raw(b'"10m"'), "options": Raw(b'{"num_ctx":8192,"temperature":0.9}'),
                "think": Raw(b"true"), "format": SCHEMA, "shift": Raw(b"false"), "truncate": Raw(b"true"),
            },
        }
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_written_as_its_golden_file_says(name: str) -> None:
    body = ollama.write_request(REQUESTS[name].chat(), TARGET)
    check_golden(DIRECTORY / f"{name}.request.json", pretty(body))


DROPPED: dict[str, dict[str, Any]] = {
    "user": {"user": "u"},
    "metadata": {"metadata": {"a": "b"}},
    "service_tier": {"service_tier": "flex"},
    "store": {"extra": {"store": Raw(b"true")}},
    "safety_identifier": {"extra": {"safety_identifier": Raw(b'"s"')}},
    "prompt_cache_key": {"extra": {"prompt_cache_key": Raw(b'"k"')}},
    "prompt_cache_retention": {"extra": {"prompt_cache_retention": Raw(b'"24h"')}},
    "messages[].name": {"messages": [Message("user", [Text("Hello")], "ann")]},
    "image.detail": {"messages": [Message("user", [Image(data=PNG, detail="low")])]},
    "thinking.signature": {"messages": [Message("assistant", [Thinking("Hm.", "sig")])]},
    "parallel_tool_calls": {"tools": [CLOCK], "parallel_tool_calls": True},
    "tools[].strict": {"tools": [Tool("get_time", strict=True)]},
    "response_format.name": {"response_format": ResponseFormat("json_schema", "person", SCHEMA)},
    "response_format.strict": {"response_format": ResponseFormat("json_schema", None, SCHEMA, True)},
}
KEPT: dict[str, dict[str, Any]] = {
    "image.detail": {"messages": [Message("user", [Image(data=PNG)])]},
    "thinking.signature": {"messages": [Message("assistant", [Thinking("Hm.")])]},
    "parallel_tool_calls": {"tools": [CLOCK]},
    "tools[].strict": {"tools": [CLOCK]},
    "response_format.name": {"response_format": ResponseFormat("json_schema", None, SCHEMA)},
    "response_format.strict": {"response_format": ResponseFormat("json_schema", None, SCHEMA)},
}


def written(**prompt: Any) -> Any:
    return msgspec.json.decode(
        ollama.write_request(Chat("any", prompt=Prompt(**{"messages": HELLO, **prompt})), TARGET)
    )


def test_what_is_dropped_is_listed_with_its_reason() -> None:
    assert DROPPED.keys() == ollama.DROPPED.keys()


@pytest.mark.parametrize("name", DROPPED)
def test_what_is_dropped_changes_nothing(name: str) -> None:
    assert written(**DROPPED[name]) == written(**KEPT.get(name, {}))


REFUSED: dict[str, dict[str, Any]] = {
    "n": {"n": 2},
    "logit_bias": {"logit_bias": {"50256": -100}},
    "parallel_tool_calls": {"tools": [CLOCK], "parallel_tool_calls": False},
    "tool_choice": {"tools": [CLOCK], "tool_choice": ToolChoice("required")},
    "tool_choice ": {"tools": [CLOCK], "tool_choice": ToolChoice("function", "get_time")},
    "reasoning_effort": {"reasoning_effort": "extreme"},
    "prediction": {"extra": {"prediction": Raw(b'{"type":"content"}')}},
    "options": {"extra": {"options": Raw(b"[1]")}},
    "messages[0].content": {"messages": [Message("user", [Audio("UklG", "wav")])]},
    "messages[0].content ": {"messages": [Message("user", [Document(data="JVBE")])]},
    "messages[1].content": {"messages": [*HELLO, Message("user", [Image(url="https://example.org/cat.png")])]},
    "messages[0].tool_calls[1].function.arguments": {
        "messages": [Message("assistant", [ToolCall("a", "f", "{}"), ToolCall("b", "f", '{"city": "Par')])]
    },
    "messages[0].tool_calls[0].function.arguments": {"messages": [Message("assistant", [ToolCall("a", "f", "[1]")])]},
}


@pytest.mark.parametrize("param", REFUSED)
def test_what_cannot_be_said_is_refused_by_name(param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        written(**REFUSED[param])
    assert refused.value.param == param.strip()


def test_a_field_that_is_null_was_not_said() -> None:
    assert written(extra={"prediction": Raw(b"null"), "options": Raw(b"null")}) == written()


def test_arguments_nested_without_end_are_refused() -> None:
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    with pytest.raises(InvalidRequest):
        written(messages=[Message("assistant", [ToolCall("a", "f", deep)])])


@pytest.mark.parametrize(
    ("effort", "think"),
    [("none", False), ("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high"), ("xhigh", "max")],
)
def test_effort_becomes_think_as_in_ollamas_own_openai_front(effort: str, think: object) -> None:
    assert written(reasoning_effort=effort)["think"] == think


def test_a_request_in_ollamas_own_words_passes_with_only_the_model_replaced() -> None:
    body = b'{ "model": "mine",  "messages": [], "unknown": 1.50 }'
    origin = Origin(ollama.FORMAT, body)
    sent = ollama.write_request(Chat("mine", origin=origin), TARGET)
    assert sent == b'{ "model": "llama3.2",  "messages": [], "unknown": 1.50 }'


# --- replies -----------------------------------------------------------------------------------------------------

REPLIES = sorted(path.name.removesuffix(".stream.txt") for path in DIRECTORY.glob("*.stream.txt"))


def stream_of(name: str) -> bytes:
    return (DIRECTORY / f"{name}.stream.txt").read_bytes()


def reply_of(name: str) -> bytes:
    return (DIRECTORY / f"{name}.reply.json").read_bytes()


def events_of(chunks: Iterable[bytes]) -> list[Event]:
    reader = ollama.StreamReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return [*events, *reader.close()]


def streamed(*chunks: bytes) -> Reply:
    return fold(events_of(chunks))


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_reads_as_its_golden_file_says(name: str) -> None:
    check_golden(DIRECTORY / f"{name}.canonical.json", pretty(ollama.read_reply(reply_of(name))))


@pytest.mark.parametrize("name", REPLIES)
def test_a_folded_stream_is_the_whole_reply(name: str) -> None:
    assert streamed(stream_of(name)) == ollama.read_reply(reply_of(name))


@pytest.mark.parametrize("name", REPLIES)
def test_every_cut_in_two_and_every_byte_alone_read_the_same(name: str) -> None:
    stream = stream_of(name)
    events = events_of([stream])
    assert events_of(stream[i : i + 1] for i in range(len(stream))) == events
    for at in range(len(stream)):
        assert events_of([stream[:at], stream[at:]]) == events


@settings(max_examples=50)
@given(st.sampled_from(REPLIES), st.data())
def test_every_chunking_reads_the_same(name: str, data: st.DataObject) -> None:
    stream = stream_of(name)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert events_of(pieces) == events_of([stream])


@pytest.mark.parametrize("name", REPLIES)
def test_a_stream_cut_short_at_any_byte_is_truncated_never_a_success(name: str) -> None:
    stream = stream_of(name)
    for length in range(len(stream)):
        with pytest.raises(UpstreamTruncated):
            events_of([stream[:length]])


@pytest.mark.parametrize("name", REPLIES)
def test_a_whole_reply_cut_short_at_any_byte_is_invalid(name: str) -> None:
    reply = reply_of(name).rstrip()
    for length in range(len(reply)):
        with pytest.raises(UpstreamInvalid):
            ollama.read_reply(reply[:length])


def test_the_text_before_an_error_line_still_comes_out() -> None:
    events = ollama.StreamReader().feed(b'{"message":{"content":"Hi"},"done":false}\n{"error":"out of memory"}\n')
    next(events)
    assert next(events) == TextDelta(text="Hi")
    with pytest.raises(UpstreamRejected, match="out of memory") as rejected:
        next(events)
    assert rejected.value.status == 500


def test_a_reply_of_status_200_that_says_error_is_an_error() -> None:
    with pytest.raises(UpstreamRejected, match="no"):
        ollama.read_reply(b'{"error":"no"}')


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense", b"[]", b"{}", b'{"done":true}', b'{"message":{"content":7}}', b'{"message":{"content":"\xff"}}',
        b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}', b"[" * 100_000,
        b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":"\xff"}}}]}}',
        b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":' + b'{"a":' * 9000 + b"1" + b"}" * 9003,
    ],
)  # fmt: skip
def test_a_line_that_is_no_chat_response_is_invalid(line: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        events_of([line + b"\n"])


def test_a_reply_that_is_not_done_is_invalid() -> None:
    with pytest.raises(UpstreamInvalid, match="done"):
        ollama.read_reply(b'{"message":{"content":"Hi"},"done":false}')


def test_nothing_is_read_after_the_end() -> None:
    stream = stream_of("text")
    assert streamed(stream + b'{"error":"late"}\nhalf a li') == streamed(stream)


def test_calls_without_ids_get_ids_of_their_own() -> None:
    call = '{"function":{"name":"f","arguments":{}}}'
    line = f'{{"created_at":"2026-11-01T12:00:00Z","message":{{"tool_calls":[{call},{call}]}},"done":true}}\n'
    ids = [event.id for event in events_of([line.encode()]) if isinstance(event, ToolCallDelta)]
    later = line.replace(":00Z", ":01Z")
    ids += [event.id for event in events_of([later.encode()]) if isinstance(event, ToolCallDelta)]
    assert len(set(ids)) == 4
    assert all(str(call_id).startswith("call_") for call_id in ids)


def test_a_call_cut_off_by_the_limit_finishes_for_length() -> None:
    line = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{}}}]},"done":true,"done_reason":"length"}\n'
    assert Finished(reason="length") in events_of([line])


def test_log_probabilities_come_in_openais_shape() -> None:
    (event,) = [event for event in events_of([stream_of("logprobs")]) if isinstance(event, LogprobsDelta)]
    said = msgspec.json.decode(event.logprobs)
    assert said["refusal"] is None
    assert said["content"][0]["token"] == "Hi"
    assert said["content"][0]["top_logprobs"][1] == {"token": "Yo", "logprob": -1.5, "bytes": None}


# --- errors and models -------------------------------------------------------------------------------------------


def test_an_error_keeps_its_status_its_words_and_when_to_come_back() -> None:
    error = ollama.read_error(503, {"retry-after": "7"}, b'{"error":"server busy"}')
    assert (error.status, error.message, error.retry_after) == (503, "server busy", "7")


def test_an_absent_model_has_openais_code() -> None:
    assert ollama.read_error(404, {}, b'{"error":"model \'x\' not found"}').code == "model_not_found"


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"busy", "busy"), (b"", "The provider answered 502."), (b"<html>", "The provider answered 502.")],
)
def test_an_error_that_is_not_json_is_still_read(body: bytes, message: str) -> None:
    assert ollama.read_error(502, {}, body).message == message


def test_models_are_listed_with_what_they_can_do() -> None:
    (model,) = ollama.read_models(
        b'{"models":[{"name":"qwen3:8b","model":"qwen3:8b","modified_at":"2026-11-01T12:00:00.123456789-07:00",'
        b'"details":{"family":"qwen3","context_length":40960},"capabilities":["completion","tools","thinking"]},{}]}'
    )
    assert (model.id, model.owned_by, model.created_s) == ("qwen3:8b", "ollama", 1793559600)
    assert model.context_window_tokens == 40960
    assert model.capabilities == ["completion", "tools", "thinking"]


def test_a_model_of_an_older_server_has_a_name_and_no_more() -> None:
    (model,) = ollama.read_models(b'{"models":[{"name":"a","modified_at":"never"}]}')
    assert (model.id, model.created_s, model.capabilities) == ("a", 0, [])


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"models":[1]}'])
def test_a_model_list_that_is_none_is_invalid(body: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        ollama.read_models(body)
