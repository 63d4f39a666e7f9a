"""A stream on its way to the client: verbatim or translated, and truthful about its end."""

import asyncio
import json
import time
from time import perf_counter
from typing import Any

import pytest

from switchgear.core.errors import SwitchgearError, Unavailable, UpstreamError, UpstreamTimeout, UpstreamTruncated
from switchgear.core.protocols import Call
from switchgear.core.settings import TimeoutSettings
from switchgear.core.types import Target, Usage
from switchgear.engine.attempt import attempt
from switchgear.engine.streaming import Stream
from switchgear.engine.transport import Transport
from switchgear.formats.sse import MAX_LINE_BYTES
from switchgear.surfaces.openai import OpenAIChat
from tests.engine.rig import (
    KEY,
    PATIENT,
    PROMISED_CLOSE_S,
    PROMISED_DEADLINE_S,
    all_of,
    answering,
    chat_body,
    chunks_of,
    leaks,
    new_call,
    patient,
    pool_of,
    raw_server,
    text_of,
    until,
    upstream_of,
)
from tests.fake import FakeProvider, Finished, Script, SocketClosed, ToolCall
from tests.fake import Usage as FakeUsage

FORMAT = OpenAIChat()
KINDS = ("openai_compatible", "ollama", "tgi")
DONE = b"data: [DONE]\n\n"
PROMISED_BYTES = 256 << 10


async def begun(
    transport: Transport,
    url: str,
    kind: str = "openai_compatible",
    *,
    timeouts: TimeoutSettings = PATIENT,
    call: Call | None = None,
    **more: Any,
) -> Stream:
    """A stream whose first bytes have come."""
    call = call or new_call()
    call.chat = FORMAT.read_request(chat_body("asked", stream=True, **more))
    call.provider = "mine"
    upstream = upstream_of(kind, url, "mine", timeouts=timeouts)
    stream = await attempt(call, FORMAT, upstream, Target("mine", "fake-model"), transport, perf_counter() + 60)
    assert isinstance(stream, Stream)
    return stream


async def streamed(transport: Transport, url: str, kind: str = "openai_compatible", **more: Any) -> bytes:
    """All that the client gets."""
    stream = await begun(transport, url, kind, **more)
    try:
        return await all_of(stream)
    finally:
        stream.close()


def chunk(text: str = "x", **choice: Any) -> bytes:
    said = {"index": 0, "delta": {"content": text}, "finish_reason": None} | choice
    return b"data: " + json.dumps({"id": "c", "choices": [said]}).encode() + b"\n\n"


FINISH = chunk("", delta={}, finish_reason="stop")


# --- verbatim ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [None, 1, 7, 64, [1000, 1, 1, 1]])
async def test_frames_of_the_clients_own_format_pass_byte_for_byte(
    transport: Transport, fake: FakeProvider, split: int | list[int] | None
) -> None:
    frames = [
        b": a comment\n\n",
        b'data:  {"id":"a", "choices" : [{"index":0,"delta":{"content":"\xc3\xa9 \xf0\x9f\x98\x80"}}], "x":1.0}\n\n',
        b'event: message\r\nid: 7\r\ndata: {"choices":[{"index":0,"delta":{}}]}\r\n\r\n',
        FINISH,
        DONE,
    ]
    fake.script("fake-model", Script(raw_frames=frames, split=split, split_pause_s=0.0))
    assert await streamed(transport, fake.url) == b"".join(frames)


async def test_a_usage_nobody_asked_for_is_kept_from_the_client_and_read(
    transport: Transport, fake: FakeProvider
) -> None:
    fake.script("fake-model", Script(text="One two.", usage=FakeUsage(input_tokens=11, output_tokens=5)))
    call = new_call()
    sent = await streamed(transport, fake.url, call=call)
    assert fake.last_request().json["stream_options"] == {"include_usage": True}
    assert b'"usage":{' not in sent
    assert call.usage == Usage(11, 5)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_usage_that_was_asked_for_is_sent(transport: Transport, fake: FakeProvider, kind: str) -> None:
    fake.script("fake-model", Script(text="One two."))
    call = new_call()
    sent = await streamed(transport, fake.url, kind, call=call, stream_options={"include_usage": True})
    *_, usage, done = chunks_of(sent)
    assert done == "[DONE]"
    assert call.usage is not None
    assert usage["usage"]["completion_tokens"] == call.usage.output_tokens > 0


async def test_the_first_byte_is_timed(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(delay_before_first_byte_s=0.1))
    call = new_call()
    await streamed(transport, fake.url, call=call)
    assert 0.09 <= call.first_byte_at - call.received_at <= call.upstream_s + 0.1


async def test_the_end_mark_ends_the_stream_and_keeps_the_connection(transport: Transport, fake: FakeProvider) -> None:
    for _ in range(3):
        assert (await streamed(transport, fake.url)).endswith(DONE)
        await until(lambda: not transport._busy)
    assert len({request.connection for request in fake.requests()}) == 1


async def test_a_stream_that_says_finish_but_not_done_is_complete(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(omit_done=True))
    call = new_call()
    assert (await streamed(transport, fake.url, call=call)).endswith(DONE)
    assert call.error is None


@pytest.mark.parametrize("script", [Script(raw_frames=[chunk(), FINISH], framing="close")])
async def test_a_stream_that_only_closes_after_its_finish_may_have_been_cut(
    transport: Transport, fake: FakeProvider, script: Script
) -> None:
    fake.script("fake-model", script)
    sent = await streamed(transport, fake.url)
    assert DONE not in sent
    assert chunks_of(sent)[-1]["error"]["code"] == "upstream_truncated"


async def test_a_close_delimited_stream_with_its_end_mark_is_complete(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(framing="close"))
    call = new_call()
    assert (await streamed(transport, fake.url, call=call)).endswith(DONE)
    assert call.error is None
    await until(lambda: not leaks(transport))


# --- translated --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ollama", "tgi"])
@pytest.mark.parametrize("split", [None, 1, 13])
async def test_a_translated_stream_says_the_same_however_it_is_cut(
    transport: Transport, fake: FakeProvider, kind: str, split: int | None
) -> None:
    fake.script("fake-model", Script(chunks=["Héllo ", "wörld ", "😀."], split=split, split_pause_s=0.0))
    sent = await streamed(transport, fake.url, kind)
    first, *_, finish, done = chunks_of(sent)
    assert text_of(sent) == "Héllo wörld 😀."
    assert first["object"] == "chat.completion.chunk"
    assert first["model"] == "asked"
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert (finish["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")


async def test_a_translated_stream_carries_thinking_and_tools(transport: Transport, fake: FakeProvider) -> None:
    call = ToolCall(id="c", name="clock", arguments='{"zone":"CET"}')
    fake.script("fake-model", Script(thinking="Hm.", tool_calls=[call]))
    chunks = chunks_of(await streamed(transport, fake.url, "ollama"))
    deltas = [one["choices"][0]["delta"] for one in chunks if one != "[DONE]"]
    assert [delta["reasoning_content"] for delta in deltas if "reasoning_content" in delta] == ["Hm."]
    (calls,) = [delta["tool_calls"] for delta in deltas if "tool_calls" in delta]
    assert calls[0]["function"] == {"name": "clock", "arguments": '{"zone":"CET"}'}
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_translated_stream_is_not_held_back(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(chunks=["a ", "b ", "c"], delay_between_chunks_s=0.1))
    stream = await begun(transport, fake.url, "ollama")
    pieces = []
    while data := await stream.next():
        pieces.append(text_of(data))
    stream.close()
    assert [piece for piece in pieces if piece] == ["a ", "b ", "c"]


# --- failures after the first byte -------------------------------------------------------------------------------

FAILURES = {
    "error event": (Script(chunks=["a ", "b "], stream_error="It died"), "It died"),
    "closed": (Script(chunks=["a ", "b "] * 50, cut_after_bytes=1000), "in the middle of its answer"),
    "reset": (Script(chunks=["a ", "b "] * 50, cut_after_bytes=1000, cut="reset"), "in the middle of its answer"),
    "silent": (Script(chunks=["a ", "b "] * 50, cut_after_bytes=1000, cut="hang"), "timeouts.between_chunks_s"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("failure", ["error event", "closed", "reset", "silent"])
async def test_a_failure_after_the_first_byte_is_one_frame_at_the_end(
    transport: Transport, fake: FakeProvider, kind: str, failure: str
) -> None:
    script, words = FAILURES[failure]
    fake.script("fake-model", script)
    call = new_call()
    sent = await streamed(transport, fake.url, kind, call=call, timeouts=patient(between_chunks_s=0.3))
    *said, last = chunks_of(sent)
    assert text_of(sent).startswith("a b " if failure == "error event" else "a ")
    assert not any(isinstance(one, dict) and "error" in one for one in said)
    assert words in last["error"]["message"]
    assert last["error"]["message"].startswith("mine: ")
    assert last["error"]["provider"] == "mine"
    assert DONE not in sent
    assert isinstance(call.error, UpstreamError)
    assert call.error.provider == "mine"
    await until(lambda: not transport._busy)


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {bad\n\n",
        b"data: \xff\xfe\n\n",
        b'data: "text"\n\n',
        b"data: [1]\n\n",
        b"data: " + b"[" * 5000 + b"\n\n",
    ],
    ids=lambda bad: repr(bad[:14]),
)
async def test_bad_json_ends_a_stream_and_what_came_before_it_stays(
    transport: Transport, fake: FakeProvider, bad: bytes
) -> None:
    for split in (None, 5):
        fake.script(
            "fake-model",
            Script(raw_frames=[chunk("good"), b"data: " + bad + b"\n\n", chunk("late"), DONE], split=split),
        )
        sent = await streamed(transport, fake.url)
        assert sent.startswith(chunk("good"))
        assert text_of(sent[: len(chunk("good"))]) == "good"
        assert b"late" not in sent
        assert DONE not in sent
        assert chunks_of(sent)[-1]["error"]["code"] == "upstream_invalid_response"


@pytest.mark.parametrize("framing", ["chunked", "content-length"])
async def test_a_stream_that_ends_properly_but_too_soon_is_truncated(
    transport: Transport, fake: FakeProvider, framing: Any
) -> None:
    fake.script("fake-model", Script(raw_frames=[chunk("a"), chunk("b")], framing=framing))
    call = new_call()
    sent = await streamed(transport, fake.url, call=call)
    assert text_of(sent[:-1]) == "ab" or sent.startswith(chunk("a") + chunk("b"))
    assert chunks_of(sent)[-1]["error"]["code"] == "upstream_truncated"
    assert isinstance(call.error, UpstreamTruncated)


@pytest.mark.parametrize("kind", ["ollama", "tgi"])
async def test_a_translated_stream_that_ends_too_soon_is_truncated(
    transport: Transport, fake: FakeProvider, kind: str
) -> None:
    frames = {
        "ollama": b'{"model":"m","message":{"role":"assistant","content":"a"},"done":false}\n',
        "tgi": b'data:{"index":1,"token":{"id":1,"text":"a","logprob":0.0,"special":false},"generated_text":null}\n\n',
    }
    fake.script("fake-model", Script(raw_frames=[frames[kind]]))
    call = new_call()
    sent = await streamed(transport, fake.url, kind, call=call)
    assert text_of(sent.rpartition(b"data: ")[0]) == "a"
    assert chunks_of(sent)[-1]["error"]["code"] == "upstream_truncated"
    assert isinstance(call.error, UpstreamTruncated)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_echoed_in_the_middle_of_a_stream_is_redacted(
    transport: Transport, fake: FakeProvider, kind: str
) -> None:
    fake.script("fake-model", Script(chunks=["a ", "b "], stream_error=f"Key {KEY} died"))
    call = new_call()
    sent = await streamed(transport, fake.url, kind, call=call)
    assert "Key [redacted] died" in chunks_of(sent)[-1]["error"]["message"]
    assert KEY.encode() not in sent
    assert call.error is not None
    assert KEY not in f"{call.error!r} {call.error.message} {vars(call.error)}"


@pytest.mark.parametrize("split", [None, 4096])
async def test_a_line_that_does_not_end_ends_the_stream(
    transport: Transport, fake: FakeProvider, split: int | None
) -> None:
    endless = b"data: " + b"a" * (MAX_LINE_BYTES + 300_000)
    fake.script("fake-model", Script(raw_frames=[chunk("good"), endless], split=split, split_pause_s=0.0))
    sent = await streamed(transport, fake.url)
    assert sent.startswith(chunk("good"))
    assert f"more than {MAX_LINE_BYTES} bytes" in chunks_of(sent)[-1]["error"]["message"]
    assert len(sent) < 10_000


async def test_a_line_of_nearly_a_megabyte_passes(transport: Transport, fake: FakeProvider) -> None:
    long = chunk("y" * (MAX_LINE_BYTES - 1000))
    fake.script("fake-model", Script(raw_frames=[chunk("x"), long, FINISH, DONE]))
    assert await streamed(transport, fake.url) == chunk("x") + long + FINISH + DONE


async def test_the_deadline_of_the_whole_call_is_said_in_the_stream(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(chunks=["x "], repeat_chunks=10_000, delay_between_chunks_s=0.02))
    began_s = time.monotonic()
    sent = await streamed(transport, fake.url, timeouts=patient(total_s=0.5))
    assert 0.49 <= time.monotonic() - began_s <= 0.5 + PROMISED_DEADLINE_S
    assert "(timeouts.total_s)" in chunks_of(sent)[-1]["error"]["message"]
    assert DONE not in sent


async def test_a_deadline_in_front_of_the_first_frame_is_no_stream(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(raw_frames=[b"data: {", b"never"], delay_between_chunks_s=5))
    with pytest.raises(UpstreamTimeout) as caught:
        await begun(transport, fake.url, timeouts=patient(between_chunks_s=0.2))
    assert caught.value.provider == "mine"
    await until(lambda: not leaks(transport))


async def test_nothing_follows_the_end(transport: Transport, fake: FakeProvider) -> None:
    for script in (Script(), Script(stream_error="died")):
        fake.script("fake-model", script)
        stream = await begun(transport, fake.url)
        await all_of(stream)
        assert await stream.next() == b""
        assert stream.fail(Unavailable("too late")) == b""
        stream.close()
        assert await stream.next() == b""


async def test_what_comes_after_the_end_mark_is_not_sent(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(raw_frames=[chunk(), FINISH, DONE, chunk("late"), DONE]))
    sent = await streamed(transport, fake.url)
    assert sent.count(DONE) == 1
    assert b"late" not in sent


async def test_a_stream_can_be_ended_from_outside(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(chunks=["x "], repeat_chunks=10_000, delay_between_chunks_s=0.01))
    call = new_call()
    stream = await begun(transport, fake.url, call=call)
    await stream.next()
    frame = stream.fail(Unavailable("The gateway is shutting down."))
    assert chunks_of(frame)[0]["error"]["message"] == "The gateway is shutting down."
    assert isinstance(call.error, SwitchgearError)
    assert await stream.next() == b""
    stream.close()
    await fake.until(SocketClosed)


# --- slow clients, and those that leave --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_stops_stops_the_provider(transport: Transport, fake: FakeProvider, kind: str) -> None:
    # The pauses let the fake see that we go: without them it may fill a closed socket to the end in one breath.
    script = Script(chunks=["x" * 20_000 + " "], repeat_chunks=5_000, delay_between_chunks_s=0.0001)
    fake.script("fake-model", script)
    stream = await begun(transport, fake.url, kind)
    piece = await stream.next()
    await until(lambda: stream._response._paused)
    await asyncio.sleep(0.1)
    assert len(piece) + sum(map(len, stream._response._chunks)) <= PROMISED_BYTES
    assert fake.journal(Finished) == []
    left_s = time.monotonic()
    stream.close()
    closed = await fake.until(SocketClosed)
    assert closed.t - left_s <= PROMISED_CLOSE_S
    assert closed.bytes_sent < 12_000_000  # what the kernel took
    await until(lambda: not leaks(transport))


async def test_a_slow_client_gets_everything(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(chunks=[f"{number} " for number in range(20_000)], split=60_000))
    stream, pieces = await begun(transport, fake.url), []
    while data := await stream.next():
        pieces.append(data)
        await asyncio.sleep(0.002)
    stream.close()
    assert text_of(b"".join(pieces)).split() == [str(number) for number in range(20_000)]


async def test_a_client_slower_than_the_time_between_chunks_is_not_the_providers_fault(
    transport: Transport, fake: FakeProvider
) -> None:
    fake.script("fake-model", Script(chunks=["x" * 1000 + " "], repeat_chunks=8_000))
    stream, call_bytes = await begun(transport, fake.url, timeouts=patient(between_chunks_s=0.3)), 0
    call_bytes += len(await stream.next())
    await asyncio.sleep(0.8)
    sent = await all_of(stream)
    stream.close()
    assert sent.endswith(DONE)
    assert call_bytes + len(sent) > 8_000_000


async def test_closing_in_the_middle_keeps_the_usage_that_is_known(transport: Transport, fake: FakeProvider) -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}\n\n'
    fake.script("fake-model", Script(raw_frames=[usage + chunk(), chunk()], delay_between_chunks_s=5))
    call = new_call()
    stream = await begun(transport, fake.url, call=call)
    await stream.next()
    stream.close()
    assert call.usage == Usage(9, 2)
    await fake.until(SocketClosed)
    assert pool_of(transport, fake.url).idle == type(pool_of(transport, fake.url).idle)()


async def test_one_frame_may_come_in_many_reads(transport: Transport) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    async with raw_server(answering(head + b"data: ", then=_dripping(chunk("slow")[6:] + FINISH + DONE))) as server:
        assert await streamed(transport, server.url) == chunk("slow") + FINISH + DONE


def _dripping(data: bytes) -> Any:
    async def then(peer: Any) -> None:
        for at in range(0, len(data), 3):
            await peer.send(data[at : at + 3])
            await asyncio.sleep(0)
        await peer.close()

    return then
