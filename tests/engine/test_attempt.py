"""One try at one target: what comes back, whose error it is, and that its slot is given back however it ends."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import pytest

from switchgear.core.errors import (
    InvalidRequest,
    Overloaded,
    QueueTimeout,
    SwitchgearError,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnavailable,
)
from switchgear.core.protocols import Call
from switchgear.core.types import Target
from switchgear.engine.attempt import Upstream, attempt
from switchgear.engine.slots import Slots
from switchgear.engine.streaming import Stream
from switchgear.engine.transport import Transport
from switchgear.surfaces.openai import OpenAIChat
from tests.engine.rig import (
    KEY,
    PROMISED_CLOSE_S,
    PROMISED_DEADLINE_S,
    all_of,
    always,
    chat_body,
    chunks_of,
    ended,
    leaks,
    new_call,
    patient,
    raw_server,
    silent,
    text_of,
    until,
    upstream_of,
)
from tests.fake import Accepted, FakeProvider, HeadersSent, Script, SocketClosed
from tests.fake import Usage as FakeUsage

FORMAT = OpenAIChat()
KINDS = ("openai_compatible", "ollama", "tgi")


async def try_once(
    transport: Transport, upstream: Upstream, body: bytes, *, call: Call | None = None, left_s: float = 40.0
) -> bytes | Stream:
    """The attempt at ``fake-model`` that a client's ``body`` leads to."""
    call = call or new_call()
    call.chat = FORMAT.read_request(body)
    call.streamed = call.chat.stream
    target = Target(upstream.provider.name, "fake-model")
    return await attempt(call, FORMAT, upstream, target, transport, perf_counter() + left_s)


async def failing(transport: Transport, upstream: Upstream, body: bytes, **more: Any) -> SwitchgearError:
    """The error it comes to."""
    with pytest.raises(SwitchgearError) as caught:
        await try_once(transport, upstream, body, **more)
    return caught.value


def error_body(message: str, **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


# --- answers -----------------------------------------------------------------------------------------------------


async def test_a_whole_answer_in_the_clients_own_format_passes_verbatim(
    transport: Transport, fake: FakeProvider
) -> None:
    raw = b'{ "choices" : [ ], "usage":{"prompt_tokens":3,"completion_tokens":4}, "x": 1.0e0 }'
    fake.script("fake-model", Script(raw_body=raw))
    call = new_call()
    assert await try_once(transport, upstream_of("openai_compatible", fake.url), chat_body(), call=call) == raw
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens) == (3, 4)
    assert call.upstream_s > 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_whole_answer_is_in_the_clients_format(transport: Transport, fake: FakeProvider, kind: str) -> None:
    fake.script("fake-model", Script(text="Hello you.", usage=FakeUsage(input_tokens=5, output_tokens=2)))
    call = new_call()
    body = await try_once(transport, upstream_of(kind, fake.url), chat_body("asked"), call=call)
    assert isinstance(body, bytes)
    answer = json.loads(body)
    assert answer["choices"][0]["message"]["content"] == "Hello you."
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert call.usage is not None
    assert call.usage.output_tokens == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_is_in_the_clients_format(transport: Transport, fake: FakeProvider, kind: str) -> None:
    fake.script("fake-model", Script(chunks=["Hello ", "you."]))
    stream = await try_once(transport, upstream_of(kind, fake.url), chat_body(stream=True))
    assert isinstance(stream, Stream)
    sent = await all_of(stream)
    stream.close()
    assert text_of(sent) == "Hello you."
    assert sent.endswith(b"data: [DONE]\n\n")


async def test_the_request_carries_the_calls_id_and_the_providers_key(transport: Transport, fake: FakeProvider) -> None:
    await try_once(transport, upstream_of("openai_compatible", fake.url), chat_body("asked", temperature=1))
    request = fake.last_request()
    assert request.header("x-request-id") == "req_test"
    assert request.header("authorization") == f"Bearer {KEY}"
    assert request.json == {
        "model": "fake-model", "messages": [{"role": "user", "content": "hello"}], "temperature": 1
    }  # fmt: skip


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
async def test_a_whole_answer_to_a_stream_request_becomes_a_stream(
    transport: Transport, fake: FakeProvider, content_type: str
) -> None:
    whole = {
        "id": "c1", "created": 7, "model": "fake-model",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "All at once."}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }  # fmt: skip
    script = Script(raw_body=json.dumps(whole).encode(), headers={"Content-Type": content_type})
    fake.script("fake-model", script)
    body, call = chat_body("asked", stream=True, stream_options={"include_usage": True}), new_call()
    sent = await try_once(transport, upstream_of("openai_compatible", fake.url), body, call=call)
    assert isinstance(sent, bytes)
    assert text_of(sent) == "All at once."
    *_, finish, usage, done = chunks_of(sent)
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"]["total_tokens"] == 7
    assert done == "[DONE]"
    assert call.usage is not None
    assert call.usage.input_tokens == 3


async def test_an_ollama_that_answers_whole_still_gives_a_stream(transport: Transport, fake: FakeProvider) -> None:
    whole = {"model": "m", "message": {"role": "assistant", "content": "Hi."}, "done": True, "done_reason": "stop"}
    fake.script("fake-model", Script(raw_body=json.dumps(whole).encode() + b"\n"))
    stream = await try_once(transport, upstream_of("ollama", fake.url), chat_body(stream=True))
    assert isinstance(stream, Stream)
    assert text_of(await all_of(stream)) == "Hi."
    stream.close()


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [400, 401, 429, 503])
async def test_a_refusal_keeps_its_status_and_words(
    transport: Transport, fake: FakeProvider, kind: str, status: int, stream: bool
) -> None:
    fake.script("fake-model", Script(status=status, error="Not today.", headers={"Retry-After": "17"}))
    error = await failing(transport, upstream_of(kind, fake.url, "mine"), chat_body(stream=stream))
    assert isinstance(error, UpstreamRejected)
    assert error.status == status
    assert error.message == "mine: Not today."
    assert error.provider == "mine"
    assert error.retry_after == "17"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_object_under_200_is_an_error(transport: Transport, fake: FakeProvider, stream: bool) -> None:
    raw = error_body("Out of credits", code=402)
    fake.script("fake-model", Script(raw_body=raw, headers={"Content-Type": "application/json"}))
    error = await failing(transport, upstream_of("openai_compatible", fake.url, "mine"), chat_body(stream=stream))
    assert isinstance(error, UpstreamError)
    assert error.message == "mine: Out of credits"
    assert error.status >= 400


@pytest.mark.parametrize("frame", [b'data: {"error": {"message": "No."}}\n\n', b'event: error\ndata: "No."\n\n'])
async def test_a_stream_that_begins_with_an_error_has_not_begun(
    transport: Transport, fake: FakeProvider, frame: bytes
) -> None:
    fake.script("fake-model", Script(raw_frames=[frame]))
    error = await failing(transport, upstream_of("openai_compatible", fake.url, "mine"), chat_body(stream=True))
    assert isinstance(error, UpstreamError)
    assert error.provider == "mine"
    await until(lambda: not transport._busy)


@pytest.mark.parametrize(
    "raw",
    [b"", b"<html>Welcome</html>", b"null", b"[]", b'{"choices"', b"\xff\xfe", b'{"object": "list"}', b"[" * 100_000],
    ids=lambda raw: repr(raw[:12]),
)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_is_none_is_invalid(
    transport: Transport, fake: FakeProvider, kind: str, raw: bytes
) -> None:
    fake.script("fake-model", Script(raw_body=raw))
    error = await failing(transport, upstream_of(kind, fake.url, "mine"), chat_body())
    assert isinstance(error, UpstreamInvalid)
    assert error.message.startswith("mine: ")


@pytest.mark.parametrize("raw", [b"", b": only a comment\n\n", b"<html>", b'{"choices": []}'])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_of_nothing_is_no_stream(
    transport: Transport, fake: FakeProvider, kind: str, raw: bytes
) -> None:
    fake.script("fake-model", Script(raw_frames=[raw]))
    body = chat_body(stream=True)
    try:
        stream = await try_once(transport, upstream_of(kind, fake.url), body)
    except UpstreamError:
        return
    assert isinstance(stream, Stream)  # a comment may go out before the end is known
    sent = await all_of(stream)
    stream.close()
    assert b"[DONE]" not in sent
    assert "error" in chunks_of(sent)[-1]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_compressed_answer_is_refused_in_clear_words(
    transport: Transport, fake: FakeProvider, kind: str, stream: bool
) -> None:
    fake.script("fake-model", Script(gzip=True))
    error = await failing(transport, upstream_of(kind, fake.url, "mine"), chat_body(stream=stream))
    assert isinstance(error, UpstreamInvalid)
    assert error.message == "mine: The provider compressed its answer ('gzip'), though it was asked not to."


async def test_a_compressed_refusal_keeps_its_status(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(gzip=True, status=429))
    error = await failing(transport, upstream_of("openai_compatible", fake.url, "mine"), chat_body())
    assert (error.status, error.message) == (429, "mine: The provider answered 429.")


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 308])
async def test_any_other_status_is_not_an_answer(transport: Transport, fake: FakeProvider, status: int) -> None:
    script = Script(status=status, redirect_to=f"{fake.url}/v1/models") if status > 300 else Script(status=status)
    fake.script("fake-model", script)
    error = await failing(transport, upstream_of("openai_compatible", fake.url), chat_body())
    assert isinstance(error, UpstreamInvalid)
    assert str(status) in error.message
    assert len(fake.requests()) == 1


async def test_a_huge_refusal_is_not_read(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(status=500, raw_body=b"x" * 5_000_000))
    error = await failing(transport, upstream_of("openai_compatible", fake.url, "mine"), chat_body())
    assert (error.status, error.message) == (500, "mine: The provider answered 500.")
    await until(lambda: not leaks(transport))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [401, 500, 200])
async def test_an_echoed_key_is_redacted(
    transport: Transport, fake: FakeProvider, kind: str, stream: bool, status: int
) -> None:
    if status == 200:
        script = Script(stream_error=f"Key {KEY} died") if stream else Script(raw_body=error_body(f"Key {KEY} died"))
    else:
        script = Script(status=status, error=f"Key {KEY} died", error_code=KEY)
    fake.script("fake-model", Script(**_fields(script) | {"chunks": []}) if stream else script)
    result, seen = None, b""
    call = new_call()
    try:
        result = await try_once(transport, upstream_of(kind, fake.url), chat_body(stream=stream), call=call)
    except SwitchgearError as error:
        seen = f"{error!r} {error} {error.message} {vars(error)}".encode() + FORMAT.write_error(error)
    if isinstance(result, Stream):
        seen = await all_of(result)
        result.close()
        seen += repr(call.error).encode()
    assert b"[redacted]" in seen or b"error" in seen
    assert KEY.encode() not in seen


def _fields(script: Script) -> dict[str, Any]:
    return {name: getattr(script, name) for name in script.__struct_fields__}


async def test_nobody_listening_is_said_with_the_providers_name(transport: Transport, closed_port: int) -> None:
    error = await failing(transport, upstream_of("openai_compatible", f"http://127.0.0.1:{closed_port}", "mine"),
                          chat_body())  # fmt: skip
    assert isinstance(error, UpstreamUnavailable)
    assert error.message == "mine: Cannot connect to the provider: Connection refused."


async def test_what_a_provider_cannot_be_asked_is_not_sent(transport: Transport, fake: FakeProvider) -> None:
    slots = Slots(1, 0, 1)
    tools = [{"type": "function", "function": {"name": "f"}}]
    upstream = upstream_of("ollama", fake.url, slots=slots)
    error = await failing(transport, upstream, chat_body(messages=[{"role": "user", "content": [
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]}], tools=tools))  # fmt: skip
    assert isinstance(error, InvalidRequest)
    assert slots.taken == 0
    assert fake.requests() == []


# --- deadlines ---------------------------------------------------------------------------------------------------


async def test_what_is_left_of_the_whole_call_is_its_deadline(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(hang_before_headers=True))
    upstream = upstream_of("openai_compatible", fake.url, timeouts=patient(total_s=30))
    began_s = time.monotonic()
    error = await failing(transport, upstream, chat_body(), left_s=0.3)
    assert 0.29 <= time.monotonic() - began_s <= 0.3 + PROMISED_DEADLINE_S
    assert isinstance(error, UpstreamTimeout)
    assert error.deadline == "total"
    assert "within 30 s (timeouts.total_s)" in error.message  # as configured, not as left


async def test_nothing_is_sent_when_nothing_is_left(transport: Transport, fake: FakeProvider) -> None:
    error = await failing(transport, upstream_of("openai_compatible", fake.url), chat_body(), left_s=0)
    assert isinstance(error, UpstreamTimeout)
    assert error.deadline == "total"
    assert fake.requests() == []


async def test_waiting_for_a_slot_counts_as_part_of_the_call(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(hang_before_headers=True))
    slots = Slots(1, 5, 30)
    upstream = upstream_of("openai_compatible", fake.url, slots=slots)
    await slots.take()
    began_s = time.monotonic()
    error = await failing(transport, upstream, chat_body(), left_s=0.2)
    assert isinstance(error, QueueTimeout)
    assert 0.19 <= time.monotonic() - began_s <= 0.2 + PROMISED_DEADLINE_S
    began_s = time.monotonic()
    task = asyncio.ensure_future(try_once(transport, upstream, chat_body(), left_s=0.4))
    await asyncio.sleep(0.2)
    slots.give_back()
    with pytest.raises(UpstreamTimeout):
        await task
    assert 0.39 <= time.monotonic() - began_s <= 0.4 + PROMISED_DEADLINE_S
    assert slots.taken == 0


# --- slots -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        Script(),
        Script(status=500),
        Script(status=400),
        Script(raw_body=b"nonsense"),
        Script(gzip=True),
        Script(cut_after_bytes=0),
        Script(cut_after_bytes=30, cut="reset"),
        Script(header_flood_bytes=600_000),
        Script(raw_head=b"nonsense\r\n\r\n"),
        Script(hang_before_headers=True),
        Script(redirect_to="http://elsewhere.test"),
    ],
    ids=lambda script: ",".join(f"{k}={v}" for k, v in _fields(script).items() if v != getattr(Script(), k))[:40],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_slot_comes_back_however_it_ends(
    transport: Transport, fake: FakeProvider, script: Script, stream: bool
) -> None:
    fake.script("fake-model", script)
    slots = Slots(1, 0, 1)
    upstream = upstream_of("openai_compatible", fake.url, slots=slots, timeouts=patient(first_byte_s=0.3))
    result = None
    try:
        result = await try_once(transport, upstream, chat_body(stream=stream))
    except SwitchgearError:
        assert slots.taken == 0
    if isinstance(result, Stream):
        assert slots.taken == 1  # until the client has it all
        await all_of(result)
        result.close()
        result.close()
    assert slots.taken == 0
    await until(lambda: not transport._busy)


Reached = Callable[[FakeProvider], Awaitable[Any]]


@pytest.mark.parametrize(
    ("script", "reached"),
    [
        (Script(hang_before_headers=True), lambda fake: fake.until(Accepted)),
        (Script(delay_before_first_byte_s=5), lambda fake: fake.until(HeadersSent)),
        (Script(cut_after_bytes=20, cut="hang"), lambda fake: fake.until(HeadersSent)),
    ],
    ids=["before the head", "before the body", "in the body"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_slot_and_a_socket_come_back_when_the_client_leaves(
    transport: Transport, fake: FakeProvider, script: Script, reached: Reached, stream: bool
) -> None:
    fake.script("fake-model", script)
    slots = Slots(1, 0, 1)
    task = asyncio.ensure_future(
        try_once(transport, upstream_of("openai_compatible", fake.url, slots=slots), chat_body(stream=stream))
    )
    await reached(fake)
    left_s = time.monotonic()
    assert await ended(task) is None
    assert slots.taken == 0
    assert (await fake.until(SocketClosed)).t - left_s <= PROMISED_CLOSE_S
    await until(lambda: not leaks(transport))


async def test_leaving_the_line_for_a_slot_leaves_nothing(transport: Transport, fake: FakeProvider) -> None:
    slots = Slots(1, 5, 30)
    upstream = upstream_of("openai_compatible", fake.url, slots=slots)
    await slots.take()
    tasks = [asyncio.ensure_future(try_once(transport, upstream, chat_body())) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert await ended(tasks[0]) is None
    slots.give_back()
    tasks[1].cancel()  # its turn has come in this very moment
    assert isinstance(await tasks[2], bytes)
    assert slots.taken == 0
    assert len(fake.requests()) == 1


async def test_a_full_line_is_said_with_the_providers_name(transport: Transport, fake: FakeProvider) -> None:
    slots = Slots(1, 0, 1)
    await slots.take()
    error = await failing(transport, upstream_of("openai_compatible", fake.url, "mine", slots=slots), chat_body())
    assert isinstance(error, Overloaded)
    assert error.provider == "mine"
    assert error.message.startswith("mine: All 1 slots are busy")
    assert slots.taken == 1


async def test_a_truncated_whole_answer_is_an_error(transport: Transport, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(cut_after_bytes=30))
    error = await failing(transport, upstream_of("openai_compatible", fake.url, "mine"), chat_body())
    assert isinstance(error, UpstreamTruncated)
    assert error.message.startswith("mine: ")


async def test_an_answer_that_never_comes_takes_no_more_than_its_deadline(transport: Transport) -> None:
    async with raw_server(silent) as server:
        upstream = upstream_of("openai_compatible", server.url, "mine", timeouts=patient(first_byte_s=0.2))
        error = await failing(transport, upstream, chat_body())
    assert error.message == "mine: No answer from the provider within 0.2 s (timeouts.first_byte_s)."


async def test_a_whole_answer_without_a_content_type_is_read(transport: Transport) -> None:
    raw = b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"choices": []}'
    async with raw_server(always(raw)) as server:
        assert await try_once(transport, upstream_of("openai_compatible", server.url), chat_body()) == raw[-15:]
