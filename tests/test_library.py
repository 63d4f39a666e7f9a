"""The gateway without HTTP: values in, values out, typed errors, and nothing left open."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from switchgear import Gateway, SwitchgearError
from switchgear.core.errors import (
    ConfigError,
    InvalidRequest,
    ModelNotFound,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnavailable,
)
from switchgear.core.fold import fold
from switchgear.core.types import Event, TextDelta, ToolCall, UsageReport
from tests.fake import Accepted, ConnectionClosed, FakeProvider, Script, SocketClosed, Usage
from tests.fake import ToolCall as FakeCall

HELLO = [{"role": "user", "content": "hello there"}]
EVERY_WIRE = pytest.mark.parametrize("model", ["m", "by-ollama", "by-tgi"])


@pytest.fixture
async def gateway(fake: FakeProvider, closed_port: int) -> AsyncIterator[Gateway]:
    up = {"kind": "openai_compatible", "base_url": f"{fake.url}/v1"}
    hasty = {"first_byte_s": 0.3, "between_chunks_s": 0.3}
    config: dict[str, Any] = {
        "providers": {
            "up": up,
            "ollama": {"base_url": fake.url},
            "tgi": {"kind": "tgi", "base_url": fake.url},
            "hasty": up | {"timeouts": hasty, "discover": False},
            "one": up | {"max_concurrency": 1, "discover": False},
            "closed": up | {"base_url": f"http://127.0.0.1:{closed_port}", "discover": False},
        },
        "models": {
            "m": {"targets": ["up/fake-model"]},
            "by-ollama": {"targets": ["ollama/fake-model"]},
            "by-tgi": {"targets": ["tgi/fake-model"]},
            "second-best": {"targets": ["closed/x", "up/fake-model"]},
        },
        "keys": [{"key": "sk-nobody-needs-it", "name": "somebody"}],
    }
    async with Gateway(config) as gateway:
        yield gateway


@EVERY_WIRE
async def test_a_chat_is_a_reply(gateway: Gateway, fake: FakeProvider, model: str) -> None:
    fake.script("fake-model", Script(text="Snö ☃", usage=Usage(input_tokens=3, output_tokens=2)))
    reply = await gateway.chat(model=model, messages=HELLO, temperature=0.5)
    assert reply.text == "Snö ☃"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.output_tokens == 2


@EVERY_WIRE
async def test_a_stream_folds_to_the_same_reply(gateway: Gateway, fake: FakeProvider, model: str) -> None:
    fake.script("fake-model", Script(text="one two three", usage=Usage(input_tokens=3, output_tokens=3)))
    events = [event async for event in gateway.stream(model=model, messages=HELLO)]
    assert [event.text for event in events if isinstance(event, TextDelta) and event.text] == ["one ", "two ", "three"]
    assert any(isinstance(event, UsageReport) for event in events)
    whole, folded = await gateway.chat(model=model, messages=HELLO), fold(events)
    assert [choice.message for choice in folded.choices] == [choice.message for choice in whole.choices]
    assert folded.usage is not None
    assert whole.usage is not None
    assert folded.usage.output_tokens == whole.usage.output_tokens == 3


async def test_tool_calls_are_parts_of_the_message(gateway: Gateway, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(tool_calls=[FakeCall("call_1", "look", '{"at": "sky"}')]))
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    reply = await gateway.chat(model="m", messages=HELLO, tools=tools)
    assert reply.choices[0].message.parts == [ToolCall("call_1", "look", '{"at": "sky"}')]


async def test_events_come_as_they_are_said(gateway: Gateway, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(chunks=["a ", "b "], delay_between_chunks_s=0.3))
    at = [time.monotonic() async for event in gateway.stream(model="m", messages=HELLO) if event.text]
    assert at[1] - at[0] > 0.15


async def test_no_key_is_asked_for_and_no_record_written(
    gateway: Gateway, fake: FakeProvider, capfd: pytest.CaptureFixture[str]
) -> None:
    await gateway.chat(model="m", messages=HELLO)
    await gateway.close()
    assert capfd.readouterr().out == ""
    assert len(fake.requests("fake-model")) == 1


async def test_a_target_that_fails_is_passed_over(gateway: Gateway, fake: FakeProvider) -> None:
    assert (await gateway.chat(model="second-best", messages=HELLO)).text == "You said: hello there"


async def test_models_are_those_configured_and_those_found(gateway: Gateway) -> None:
    names = [model.id for model in await gateway.models()]
    assert {"m", "by-ollama", "by-tgi", "up/fake-model", "ollama/fake-model", "tgi/fake-model"} <= set(names)


# -- errors -----------------------------------------------------------------------------------------------------------


async def test_an_unknown_model_names_near_ones(gateway: Gateway) -> None:
    with pytest.raises(ModelNotFound) as caught:
        await gateway.chat(model="by-olama", messages=HELLO)
    assert "by-ollama" in caught.value.near


async def test_a_wrong_request_is_said_before_it_is_sent(gateway: Gateway, fake: FakeProvider) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await gateway.chat(model="by-ollama", messages=[{"role": "narrator", "content": "x"}])
    assert caught.value.param is not None
    assert not fake.requests()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_providers_refusal_keeps_its_words(gateway: Gateway, fake: FakeProvider, stream: bool) -> None:
    fake.script("fake-model", Script(status=429, error="slow down", headers={"retry-after": "9"}))
    with pytest.raises(UpstreamRejected, match="slow down") as caught:
        await _ask(gateway, "m", stream)
    assert (caught.value.status, caught.value.retry_after, caught.value.provider) == (429, "9", "up")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_deadline_is_an_error_of_its_own(gateway: Gateway, fake: FakeProvider, stream: bool) -> None:
    fake.script("slow", Script(hang_before_headers=True))
    with pytest.raises(UpstreamTimeout) as caught:
        await _ask(gateway, "hasty/slow", stream)
    assert caught.value.deadline == "first_byte"


async def test_a_provider_that_is_down_is_unavailable(gateway: Gateway) -> None:
    with pytest.raises(UpstreamUnavailable):
        await gateway.chat(model="closed/x", messages=HELLO)


@EVERY_WIRE
async def test_a_stream_that_breaks_raises_after_what_came_before(
    gateway: Gateway, fake: FakeProvider, model: str
) -> None:
    fake.script("fake-model", Script(chunks=["a ", "b ", "c ", "d "], cut_after_bytes=600))
    events: list[Event] = []
    with pytest.raises(UpstreamTruncated):
        await _gather(gateway.stream(model=model, messages=HELLO), events)
    assert fold(events).text.startswith("a ")


async def test_an_error_event_in_a_stream_is_raised(gateway: Gateway, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(chunks=["a "], stream_error="cold"))
    events: list[Event] = []
    with pytest.raises(SwitchgearError, match="cold"):
        await _gather(gateway.stream(model="m", messages=HELLO), events)
    assert fold(events).text == "a "


def test_a_wrong_configuration_says_every_mistake() -> None:
    with pytest.raises(ConfigError) as caught:
        Gateway({"providers": {"up": {"kind": "nonesuch"}}, "models": {"m": {}}})
    assert len(caught.value.problems) >= 2


# -- leaving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_call_closes_the_upstream(gateway: Gateway, fake: FakeProvider, stream: bool) -> None:
    fake.script("endless", Script(hang_before_headers=True))
    task = asyncio.create_task(_ask(gateway, "one/endless", stream))
    await fake.until(lambda entry: isinstance(entry, Accepted) and entry.model == "endless")
    task.cancel()
    left_at = time.monotonic()
    assert (await fake.until(SocketClosed)).t - left_at < 0.25
    assert task.cancelled() or task.cancelling()
    assert (await gateway.chat(model="one/x", messages=HELLO)).text


async def test_a_stream_that_is_left_closes_the_upstream(gateway: Gateway, fake: FakeProvider) -> None:
    fake.script("endless", Script(chunks=["tick "], repeat_chunks=10_000, delay_between_chunks_s=0.01))
    async with aclosing(gateway.stream(model="one/endless", messages=HELLO)) as events:
        async for event in events:
            if event.text:
                break
    left_at = time.monotonic()
    assert (await fake.until(SocketClosed)).t - left_at < 0.25
    assert (await gateway.chat(model="one/x", messages=HELLO)).text


async def test_closing_the_gateway_closes_its_connections(gateway: Gateway, fake: FakeProvider) -> None:
    await gateway.chat(model="m", messages=HELLO)
    await gateway.close()
    used = fake.last_request("fake-model").connection
    await fake.until(lambda entry: isinstance(entry, ConnectionClosed) and entry.connection == used)


async def _ask(gateway: Gateway, model: str, stream: bool) -> None:
    if not stream:
        await gateway.chat(model=model, messages=HELLO)
    async for _ in gateway.stream(model=model, messages=HELLO):
        pass


async def _gather(stream: AsyncIterator[Event], events: list[Event]) -> None:
    async for event in stream:
        events.append(event)
