"""The fake's OpenAI wire, read by the official SDK and judged against OpenAI's own refusals."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.fake import FakeProvider, Script, ToolCall, Usage

ASK: Any = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}
WEATHER = ToolCall(id="call_1", name="weather", arguments='{"city": "Paris", "unit": "celsius"}')
CLOCK = ToolCall(id="call_2", name="clock", arguments='{"zone": "CET"}')


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def fake(provider: FakeProvider) -> FakeProvider:
    provider.clear()
    return provider


@pytest.fixture
def sdk(fake: FakeProvider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{fake.url}/v1", api_key="sk-test", max_retries=0) as client:
        yield client


def streamed(sdk: openai.OpenAI, **fields: Any) -> list[ChatCompletionChunk]:
    return list(sdk.chat.completions.create(**ASK, **fields, stream=True))


def refusal(fake: FakeProvider, path: str = "/v1/chat/completions", **body: Any) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=5)
    connection.request("POST", path, json.dumps(body))
    response = connection.getresponse()
    error: dict[str, Any] = json.loads(response.read())["error"]
    connection.close()
    assert response.status == 400
    assert error["type"] == "invalid_request_error"
    return error


def test_an_unscripted_model_says_what_it_was_told(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == "You said: hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        2,
        4,
        6,
    )


def test_a_stream_says_the_same_in_several_chunks(sdk: openai.OpenAI) -> None:
    chunks = streamed(sdk)
    assert [chunk.choices[0].delta.content for chunk in chunks] == [
        "",
        "You ",
        "said: ",
        "hello ",
        "there",
        None,
    ]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


def test_a_stream_reports_usage_only_when_asked(sdk: openai.OpenAI) -> None:
    *others, last = streamed(sdk, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 6
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in others)


def test_tool_calls_arrive_whole_in_a_reply(fake: FakeProvider, sdk: openai.OpenAI) -> None:
    fake.script("m", Script(tool_calls=[WEATHER]))
    choice = sdk.chat.completions.create(**ASK).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    [call] = choice.message.tool_calls or []
    assert call.type == "function"
    assert (call.id, call.function.name, call.function.arguments) == (
        "call_1",
        "weather",
        WEATHER.arguments,
    )


def test_tool_calls_are_interleaved_in_a_stream(fake: FakeProvider, sdk: openai.OpenAI) -> None:
    fake.script("m", Script(tool_calls=[WEATHER, CLOCK]))
    deltas = [call for chunk in streamed(sdk) for call in chunk.choices[0].delta.tool_calls or []]
    assert [delta.index for delta in deltas[:6]] == [0, 1, 0, 1, 0, 1]
    arguments = {0: "", 1: ""}
    for delta in deltas:
        assert delta.function is not None
        arguments[delta.index] += delta.function.arguments or ""
    assert arguments == {0: WEATHER.arguments, 1: CLOCK.arguments}


def test_the_sdk_assembles_the_interleaved_stream(fake: FakeProvider, sdk: openai.OpenAI) -> None:
    fake.script("m", Script(text="Let me see.", tool_calls=[WEATHER, CLOCK]))
    with sdk.chat.completions.stream(**ASK) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.content == "Let me see."
    assert [call.function.arguments for call in message.tool_calls or []] == [
        WEATHER.arguments,
        CLOCK.arguments,
    ]


def test_usage_is_what_the_script_says(fake: FakeProvider, sdk: openai.OpenAI) -> None:
    usage = Usage(input_tokens=1000, output_tokens=200, cached_tokens=800, reasoning_tokens=150)
    fake.script("m", Script(usage=usage))
    answer = sdk.chat.completions.create(**ASK).usage
    assert answer is not None
    assert answer.prompt_tokens_details is not None
    assert answer.completion_tokens_details is not None
    assert (answer.prompt_tokens, answer.prompt_tokens_details.cached_tokens) == (1000, 800)
    assert (answer.completion_tokens, answer.completion_tokens_details.reasoning_tokens) == (200, 150)


def test_thinking_goes_before_the_text(fake: FakeProvider, sdk: openai.OpenAI) -> None:
    fake.script("m", Script(thinking="Hm, well.", text="Yes."))
    deltas = [chunk.choices[0].delta.to_dict() for chunk in streamed(sdk)]
    assert deltas[1:4] == [{"reasoning_content": "Hm, "}, {"reasoning_content": "well."}, {"content": "Yes."}]


def test_an_answer_ends_at_the_token_limit(fake: FakeProvider, sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(**ASK, max_tokens=3)
    assert answer.choices[0].message.content == "You said: hello "
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_every_choice_is_given_and_billed(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(**ASK, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12
    assert {chunk.choices[0].index for chunk in streamed(sdk, n=2)} == {0, 1}


def test_logprobs_come_when_asked_for(sdk: openai.OpenAI) -> None:
    logprobs = sdk.chat.completions.create(**ASK, logprobs=True, top_logprobs=2).choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [len(token.top_logprobs) for token in logprobs.content] == [2, 2, 2, 2]


def test_embeddings_depend_on_the_text_alone(sdk: openai.OpenAI) -> None:
    # The SDK asks for base64 and decodes it; asking for floats must give the same.
    packed = sdk.embeddings.create(model="e", input=["one", "two words"])
    plain = sdk.embeddings.create(model="e", input="two words", encoding_format="float")
    assert packed.data[1].embedding == plain.data[0].embedding != packed.data[0].embedding
    assert packed.usage.prompt_tokens == 3


def test_models_are_those_it_was_given(fake: FakeProvider, sdk: openai.OpenAI) -> None:
    fake.models(["a", "org/b"])
    assert [model.id for model in sdk.models.list()] == ["a", "org/b"]
    assert sdk.models.retrieve("org/b").id == "org/b"


def test_other_models_are_unknown_when_told_so(fake: FakeProvider, sdk: openai.OpenAI) -> None:
    fake.models(["a"], only=True)
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.chat.completions.create(**ASK)
    assert caught.value.code == "model_not_found"


def test_a_scripted_status_is_an_error_of_the_sdk(fake: FakeProvider, sdk: openai.OpenAI) -> None:
    fake.script("m", Script(status=429, error="Slow down.", headers={"Retry-After": "7"}))
    with pytest.raises(openai.RateLimitError) as caught:
        sdk.chat.completions.create(**ASK)
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.code == "rate_limit_exceeded"
    assert "Slow down." in str(caught.value)


def test_a_scripted_error_may_have_a_code(fake: FakeProvider, sdk: openai.OpenAI) -> None:
    fake.script("m", Script(status=400, error="Too long.", error_code="context_length_exceeded"))
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(**ASK)
    assert caught.value.code == "context_length_exceeded"


def test_scripts_follow_one_another_and_the_last_stays(fake: FakeProvider, sdk: openai.OpenAI) -> None:
    fake.script("m", [Script(text="one"), Script(text="two")])
    said = [sdk.chat.completions.create(**ASK).choices[0].message.content for _ in range(3)]
    assert said == ["one", "two", "two"]


def test_an_error_in_the_stream_is_raised_by_the_sdk(fake: FakeProvider, sdk: openai.OpenAI) -> None:
    fake.script("m", Script(stream_error="The engine fell over."))
    with pytest.raises(openai.APIError, match="engine fell over"):
        streamed(sdk)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": []}, None, None),
        ({"model": "m"}, "messages", "missing_required_parameter"),
        ({"model": "m", "messages": "hi"}, "messages", "invalid_type"),
        ({"model": "m", "messages": []}, "messages", "empty_array"),
        ({"model": "m", "messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
        ({"model": "m", "messages": [{"role": "bot", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"model": "m", "messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
        ({"model": "m", "messages": [{"role": "user"}]}, "messages.[0].content", None),
        (
            {"model": "m", "messages": [{"role": "user", "content": [{"type": "tool_use"}]}]},
            "messages[0].content[0].type",
            "invalid_value",
        ),
        ({"model": "m", "messages": [{"role": "tool", "content": "x"}]}, "messages.[0].tool_call_id", None),
        (
            {"model": "m", "messages": [{"role": "tool", "content": "x", "tool_call_id": "call_1"}]},
            "messages.[0].role",
            None,
        ),
        (ASK | {"temperature": 3}, "temperature", "decimal_above_max_value"),
        (ASK | {"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        (ASK | {"max_tokens": "9"}, "max_tokens", "invalid_type"),
        (ASK | {"n": True}, "n", "invalid_type"),
        (ASK | {"stream_options": {"include_usage": True}}, "stream_options", None),
        (
            ASK | {"tools": [{"type": "function", "name": "f"}]},
            "tools[0].function",
            "missing_required_parameter",
        ),
    ],
)
def test_a_bad_chat_is_refused_as_openai_refuses_it(
    fake: FakeProvider, body: dict[str, Any], param: str | None, code: str | None
) -> None:
    error = refusal(fake, **body)
    assert (error["param"], error["code"]) == (param, code)
    assert fake.finished()[-1].output_tokens == 0


def test_a_call_that_nobody_answered_is_refused(fake: FakeProvider) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    error = refusal(fake, model="m", messages=[*ASK["messages"], asked, *ASK["messages"]])
    assert "did not have response messages: call_1" in error["message"]
    assert error["param"] == "messages.[2].role"


def test_unknown_fields_are_let_through(fake: FakeProvider, sdk: openai.OpenAI) -> None:
    sdk.chat.completions.create(**ASK, extra_body={"house_speciality": {"spicy": True}})
    assert fake.last_request("m").json["house_speciality"] == {"spicy": True}


def test_bad_embeddings_are_refused(fake: FakeProvider) -> None:
    assert refusal(fake, "/v1/embeddings", model="e")["param"] == "input"
    assert "is invalid" in refusal(fake, "/v1/embeddings", model="e", input=[])["message"]
