"""Guarantee 10, short: a stream cut anywhere is never taken for a success, by bytes and by the official SDK."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pytest

from tests.conftest import KEY
from tests.e2e.gateway import GatewayProcess
from tests.e2e.talk import chat, payloads, request_bytes, text_of, unchunked, wire
from tests.fake import FakeProvider, Script, ToolCall
from tests.fault import FaultProxy

STEP_BYTES = 7
AT_ONCE = 16
SPOKEN = Script(chunks=["Snö", "☃ ", "is ", "cold."], thinking="well then", thinking_field="reasoning_content")
CALLING = Script(tool_calls=[ToolCall("call_1", "look", '{"at": "São Paulo"}'), ToolCall("call_2", "hear", "{}")])


@pytest.fixture
async def client(gateway: GatewayProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{gateway.url}/v1", max_retries=0, timeout=20) as client:
        yield client


async def outcome(client: openai.AsyncOpenAI, model: str) -> tuple[str, str]:
    """What the SDK makes of a stream: the text so far, and how it ended."""
    text, finished = "", False
    try:
        stream = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hi"}], stream=True
        )
        async for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finished = finished or choice.finish_reason is not None
    except openai.APIStatusError as error:
        return text, f"refused {error.status_code}"
    except openai.APIError:
        return text, "failed"
    return text, "complete" if finished else "ended without a reason"


def whole_stream(fake: FakeProvider, model: str, script: Script, **fields: Any) -> bytes:
    """What the fake sends when nobody cuts it; each request is as long as the one before, to the byte."""
    fake.script(model, script)
    answer = chat(fake, model, stream=True, stream_options={"include_usage": True}, **fields)
    assert answer.status == 200
    return answer.body


@pytest.mark.parametrize("script", [SPOKEN, CALLING], ids=["text", "tools"])
async def test_a_stream_cut_at_any_byte_is_never_a_success(
    client: openai.AsyncOpenAI, fake: FakeProvider, script: Script
) -> None:
    whole = whole_stream(fake, "whole", script)
    needed_bytes = len(whole) - len(b"data: [DONE]\n\n")
    text = text_of(payloads(whole))
    cuts = list(range(0, needed_bytes, STEP_BYTES))
    for cut in cuts:
        fake.script(f"cut-{cut}", _cut(script, cut, "reset" if cut % 2 else "close"))

    async def one(cut: int) -> tuple[int, tuple[str, str]]:
        async with limit:
            return cut, await outcome(client, f"up/cut-{cut}")

    limit = asyncio.Semaphore(AT_ONCE)
    for cut, (said, end) in await asyncio.gather(*map(one, cuts)):
        assert end in ("failed", "refused 502"), f"cut at byte {cut} of {len(whole)}: {end}"
        assert text.startswith(said), f"cut at byte {cut}: {said!r}"


@pytest.mark.parametrize("model", ["ollama", "tgi"])
async def test_a_translated_stream_cut_at_any_byte_is_never_a_success(
    client: openai.AsyncOpenAI, fake: FakeProvider, model: str
) -> None:
    """TGI's wire names no model, so its cuts are taken one after another."""
    fake.script("fake-model", SPOKEN)
    assert (await outcome(client, f"by-{model}"))[1] == "complete"
    whole_bytes = fake.finished()[-1].bytes_sent
    for cut in range(0, whole_bytes - STEP_BYTES, 5 * STEP_BYTES):
        fake.script("fake-model", _cut(SPOKEN, cut, "reset" if cut % 2 else "close"))
        said, end = await outcome(client, f"by-{model}")
        assert end in ("failed", "refused 502"), f"cut at byte {cut} of {whole_bytes}: {end}"
        assert "Snö☃ is cold.".startswith(said)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_connection_cut_by_the_network_shows_one_error_and_no_done(
    gateway: GatewayProcess, fake: FakeProvider, proxy: FaultProxy, how: Any
) -> None:
    """Here even the HTTP framing is cut, and the head; each try is on a fresh connection, counted from its start."""
    fake.script("x", SPOKEN)
    whole = chat(gateway, "proxied/x", key=KEY, stream=True).body
    assert whole.endswith(b"data: [DONE]\n\n")
    seen = set()
    for cut in range(1, 1100, 11 * STEP_BYTES):
        proxy.pass_through()
        proxy.reset()
        proxy.cut_after(cut, how)
        answer = chat(gateway, "proxied/x", key=KEY, stream=True)
        if answer.status == 502:
            seen.add("refused")
            assert answer.error["code"] in ("upstream_unavailable", "upstream_truncated")
            continue
        seen.add("in band")
        said = payloads(answer.body)
        assert "[DONE]" not in said
        assert [one for one in said if "error" in one] == said[-1:]
    assert seen == {"refused", "in band"}


@pytest.mark.parametrize("script", [
    Script(chunks=["a ", "b "], stream_error="cold"),
    Script(chunks=["a ", "b "], omit_done=True, raw_frames=[b'data: {"choices": [{"delta": {"content": "a "}}]}\n\n']),
    Script(chunks=["a ", "b "], raw_frames=[b'data: {"choices": [{"delta": {"content": "a "}}]}\n\n', b"data: {\n\n"]),
    Script(raw_frames=[b'data: {"choices": [{"delta": {"content": "a "}}]}\n\n', b"data: [DONE]"]),
])  # fmt: skip
async def test_a_stream_that_ends_wrongly_is_never_a_success(
    client: openai.AsyncOpenAI, fake: FakeProvider, script: Script
) -> None:
    fake.script("fake-model", script)
    said, end = await outcome(client, "m")
    assert end == "failed"
    assert said in ("a ", "a b ")


async def test_a_stream_that_is_whole_is_a_success(client: openai.AsyncOpenAI, fake: FakeProvider) -> None:
    fake.script("fake-model", SPOKEN)
    assert await outcome(client, "m") == ("Snö☃ is cold.", "complete")


def test_the_gateways_own_framing_is_whole_though_the_providers_is_not(
    gateway: GatewayProcess, fake: FakeProvider
) -> None:
    """The error is the content's; a client that only looks at HTTP must not see a broken connection."""
    fake.script("fake-model", _cut(SPOKEN, 900, "reset"))
    with wire(gateway) as connection:
        connection.send(request_bytes({"model": "m", "stream": True}, key=KEY))
        received = connection.read_until(b"0\r\n\r\n")
    assert b'"error"' in unchunked(received)


def _cut(script: Script, after_bytes: int, how: Any) -> Script:
    return msgspec.structs.replace(script, cut_after_bytes=after_bytes, cut=how)
