"""The official OpenAI SDK for Python, unchanged, over providers of three wire formats."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolUnionParam

from tests.conftest import KEY, MAX_BODY_BYTES, NARROW_KEY, RATE_KEYS, RATE_LIMIT
from tests.e2e.gateway import GatewayProcess
from tests.fake import FakeProvider, Script, ToolCall, Usage

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello there"}]
WEATHER: list[ChatCompletionToolUnionParam] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Something about a place.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    for name in ("get_weather", "get_time")
]
CALLS = [
    ToolCall("call_1", "get_weather", '{"city": "Oslo", "unit": "c"}'),
    ToolCall("call_2", "get_time", '{"city": "São Paulo"}'),
]
EVERY_WIRE = pytest.mark.parametrize("model", ["m", "by-ollama", "by-tgi"])
WITH_TOOLS = pytest.mark.parametrize("model", ["m", "by-ollama"])


def client_of(gateway: GatewayProcess, key: str = KEY) -> OpenAI:
    return OpenAI(api_key=key, base_url=f"{gateway.url}/v1", max_retries=0, timeout=15)


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with client_of(gateway) as client:
        yield client


@EVERY_WIRE
def test_a_chat_is_answered_whole(client: OpenAI, fake: FakeProvider, model: str) -> None:
    fake.script("fake-model", Script(text="Grüße aus Köln ☃", usage=Usage(input_tokens=7, output_tokens=4)))
    reply = client.chat.completions.create(model=model, messages=HELLO)
    assert reply.choices[0].message.content == "Grüße aus Köln ☃"
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.object == "chat.completion"
    assert reply.usage is not None
    assert (reply.usage.completion_tokens, reply.usage.total_tokens) == (4, reply.usage.prompt_tokens + 4)


@EVERY_WIRE
def test_a_streamed_chat_says_the_same(client: OpenAI, fake: FakeProvider, model: str) -> None:
    fake.script("fake-model", Script(chunks=["Grüße ", "aus ", "Köln ", "☃"]))
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Grüße aus Köln ☃"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1


@EVERY_WIRE
def test_the_usage_of_a_stream_comes_only_when_asked_for(client: OpenAI, fake: FakeProvider, model: str) -> None:
    fake.script("fake-model", Script(text="one two three", usage=Usage(input_tokens=5, output_tokens=3)))
    silent = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    assert all(chunk.choices for chunk in silent)
    assert all(chunk.usage is None for chunk in silent)
    asked = list(
        client.chat.completions.create(model=model, messages=HELLO, stream=True, stream_options={"include_usage": True})
    )
    usage = asked[-1].usage
    assert usage is not None
    assert usage.completion_tokens == 3
    assert asked[-1].choices == []
    assert all(chunk.usage is None for chunk in asked[:-1])


@WITH_TOOLS
def test_parallel_tool_calls_come_back_whole(client: OpenAI, fake: FakeProvider, model: str) -> None:
    fake.script("fake-model", Script(tool_calls=CALLS))
    reply = client.chat.completions.create(model=model, messages=HELLO, tools=WEATHER, parallel_tool_calls=True)
    calls = reply.choices[0].message.tool_calls or []
    assert [_named(call) for call in calls] == [
        ("get_weather", {"city": "Oslo", "unit": "c"}),
        ("get_time", {"city": "São Paulo"}),
    ]
    assert len({call.id for call in calls}) == 2
    assert reply.choices[0].finish_reason == "tool_calls"


@WITH_TOOLS
def test_parallel_tool_calls_are_streamed_and_assembled_by_the_sdk(
    client: OpenAI, fake: FakeProvider, model: str
) -> None:
    fake.script("fake-model", Script(tool_calls=CALLS))
    with client.chat.completions.stream(model=model, messages=HELLO, tools=WEATHER) as stream:
        reply = stream.get_final_completion()
    calls = reply.choices[0].message.tool_calls or []
    assert [_named(call) for call in calls] == [
        ("get_weather", {"city": "Oslo", "unit": "c"}),
        ("get_time", {"city": "São Paulo"}),
    ]
    assert reply.choices[0].finish_reason == "tool_calls"


@EVERY_WIRE
def test_tool_results_go_back_to_the_model(client: OpenAI, fake: FakeProvider, model: str) -> None:
    turns: list[ChatCompletionMessageParam] = [
        *HELLO,
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "minus nine degrees"},
    ]
    fake.script("fake-model", Script(text="Cold."))
    reply = client.chat.completions.create(model=model, messages=turns, tools=WEATHER)
    assert reply.choices[0].message.content == "Cold."
    assert "minus nine degrees" in fake.last_request("fake-model").body


def test_unknown_fields_and_headers_of_the_sdk_reach_the_provider(client: OpenAI, fake: FakeProvider) -> None:
    client.chat.completions.create(model="m", messages=HELLO, extra_body={"mirostat": 2, "ünknown": {"a": [1]}})
    sent = fake.last_request("fake-model").json
    assert sent["mirostat"] == 2
    assert sent["ünknown"] == {"a": [1]}


def test_thinking_arrives_where_the_sdk_keeps_it(client: OpenAI, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(thinking="let me see", text="Done."))
    for model in ("m", "by-ollama"):
        message = client.chat.completions.create(model=model, messages=HELLO).choices[0].message
        assert message.model_extra is not None
        assert message.model_extra["reasoning_content"] == "let me see"
        assert message.content == "Done."


# -- errors -----------------------------------------------------------------------------------------------------------


def test_a_bad_field_is_the_sdks_bad_request_error(client: OpenAI, fake: FakeProvider) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="m", messages=HELLO, temperature=7)
    assert caught.value.param == "temperature"
    assert "temperature" in caught.value.message
    assert len(fake.requests("fake-model")) == 1


@pytest.mark.parametrize("model", ["by-ollama", "by-tgi"])
def test_a_bad_message_is_found_before_it_is_translated(client: OpenAI, fake: FakeProvider, model: str) -> None:
    wrong: Any = [{"role": "narrator", "content": "Once upon a time"}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=wrong)
    assert caught.value.param is not None
    assert caught.value.param.startswith("messages")
    assert not fake.requests("fake-model")


def test_a_wrong_key_is_the_sdks_authentication_error(gateway: GatewayProcess) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client_of(gateway, "sk-nobody").chat.completions.create(model="m", messages=HELLO)
    assert caught.value.code == "invalid_api_key"
    assert "sk-nobody" not in caught.value.message


def test_a_forbidden_model_is_the_sdks_permission_error(gateway: GatewayProcess) -> None:
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client_of(gateway, NARROW_KEY).chat.completions.create(model="by-tgi", messages=HELLO)
    assert (caught.value.param, caught.value.code) == ("model", "model_not_allowed")


def test_an_unknown_model_is_the_sdks_not_found_error_with_near_names(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="by-olama", messages=HELLO)
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")
    assert "'by-ollama'" in caught.value.message


def test_a_body_too_large_is_status_413_in_the_sdk(client: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x" * MAX_BODY_BYTES}])
    assert caught.value.status_code == 413
    assert caught.value.code == "request_too_large"


def test_a_spent_limit_is_the_sdks_rate_limit_error(gateway: GatewayProcess) -> None:
    client = client_of(gateway, RATE_KEYS[0])
    for spent in range(RATE_LIMIT):
        raw = client.chat.completions.with_raw_response.create(model="m", messages=HELLO)
        assert raw.headers["x-ratelimit-limit-requests"] == str(RATE_LIMIT)
        assert raw.headers["x-ratelimit-remaining-requests"] == str(RATE_LIMIT - spent - 1)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="m", messages=HELLO)
    assert caught.value.code == "rate_limit_exceeded"
    headers = caught.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 61
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"].endswith("s")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
@EVERY_WIRE
def test_a_providers_error_keeps_its_class_and_words(
    client: OpenAI, fake: FakeProvider, model: str, status: int, error: type[openai.APIStatusError]
) -> None:
    fake.script("fake-model", Script(status=status, error="the reactor is cold", headers={"Retry-After": "7"}))
    with pytest.raises(error) as caught:
        client.chat.completions.create(model=model, messages=HELLO)
    assert "the reactor is cold" in caught.value.message
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["provider"] == {"m": "up", "by-ollama": "ollama", "by-tgi": "tgi"}[model]
    assert caught.value.response.headers["retry-after"] == "7"


@EVERY_WIRE
def test_an_error_inside_a_stream_is_raised_by_the_sdk(client: OpenAI, fake: FakeProvider, model: str) -> None:
    fake.script("fake-model", Script(chunks=["so ", "far "], stream_error="the reactor is cold"))
    said: list[str] = []
    with pytest.raises(openai.APIError, match="the reactor is cold"):
        _gather(client.chat.completions.create(model=model, messages=HELLO, stream=True), said)
    assert "".join(said) == "so far "


# -- models -----------------------------------------------------------------------------------------------------------


def test_the_model_list_has_configured_and_found_names(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"m", "by-ollama", "by-tgi", "team/deep/model", "second-best"} <= set(names)
    assert {"up/fake-model", "ollama/fake-model", "tgi/fake-model"} <= set(names)
    assert not any(name.endswith("*") for name in names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["m", "team/deep/model", "up/fake-model"])
def test_a_model_is_retrieved_by_a_name_with_slashes(client: OpenAI, name: str) -> None:
    assert client.models.retrieve(name).id == name


def test_every_model_on_the_list_can_be_called(client: OpenAI) -> None:
    for model in client.models.list():
        assert client.chat.completions.create(model=model.id, messages=HELLO).choices[0].message.content


def test_retrieving_an_unknown_model_names_near_ones(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="'by-tgi'"):
        client.models.retrieve("by-tgy")


def test_a_key_sees_only_the_models_it_may_use(gateway: GatewayProcess) -> None:
    client = client_of(gateway, NARROW_KEY)
    assert [model.id for model in client.models.list()] == ["m"]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("by-tgi")


async def test_the_asynchronous_client_cancels_what_it_no_longer_reads(
    gateway: GatewayProcess, fake: FakeProvider
) -> None:
    fake.script("fake-model", Script(chunks=["tick "], repeat_chunks=10_000, delay_between_chunks_s=0.02))
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{gateway.url}/v1", max_retries=0) as client:
        stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)
        async for _ in stream:
            break
        await stream.close()
    await fake.until(lambda entry: getattr(entry, "outcome", "") == "abandoned")


def _gather(stream: Any, texts: list[str]) -> None:
    for chunk in stream:
        texts.append(chunk.choices[0].delta.content or "")


def _named(call: Any) -> tuple[str, Any]:
    return call.function.name, json.loads(call.function.arguments)
