"""One answer, byte by byte: heads, framings, ends, back-pressure, and what becomes of the connection."""

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable

import pytest

from switchgear.core.errors import (
    UpstreamError,
    UpstreamInvalid,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnavailable,
)
from switchgear.core.settings import TimeoutSettings
from switchgear.core.types import HttpRequest
from switchgear.engine.connection import DRAIN_AFTER_END_S, HttpResponse
from switchgear.engine.transport import Transport
from tests.engine.rig import (
    MAX_BYTES,
    PATIENT,
    PROMISED_CLOSE_S,
    PROMISED_DEADLINE_S,
    Peer,
    RawServer,
    Serve,
    always,
    answering,
    get,
    leaks,
    patient,
    pool_of,
    post,
    raw_server,
    reply,
    until,
)
from tests.fake import FakeProvider, Finished, Script, SocketClosed
from tests.fake.script import CutWay, Framing
from tests.fault import FaultProxy

PROMISED_BYTES = 256 << 10
"""What one slow reader may make the gateway hold."""


async def fetch(
    transport: Transport, request: HttpRequest, timeouts: TimeoutSettings = PATIENT, max_bytes: int = MAX_BYTES
) -> tuple[int, bytes]:
    return await asyncio.wait_for(transport.fetch(request, timeouts, max_bytes), 10)


async def fetch_from(transport: Transport, serve: Serve) -> tuple[int, bytes]:
    """The answer of a server of one's own."""
    async with raw_server(serve) as server:
        return await fetch(transport, get(server.url))


async def rest_of(response: HttpResponse, into: list[bytes] | None = None) -> None:
    """Read on to the end."""
    while data := await response.read():
        if into is not None:
            into.append(data)


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailers + b"\r\n"


def in_pieces(*pieces: bytes, pause_s: float = 0.02) -> Callable[[Peer], Awaitable[None]]:
    """Answer one request with these pieces, each a segment of its own."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            await peer.send(piece)
            await asyncio.sleep(pause_s)
        await peer.gone()

    return serve


def endless(start: bytes, more: bytes) -> Serve:
    """Answer with ``start``, then ``more`` for ever."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        while True:
            await peer.send(more)

    return serve


# --- heads -------------------------------------------------------------------------------------------------------


async def test_status_and_headers_are_read_whatever_their_case(transport: Transport) -> None:
    raw = b"HTTP/1.1 418 I'm a teapot\r\nX-One: 1\r\nCONTENT-LENGTH:   2  \r\nx-latin: \xe9\r\n\r\nhi"
    async with raw_server(always(raw)) as server:
        response = await transport.send(get(server.url), PATIENT)
        assert response.status == 418
        assert response.headers == {"x-one": "1", "content-length": "2", "x-latin": "é"}
        assert response.framed
        assert await response.read_all(100) == b"hi"
        response.close()


@pytest.mark.parametrize("raw", [reply(b"hello"), chunked(b"he", b"l", b"lo")], ids=["length", "chunked"])
async def test_an_answer_reads_the_same_however_it_is_cut(transport: Transport, raw: bytes) -> None:
    cuts = iter(range(1, len(raw)))

    async def serve(peer: Peer) -> None:
        for cut in cuts:
            await peer.request()
            await peer.send(raw[:cut])
            await asyncio.sleep(0.001)
            await peer.send(raw[cut:])

    async with raw_server(serve) as server:
        for _ in range(1, len(raw)):
            assert await fetch(transport, get(server.url)) == (200, b"hello")
        assert server.connections == 1


async def test_an_answer_may_come_byte_by_byte(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(text="é€😀", split=1))
    _, body = await fetch(transport, post(fake.url, stream=True))
    assert "é€😀" in body.decode()


@pytest.mark.parametrize("status", [100, 103])
async def test_an_informational_answer_comes_before_the_answer(
    transport: Transport, fake: FakeProvider, status: int
) -> None:
    fake.script("m", Script(informational_first=status))
    for _ in range(2):
        response = await transport.send(post(fake.url), PATIENT)
        assert response.status == 200
        assert "link" not in response.headers
        await response.read_all(MAX_BYTES)
        response.close()
    assert len({request.connection for request in fake.requests()}) == 1


async def test_several_informational_answers_may_come_in_one_segment(transport: Transport) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 3
    assert await fetch_from(transport, always(hints + reply(b"real"))) == (200, b"real")


async def test_a_head_that_is_too_long_is_refused(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(header_flood_bytes=600_000))
    with pytest.raises(UpstreamInvalid, match="more than 65536 bytes of headers"):
        await fetch(transport, post(fake.url))
    await until(lambda: not leaks(transport))


async def test_a_long_head_that_is_not_too_long_is_read(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(header_flood_bytes=60_000))
    assert (await fetch(transport, post(fake.url)))[0] == 200


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x-flood: " + b"a" * 1000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nx-flood: ", b"a" * 1000),
        (b"HTTP/1.1 200 ", b"a" * 1000),
        (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
    ],
    ids=["headers", "one header", "reason", "informational answers"],
)
async def test_a_head_that_never_ends_is_refused(transport: Transport, start: bytes, more: bytes) -> None:
    with pytest.raises(UpstreamInvalid, match="bytes of headers"):
        await fetch_from(transport, endless(start, more))


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"0\r\n", b"x-flood: " + b"a" * 1000 + b"\r\n"),
        (b"0\r\nx-flood: ", b"a" * 1000),
        (b"5;", b"a" * 1000),
    ],
    ids=["trailers", "one trailer", "a chunk's extension"],
)
async def test_framing_that_never_ends_is_refused(transport: Transport, start: bytes, more: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"
    with pytest.raises(UpstreamInvalid, match="bytes of headers"):
        await fetch_from(transport, endless(head + start, more))


async def test_trailers_are_no_headers(transport: Transport) -> None:
    async with raw_server(always(chunked(b"{}", trailers=b"keep-alive: timeout=1\r\nx-status: 500\r\n"))) as server:
        response = await transport.send(get(server.url), PATIENT)
        assert await response.read_all(100) == b"{}"
        assert "x-status" not in response.headers
        response.close()
        await fetch(transport, get(server.url))
        assert server.connections == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"hello\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\x00b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[:60]),
)
async def test_what_is_not_http_is_said_to_be_invalid(transport: Transport, raw: bytes) -> None:
    with pytest.raises(UpstreamUnavailable, match="not valid HTTP"):
        await fetch_from(transport, in_pieces(raw))
    await until(lambda: not leaks(transport))


async def test_an_http_0_9_answer_is_not_taken_for_a_body(transport: Transport) -> None:
    with pytest.raises(UpstreamUnavailable):
        await fetch_from(transport, answering(b"<html>all of it</html>", then=Peer.close))


# --- bodies ------------------------------------------------------------------------------------------------------


async def test_a_body_may_be_empty(transport: Transport) -> None:
    assert await fetch_from(transport, always(reply(b""))) == (200, b"")
    assert await fetch_from(transport, always(b"HTTP/1.1 204 No Content\r\n\r\n")) == (204, b"")
    assert await fetch_from(transport, always(chunked())) == (200, b"")


async def test_a_body_without_framing_ends_with_its_connection(transport: Transport) -> None:
    raw = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nall of it"
    async with raw_server(answering(raw, then=Peer.close)) as server:
        response = await transport.send(get(server.url), PATIENT)
        assert not response.framed
        assert await response.read_all(100) == b"all of it"
        response.close()
        await until(lambda: not leaks(transport))


async def test_a_close_delimited_stream_is_read(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(framing="close"))
    response = await transport.send(post(fake.url, stream=True), PATIENT)
    assert not response.framed
    assert (await response.read_all(MAX_BYTES)).endswith(b"data: [DONE]\n\n")
    response.close()


async def test_a_reset_does_not_end_a_body_without_framing(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(framing="close", cut_after_bytes=50, cut="reset"))
    with pytest.raises(UpstreamTruncated):
        await fetch(transport, post(fake.url, stream=True))


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("framing", ["content-length", "chunked"])
async def test_a_body_that_ends_early_is_truncated(
    transport: Transport, fake: FakeProvider, how: CutWay, framing: Framing
) -> None:
    fake.script("m", Script(framing=framing, cut_after_bytes=40, cut=how))
    response = await transport.send(post(fake.url), PATIENT)
    got: list[bytes] = []
    with pytest.raises(UpstreamTruncated, match="in the middle of its answer"):
        await rest_of(response, got)
    assert len(b"".join(got)) == 40  # what came before the end is read first
    response.close()
    assert (await fake.until(Finished)).outcome == "cut"
    await until(lambda: not leaks(transport))


async def test_a_stream_without_its_last_chunk_is_truncated(transport: Transport) -> None:
    raw = chunked(b"all", b"there")[: -len(b"0\r\n\r\n")]
    with pytest.raises(UpstreamTruncated):
        await fetch_from(transport, answering(raw, then=Peer.close))


@pytest.mark.parametrize("cut_at", range(1, 70, 7))
async def test_an_answer_cut_anywhere_is_never_whole(
    transport: Transport, fake: FakeProvider, proxy: FaultProxy, cut_at: int
) -> None:
    fake.script("m", Script(raw_body=b'{"choices": []}'))
    proxy.cut_after(cut_at)
    with pytest.raises(UpstreamError):
        await fetch(transport, post(proxy.url))


async def test_a_reset_of_every_connection_ends_every_answer(
    transport: Transport, fake: FakeProvider, proxy: FaultProxy
) -> None:
    fake.script("m", Script(chunks=["x "], repeat_chunks=1000, delay_between_chunks_s=0.02))
    responses = [await transport.send(post(proxy.url, stream=True), PATIENT) for _ in range(5)]
    for response in responses:
        await response.read()
    assert proxy.reset() >= 5
    for response in responses:
        with pytest.raises(UpstreamTruncated):
            await rest_of(response)
        response.close()
    await until(lambda: not leaks(transport))


async def test_a_half_closed_connection_ends_its_answer(
    transport: Transport, fake: FakeProvider, proxy: FaultProxy
) -> None:
    fake.script("m", Script(hang_before_headers=True))
    task = asyncio.ensure_future(transport.send(post(proxy.url), PATIENT))
    await until(lambda: len(fake.requests()) == 1)
    proxy.half_close()
    with pytest.raises(UpstreamUnavailable):
        await asyncio.wait_for(task, 5)


async def test_a_compressed_body_is_left_as_it_is(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(gzip=True, text="squeezed"))
    response = await transport.send(post(fake.url), PATIENT)
    assert response.headers["content-encoding"] == "gzip"
    assert b"squeezed" in gzip.decompress(await response.read_all(MAX_BYTES))
    response.close()
    assert fake.last_request().header("accept-encoding") == "identity"


async def test_a_body_longer_than_wanted_is_refused(transport: Transport) -> None:
    body = b"x" * 1000
    async with raw_server(always(reply(body))) as server:
        assert await fetch(transport, get(server.url), max_bytes=1000) == (200, body)
        with pytest.raises(UpstreamInvalid, match="longer than 999 bytes"):
            await fetch(transport, get(server.url), max_bytes=999)


async def test_an_endless_body_is_refused(transport: Transport) -> None:
    async with raw_server(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536)) as server:
        with pytest.raises(UpstreamInvalid, match="longer than 1000000 bytes"):
            await fetch(transport, get(server.url), max_bytes=1_000_000)
        await until(lambda: server.live == 0)


# --- one request, one answer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause_s", [0.0, 0.03])
async def test_a_second_answer_is_nobodys(transport: Transport, pause_s: float) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        if pause_s:
            await peer.send(reply(b"mine"))
            await asyncio.sleep(pause_s)
            await peer.send(reply(b"smuggled", status=b"500 Smuggled"))
        else:
            await peer.send(reply(b"mine") + reply(b"smuggled", status=b"500 Smuggled"))
        await always(reply(b"next"))(peer)

    async with raw_server(serve) as server:
        response = await transport.send(get(server.url), PATIENT)
        await asyncio.sleep(pause_s * 2)
        assert (response.status, await response.read_all(100)) == (200, b"mine")
        response.close()
        assert (await fetch(transport, get(server.url)))[1] in (b"mine", b"next")
        assert server.connections == 2


async def test_a_second_answer_after_the_content_is_nobodys(transport: Transport) -> None:
    first = chunked(b"data: [DONE]\n\n")

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(first[: -len(b"0\r\n\r\n")])
        await asyncio.sleep(0.05)
        await peer.send(b"0\r\n\r\n" + b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmug")
        if peer.number == 1:
            await peer.request()
            await peer.send(b"gled")
            await peer.gone()

    async with raw_server(serve) as server:
        response = await transport.send(get(server.url), PATIENT)
        await response.read()
        response.close(content_ended=True)
        await until(lambda: not transport._busy)
        assert (await fetch(transport, get(server.url)))[1] == b"data: [DONE]\n\n"
        assert server.connections == 2


# --- letting go --------------------------------------------------------------------------------------------------


async def test_a_stream_let_go_at_its_end_mark_leaves_a_connection_that_serves_again(
    transport: Transport, fake: FakeProvider
) -> None:
    done = b"data: [DONE]\n\n"
    fake.script("m", Script(split=40))
    for _ in range(3):
        response = await transport.send(post(fake.url, stream=True), PATIENT)
        seen = b""
        while not seen.endswith(done):
            seen += await response.read()
        response.close(content_ended=True)
        await until(lambda: not transport._busy)
    assert len({request.connection for request in fake.requests()}) == 1


async def test_a_late_last_chunk_is_waited_for_in_the_background(transport: Transport) -> None:
    raw = chunked(b"done")

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(raw[:-5])
            await asyncio.sleep(0.05)
            await peer.send(raw[-5:])

    async with raw_server(serve) as server:
        for _ in range(2):
            response = await transport.send(get(server.url), PATIENT)
            assert await response.read() == b"done"
            response.close(content_ended=True)
            await until(lambda: not transport._busy)
        assert server.connections == 1


async def test_a_last_chunk_that_does_not_come_is_not_waited_for_long(transport: Transport) -> None:
    async with raw_server(in_pieces(chunked(b"done")[:-5])) as server:
        response = await transport.send(get(server.url), PATIENT)
        await response.read()
        closed_s = time.monotonic()
        response.close(content_ended=True)
        await until(lambda: server.live == 0)
        assert time.monotonic() - closed_s <= DRAIN_AFTER_END_S + PROMISED_DEADLINE_S
        await until(lambda: not leaks(transport))


async def test_content_that_goes_on_after_its_end_is_not_read_for_ever(transport: Transport) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with raw_server(endless(head, b"1000\r\n" + b"x" * 4096 + b"\r\n")) as server:
        response = await transport.send(get(server.url), PATIENT)
        await response.read()
        closed_s = time.monotonic()
        response.close(content_ended=True)
        await until(lambda: server.live == 0)
        assert time.monotonic() - closed_s < DRAIN_AFTER_END_S
        await until(lambda: not leaks(transport))


async def test_a_connection_that_closes_after_the_content_is_let_go(transport: Transport) -> None:
    async with raw_server(answering(chunked(b"done")[:-5], then=Peer.close)) as server:
        response = await transport.send(get(server.url), PATIENT)
        assert await response.read() == b"done"
        response.close(content_ended=True)
        await until(lambda: not leaks(transport))


async def test_letting_go_twice_is_letting_go_once(transport: Transport, fake: FakeProvider) -> None:
    response = await transport.send(post(fake.url), PATIENT)
    await response.read_all(MAX_BYTES)
    response.close()
    other = await transport.send(post(fake.url), PATIENT)  # on the same connection
    response.close()
    response.close(content_ended=True)
    assert len(await other.read_all(MAX_BYTES)) > 0
    other.close()
    assert pool_of(transport, fake.url).open_count == 1


async def test_an_answer_that_was_whole_before_it_was_read_keeps_its_connection(transport: Transport) -> None:
    async with raw_server(always(reply(b"x" * 200_000))) as server:
        for _ in range(3):
            response = await transport.send(get(server.url), PATIENT)
            await asyncio.sleep(0.02)
            assert len(await response.read_all(MAX_BYTES)) == 200_000
            response.close()
        assert server.connections == 1


# --- slow readers ------------------------------------------------------------------------------------------------


async def flooded(transport: Transport, server: RawServer) -> HttpResponse:
    """An answer whose first piece has been taken, and whose reader then stopped until nothing more came in."""
    response = await transport.send(get(server.url), PATIENT)
    await response.read()
    await until(lambda: response._paused)
    return response


def held_bytes(response: HttpResponse) -> int:
    return sum(map(len, response._chunks))


async def test_a_reader_that_stops_stops_the_provider(transport: Transport, fake: FakeProvider) -> None:
    # The pauses let the fake see that we go: without them it may fill a closed socket to the end in one breath.
    fake.script("m", Script(chunks=["x" * 20_000], repeat_chunks=5_000, delay_between_chunks_s=0.0001))
    response = await transport.send(post(fake.url, stream=True), PATIENT)
    piece = await response.read()
    await until(lambda: response._paused)
    await asyncio.sleep(0.1)
    assert len(piece) + held_bytes(response) <= PROMISED_BYTES
    assert fake.journal(Finished) == []  # a hundred megabytes are still with the provider
    left_s = time.monotonic()
    response.close()
    closed = await fake.until(SocketClosed)
    assert closed.t - left_s <= PROMISED_CLOSE_S
    assert closed.bytes_sent < 12_000_000  # the kernel's buffers, and ours


async def test_what_a_stopped_reader_holds_does_not_grow(transport: Transport) -> None:
    sent = 0

    async def serve(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.send(b"x" * 100_000)
            sent += 100_000

    async with raw_server(serve) as server:
        response = await flooded(transport, server)
        before, sent_before, most = held_bytes(response), -1, 0
        while sent != sent_before:  # the kernel's buffers are full when the provider comes to a stop
            sent_before = sent
            await asyncio.sleep(0.1)
        for _ in range(50):  # reading on, slowly
            piece = await response.read()
            await asyncio.sleep(0.002)
            most = max(most, len(piece) + held_bytes(response))
        assert before <= PROMISED_BYTES
        assert 0 < most <= PROMISED_BYTES
        response.close()


async def test_a_piece_under_way_to_the_client_is_held_alone(transport: Transport) -> None:
    async with raw_server(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1_000_000)) as server:
        response = await flooded(transport, server)
        await asyncio.sleep(0.05)
        for _ in range(20):
            piece = await response.read()
            await asyncio.sleep(0.01)  # the client does not take it
            assert len(piece) + held_bytes(response) <= PROMISED_BYTES
        response.close()


async def test_nothing_is_lost_to_a_slow_reader(transport: Transport) -> None:
    body = b"".join(b"%07d\n" % number for number in range(500_000))
    async with raw_server(always(reply(body))) as server:
        response, got = await transport.send(get(server.url), PATIENT), []
        while data := await response.read():
            got.append(data)
            await asyncio.sleep(0.001)
        assert b"".join(got) == body
        response.close()
        assert await fetch(transport, get(server.url)) == (200, body)
        assert server.connections == 1


async def test_a_silence_of_our_own_making_is_not_held_against_the_provider(transport: Transport) -> None:
    body = b"x" * 3_000_000
    async with raw_server(always(reply(body))) as server:
        response = await transport.send(get(server.url), patient(between_chunks_s=0.3))
        got = len(await response.read())
        await asyncio.sleep(0.8)  # the client is busy; the provider has bytes for us all the while
        assert got + len(await response.read_all(MAX_BYTES)) == len(body)
        response.close()


async def test_a_small_piece_that_waits_for_its_reader_is_no_silence(transport: Transport) -> None:
    whole = chunked(b"one", b"two")
    async with raw_server(in_pieces(whole[:-5], pause_s=0.7)) as server:
        response = await transport.send(get(server.url), patient(between_chunks_s=0.3))
        await asyncio.sleep(0.7)
        assert await response.read() == b"onetwo"
        response.close()


async def test_a_paused_answer_still_meets_the_deadline_of_the_whole_call(transport: Transport) -> None:
    async with raw_server(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1_000_000)) as server:
        began_s = time.monotonic()
        response = await transport.send(get(server.url), patient(total_s=0.5))
        await response.read()
        await until(lambda: server.live == 0)  # closed, though nobody reads
        assert 0.49 <= time.monotonic() - began_s <= 0.5 + PROMISED_DEADLINE_S
        with pytest.raises(UpstreamTimeout) as caught:
            await rest_of(response)
        assert caught.value.deadline == "total"
        response.close()


async def test_a_paused_answer_can_be_let_go(transport: Transport) -> None:
    async with raw_server(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1_000_000)) as server:
        for content_ended in (False, True):
            response = await flooded(transport, server)
            response.close(content_ended=content_ended)
            await until(lambda: server.live == 0)
            await until(lambda: not leaks(transport))


async def test_a_reset_while_paused_is_heard_when_reading_goes_on(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 90000000\r\n\r\n" + b"x" * 5_000_000)
        await asyncio.sleep(0.1)
        await peer.reset()

    async with raw_server(serve) as server:
        response = await flooded(transport, server)
        await until(lambda: server.live == 0)
        with pytest.raises(UpstreamTruncated):
            await rest_of(response)
        response.close()


async def test_many_stopped_readers_hold_little_each(transport: Transport) -> None:
    async with raw_server(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 300_000)) as server:
        responses = await asyncio.gather(*(flooded(transport, server) for _ in range(50)))
        assert max(map(held_bytes, responses)) <= PROMISED_BYTES
        for response in responses:
            response.close()
        await until(lambda: server.live == 0)
