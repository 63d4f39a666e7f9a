"""Pools, TLS, deadlines, cancellation: what the upstream client promises, seen from the provider's side."""

import asyncio
import random
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import trustme

from switchgear.core.errors import UpstreamInvalid, UpstreamTimeout, UpstreamUnavailable
from switchgear.core.settings import TimeoutSettings
from switchgear.core.types import HttpRequest
from switchgear.engine.connection import HttpResponse
from switchgear.engine.transport import Transport
from tests.engine.rig import (
    MAX_BYTES,
    PATIENT,
    PROMISED_CLOSE_S,
    PROMISED_DEADLINE_S,
    Peer,
    always,
    answering,
    chat_body,
    ended,
    get,
    leaks,
    origin_of,
    patient,
    pool_of,
    post,
    posting,
    raw_server,
    reply,
    server_tls,
    until,
)
from tests.fake import Accepted, ConnectionClosed, ConnectionOpened, FakeProvider, HeadersSent, Script, SocketClosed
from tests.fault import FaultProxy


async def fetch(transport: Transport, request: HttpRequest, timeouts: TimeoutSettings = PATIENT) -> tuple[int, bytes]:
    return await transport.fetch(request, timeouts, MAX_BYTES)


def fetching(
    transport: Transport, request: HttpRequest, timeouts: TimeoutSettings = PATIENT
) -> "asyncio.Task[tuple[int, bytes]]":
    return asyncio.get_running_loop().create_task(fetch(transport, request, timeouts))


async def waiting(transport: Transport, url: str, count: int) -> None:
    """Until so many wait for a connection."""
    await until(lambda: len(pool_of(transport, url).waiting) == count)


# --- connections are kept ----------------------------------------------------------------------------------------


async def test_requests_one_after_another_share_a_connection(transport: Transport, fake: FakeProvider) -> None:
    for _ in range(4):
        status, _ = await fetch(transport, post(fake.url))
        assert status == 200
    assert len({request.connection for request in fake.requests()}) == 1


async def test_streams_one_after_another_share_a_connection(transport: Transport, fake: FakeProvider) -> None:
    for _ in range(3):
        assert (await fetch(transport, post(fake.url, stream=True)))[1].endswith(b"data: [DONE]\n\n")
    assert len({request.connection for request in fake.requests()}) == 1


async def test_requests_at_the_same_time_have_a_connection_each(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(delay_before_headers_s=0.1))
    await asyncio.gather(*(fetch(transport, post(fake.url)) for _ in range(5)))
    assert len({request.connection for request in fake.requests()}) == 5


async def test_the_connection_used_last_is_used_next(transport: Transport, fake: FakeProvider) -> None:
    first, second = [await transport.send(post(fake.url), PATIENT) for _ in range(2)]
    for response in (first, second):  # the second is given back last
        await response.read_all(MAX_BYTES)
        response.close()
    await fetch(transport, post(fake.url))
    connections = [request.connection for request in fake.requests()]
    assert connections[2] == connections[1] != connections[0]


@pytest.mark.parametrize("header", [b"connection: close", b"connection: Close, x-other"])
async def test_a_server_that_says_close_is_believed(transport: Transport, header: bytes) -> None:
    async with raw_server(always(reply(b"{}", header))) as server:
        await fetch(transport, get(server.url))
        await until(lambda: server.live == 0)
        await fetch(transport, get(server.url))
        assert server.connections == 2


async def test_an_http_1_0_answer_ends_its_connection(transport: Transport) -> None:
    async with raw_server(always(reply().replace(b"HTTP/1.1", b"HTTP/1.0"))) as server:
        assert await fetch(transport, get(server.url)) == (200, b"{}")
        await fetch(transport, get(server.url))
        assert server.connections == 2


async def test_an_answer_that_was_not_read_to_its_end_ends_its_connection(
    transport: Transport, fake: FakeProvider
) -> None:
    fake.script("m", Script(chunks=["x "], repeat_chunks=1000, delay_between_chunks_s=0.01))
    response = await transport.send(post(fake.url, stream=True), PATIENT)
    await response.read()
    response.close()
    await fake.until(SocketClosed)
    await until(lambda: not leaks(transport))


# --- no more than so many ----------------------------------------------------------------------------------------


async def test_there_are_never_more_connections_than_allowed(transport: Transport, fake: FakeProvider) -> None:
    transport.configure(origin_of(fake.url), max_connections=3)
    fake.script("m", Script(delay_before_headers_s=0.01))
    answers = await asyncio.gather(*(fetch(transport, post(fake.url)) for _ in range(30)))
    assert {status for status, _ in answers} == {200}
    assert len({request.connection for request in fake.requests()}) <= 3
    assert pool_of(transport, fake.url).open_count <= 3


async def test_who_waits_for_a_connection_is_served_in_order(transport: Transport, fake: FakeProvider) -> None:
    transport.configure(origin_of(fake.url), max_connections=1)
    held = await transport.send(post(fake.url, "first"), PATIENT)
    tasks = []
    for number, name in enumerate("abc", 1):
        tasks.append(fetching(transport, post(fake.url, name)))
        await waiting(transport, fake.url, number)
    await held.read_all(MAX_BYTES)
    held.close()
    await fetch(transport, post(fake.url, "late"))  # asks in the very moment the connection comes free
    await asyncio.gather(*tasks)
    assert [request.model for request in fake.requests()] == ["first", "a", "b", "c", "late"]


async def test_who_waits_is_served_when_a_connection_closes(transport: Transport, fake: FakeProvider) -> None:
    transport.configure(origin_of(fake.url), max_connections=1)
    held = await transport.send(post(fake.url, stream=True), PATIENT)
    tasks = []
    for number, name in enumerate("abc", 1):
        tasks.append(fetching(transport, post(fake.url, name)))
        await waiting(transport, fake.url, number)
    held.close()  # not read: this connection serves no more
    await fetch(transport, post(fake.url, "late"))
    await asyncio.gather(*tasks)
    assert [request.model for request in fake.requests()][1:] == ["a", "b", "c", "late"]
    assert pool_of(transport, fake.url).open_count == 1


async def test_a_waiter_that_leaves_in_the_moment_of_its_turn_passes_it_on(
    transport: Transport, fake: FakeProvider
) -> None:
    transport.configure(origin_of(fake.url), max_connections=1)
    for read_it in (True, False):
        held = await transport.send(post(fake.url, stream=True), PATIENT)
        first, second = fetching(transport, post(fake.url, "a")), fetching(transport, post(fake.url, "b"))
        await waiting(transport, fake.url, 2)
        if read_it:
            await held.read_all(MAX_BYTES)
        held.close()
        if not read_it:
            await until(lambda: len(pool_of(transport, fake.url).waiting) < 2)
        assert await ended(first) is None
        assert (await asyncio.wait_for(second, 5))[0] == 200


async def test_a_waiter_that_left_before_its_turn_is_passed_over(transport: Transport, fake: FakeProvider) -> None:
    transport.configure(origin_of(fake.url), max_connections=1)
    held = await transport.send(post(fake.url), PATIENT)
    tasks = [fetching(transport, post(fake.url, name)) for name in "abc"]
    await waiting(transport, fake.url, 3)
    await held.read_all(MAX_BYTES)
    tasks[0].cancel()
    tasks[1].cancel()
    held.close()
    assert (await asyncio.wait_for(tasks[2], 5))[0] == 200
    assert {task.cancelled() for task in tasks[:2]} == {True}


async def test_waiters_that_leave_at_any_moment_lose_nobody_a_turn(transport: Transport, fake: FakeProvider) -> None:
    transport.configure(origin_of(fake.url), max_connections=2)
    fake.script("m", Script(delay_before_headers_s=0.002))
    chance = random.Random(7)
    tasks = [fetching(transport, post(fake.url)) for _ in range(120)]
    leaving = [task for task in tasks if chance.random() < 0.5]
    for task in leaving:
        await asyncio.sleep(chance.random() * 0.004)
        task.cancel()
    staying = [task for task in tasks if task not in leaving]
    answers = await asyncio.wait_for(asyncio.gather(*staying), 20)
    assert {status for status, _ in answers} == {200}
    await asyncio.wait(tasks)
    await until(lambda: not transport._busy)
    pool = pool_of(transport, fake.url)
    assert 0 <= pool.open_count <= 2
    assert len(pool.idle) == pool.open_count


async def test_waiting_for_a_connection_counts_as_connecting(transport: Transport, fake: FakeProvider) -> None:
    transport.configure(origin_of(fake.url), max_connections=1)
    held = await transport.send(post(fake.url), PATIENT)
    began_s = time.monotonic()
    with pytest.raises(UpstreamTimeout) as caught:
        await fetch(transport, post(fake.url), patient(connect_s=0.2))
    assert 0.19 <= time.monotonic() - began_s <= 0.2 + PROMISED_DEADLINE_S
    assert caught.value.deadline == "connect"
    held.close()


# --- connections grow old ----------------------------------------------------------------------------------------


async def test_an_idle_connection_is_given_up_a_second_before_the_server_would(
    transport: Transport, fake: FakeProvider
) -> None:
    fake.script("m", Script(headers={"Keep-Alive": "timeout=5, max=1000"}))
    await fetch(transport, post(fake.url))
    pool, now = pool_of(transport, fake.url), asyncio.get_running_loop().time()
    (connection,) = pool.idle
    assert pool.take(now + 3.5) is connection
    pool.give_back(connection)
    assert pool.take(now + 4.5) is None
    await until(lambda: pool.open_count == 0)


@pytest.mark.parametrize("said", ["", "max=5", "timeout=", "timeout=many", "timeout=86400"])
async def test_an_idle_connection_is_kept_for_less_than_a_minute(
    transport: Transport, fake: FakeProvider, said: str
) -> None:
    fake.script("m", Script(headers={"Keep-Alive": said} if said else {}))
    await fetch(transport, post(fake.url))
    pool, now = pool_of(transport, fake.url), asyncio.get_running_loop().time()
    (connection,) = pool.idle
    assert pool.take(now + 50) is connection
    pool.give_back(connection)
    assert pool.take(now + 60) is None


async def test_idle_connections_are_closed_when_their_time_is_over(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(headers={"Keep-Alive": "timeout=2"}))
    await fetch(transport, post(fake.url))
    mine = fake.last_request().connection
    closed = await fake.until(lambda entry: isinstance(entry, ConnectionClosed) and entry.connection == mine)
    assert closed.by == "peer"
    assert closed.t - fake.last_request().t >= 0.9
    assert not leaks(transport)


async def test_a_connection_the_server_closed_is_forgotten(transport: Transport, fake: FakeProvider) -> None:
    await fetch(transport, post(fake.url))
    fake.close_idle_connections()
    await until(lambda: not leaks(transport))
    assert (await fetch(transport, post(fake.url)))[0] == 200


async def test_a_connection_that_speaks_unasked_is_closed(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply())
        await asyncio.sleep(0.05)
        await peer.send(reply(b"unasked", status=b"408 Request Timeout"))
        await peer.gone()

    async with raw_server(serve) as server:
        assert await fetch(transport, get(server.url)) == (200, b"{}")
        await until(lambda: server.live == 0)
        assert await fetch(transport, get(server.url)) == (200, b"{}")
        assert server.connections == 2


# --- stale connections -------------------------------------------------------------------------------------------


async def test_a_stale_connection_is_replaced_and_nobody_notices(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", [Script(close_on_reuse=True), Script(text="fresh")])
    await fetch(transport, post(fake.url))
    status, body = await fetch(transport, post(fake.url))
    assert (status, b"fresh" in body) == (200, True)
    first, second = fake.requests()
    assert first.connection != second.connection


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_request_as_the_server_hangs_up_is_sent_again(
    transport: Transport, fake: FakeProvider, how: Literal["close", "reset"]
) -> None:
    fake.script("m", Script(delay_before_headers_s=0.05))
    await asyncio.gather(*(fetch(transport, post(fake.url)) for _ in range(3)))
    assert fake.close_idle_connections(how) >= 3  # this blocks: the transport has not heard of it yet
    assert (await fetch(transport, post(fake.url)))[0] == 200
    assert len(fake.requests()) == 4


async def test_the_neighbours_of_a_stale_connection_are_not_tried(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.05)
        await peer.send(reply())
        if peer.number <= 3:
            await peer.request()
            return  # hangs up
        await always(reply())(peer)

    async with raw_server(serve) as server:
        await asyncio.gather(*(fetch(transport, get(server.url)) for _ in range(3)))
        assert (await fetch(transport, get(server.url)))[0] == 200
        assert server.connections == 4
        assert pool_of(transport, server.url).open_count == 1


@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
async def test_the_second_try_is_the_last(transport: Transport, end: Callable[[Peer], Awaitable[None]]) -> None:
    asked = []

    async def serve(peer: Peer) -> None:
        if peer.number == 1:
            await peer.request()
            await peer.send(reply())
        asked.append(await peer.request())
        await end(peer)

    async with raw_server(serve) as server:
        await fetch(transport, get(server.url))
        with pytest.raises(UpstreamUnavailable):
            await fetch(transport, get(server.url))
        assert (server.connections, len(asked)) == (2, 2)


@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
async def test_a_new_connection_that_closes_is_not_tried_again(
    transport: Transport, end: Callable[[Peer], Awaitable[None]]
) -> None:
    async with raw_server(answering(b"", then=end)) as server:
        with pytest.raises(UpstreamUnavailable, match="closed the connection without an answer"):
            await fetch(transport, post(server.url))
        assert server.connections == 1


@pytest.mark.parametrize("answered", [b"H", b"HTTP/1.1 200 OK\r\n", reply(b"whole")[:-1]])
@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
async def test_after_one_byte_of_an_answer_nothing_is_sent_again(
    transport: Transport, answered: bytes, end: Callable[[Peer], Awaitable[None]]
) -> None:
    async def wait_and_end(peer: Peer) -> None:
        await asyncio.sleep(0.03)  # a reset must not overtake the bytes
        await end(peer)

    async with raw_server(answering(reply(), answered, then=wait_and_end)) as server:
        await fetch(transport, post(server.url))
        with pytest.raises(Exception, match="closed the connection"):
            await fetch(transport, post(server.url))
        assert server.connections == 1


async def test_a_stale_connection_handed_to_a_waiter_is_replaced_too(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply())
        await peer.request()  # and hangs up

    async with raw_server(serve) as server:
        transport.configure(origin_of(server.url), max_connections=1)
        held = await transport.send(get(server.url), PATIENT)
        waiter = fetching(transport, get(server.url))
        await waiting(transport, server.url, 1)
        await held.read_all(MAX_BYTES)
        held.close()
        assert await waiter == (200, b"{}")
        assert server.connections == 2


async def test_a_late_answer_is_not_taken_for_a_stale_connection(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", [Script(), Script(hang_before_headers=True)])
    await fetch(transport, post(fake.url))
    with pytest.raises(UpstreamTimeout):
        await fetch(transport, post(fake.url), patient(first_byte_s=0.1))
    assert len(fake.requests()) == 2


async def test_a_server_that_closes_at_once_is_noticed_at_once(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.reset()

    async with raw_server(serve) as server:
        for _ in range(30):
            with pytest.raises(UpstreamUnavailable):
                await asyncio.wait_for(fetch(transport, post(server.url)), 5)


# --- connecting --------------------------------------------------------------------------------------------------


async def test_a_refused_connection_is_said(transport: Transport, closed_port: int) -> None:
    with pytest.raises(UpstreamUnavailable, match="Cannot connect to the provider: Connection refused"):
        await fetch(transport, post(f"http://127.0.0.1:{closed_port}"))
    assert not leaks(transport)


async def test_a_name_that_does_not_exist_is_said(transport: Transport) -> None:
    with pytest.raises(UpstreamUnavailable, match=r"Cannot connect to the provider: .*[Nn]ame"):
        await fetch(transport, post("http://provider.invalid:1"))
    assert not leaks(transport)


async def test_a_trusted_certificate_is_accepted(transport: Transport, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with raw_server(always(reply()), tls=server_tls(authority, "127.0.0.1")) as server:
        transport.configure(origin_of(server.url), max_connections=5, tls_ca_file=str(tmp_path / "ca.pem"))
        for _ in range(3):
            assert await fetch(transport, post(server.url)) == (200, b"{}")
        assert server.connections == 1


async def test_a_certificate_of_an_unknown_authority_is_refused(transport: Transport, authority: trustme.CA) -> None:
    async with raw_server(always(reply()), tls=server_tls(authority, "127.0.0.1")) as server:
        with pytest.raises(UpstreamUnavailable, match=r"certificate is not trusted \(.*certificate"):
            await fetch(transport, post(server.url))
        await until(lambda: not leaks(transport))


async def test_a_certificate_for_another_host_is_refused(
    transport: Transport, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with raw_server(always(reply()), tls=server_tls(authority, "provider.test")) as server:
        transport.configure(origin_of(server.url), max_connections=5, tls_ca_file=str(tmp_path / "ca.pem"))
        with pytest.raises(UpstreamUnavailable, match=r"certificate is not trusted \(.*127\.0\.0\.1"):
            await fetch(transport, post(server.url))
        await until(lambda: not leaks(transport))


async def test_a_server_without_tls_is_not_talked_to_as_if_it_had(transport: Transport, fake: FakeProvider) -> None:
    with pytest.raises(UpstreamUnavailable, match="Cannot connect to the provider"):
        await fetch(transport, post(fake.url.replace("http", "https")))
    assert fake.requests() == []
    await until(lambda: not leaks(transport))


async def test_a_certificate_file_that_cannot_be_read_is_an_oserror(transport: Transport, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        transport.configure(origin_of("https://x.test"), max_connections=1, tls_ca_file=str(tmp_path / "none.pem"))


# --- deadlines ---------------------------------------------------------------------------------------------------


async def timed_out(attempt: Awaitable[Any], deadline: str, after_s: float, since_s: float | None = None) -> None:
    """It ends with this deadline, and in time."""
    began_s = time.monotonic() if since_s is None else since_s
    with pytest.raises(UpstreamTimeout, match=f"timeouts.{deadline}_s") as caught:
        await attempt
    assert caught.value.deadline == deadline
    assert after_s - 0.01 <= time.monotonic() - began_s <= after_s + PROMISED_DEADLINE_S


async def test_connecting_has_a_deadline(transport: Transport, deaf_port: int) -> None:
    await timed_out(fetch(transport, post(f"http://127.0.0.1:{deaf_port}"), patient(connect_s=0.3)), "connect", 0.3)
    assert not leaks(transport)


async def test_a_tls_handshake_belongs_to_connecting(transport: Transport) -> None:
    async with raw_server(Peer.gone) as server:
        url = server.url.replace("http", "https")
        await timed_out(fetch(transport, post(url), patient(connect_s=0.3)), "connect", 0.3)
        await until(lambda: server.live == 0)
        await until(lambda: not leaks(transport))


async def test_the_first_byte_has_a_deadline(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(hang_before_headers=True))
    await timed_out(fetch(transport, post(fake.url), patient(first_byte_s=0.3)), "first_byte", 0.3)
    await fake.until(SocketClosed)
    await until(lambda: not leaks(transport))


async def test_a_head_alone_is_not_the_first_byte(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(delay_before_first_byte_s=5))
    await timed_out(fetch(transport, post(fake.url, stream=True), patient(first_byte_s=0.3)), "first_byte", 0.3)
    await fake.until(SocketClosed)


async def test_the_time_between_pieces_has_a_deadline(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(cut_after_bytes=100, cut="hang"))
    response = await transport.send(post(fake.url, stream=True), patient(between_chunks_s=0.3))
    while len(await response.read()) < 100:
        pass
    await timed_out(response.read(), "between_chunks", 0.3 - 0.1)  # the last byte came a little before we looked
    await fake.until(SocketClosed)
    response.close()


async def test_pieces_in_time_push_the_deadline_between_them_back(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(chunks=["x "] * 4, delay_between_chunks_s=0.2))
    began_s = time.monotonic()
    _, body = await fetch(transport, post(fake.url, stream=True), patient(between_chunks_s=0.8, first_byte_s=0.8))
    assert body.endswith(b"data: [DONE]\n\n")
    assert time.monotonic() - began_s > 1.0


async def test_the_whole_call_has_a_deadline(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(chunks=["x "], repeat_chunks=1000, delay_between_chunks_s=0.02))
    await timed_out(fetch(transport, post(fake.url, stream=True), patient(total_s=0.5)), "total", 0.5)
    await fake.until(SocketClosed)


async def test_the_deadline_of_the_whole_call_covers_connecting(transport: Transport, deaf_port: int) -> None:
    url = f"http://127.0.0.1:{deaf_port}"
    await timed_out(fetch(transport, post(url), patient(connect_s=5, total_s=0.3)), "total", 0.3)


async def test_a_dripping_answer_does_not_outlast_the_whole_call(
    transport: Transport, fake: FakeProvider, proxy: FaultProxy
) -> None:
    proxy.drip(40)
    await timed_out(fetch(transport, post(proxy.url), patient(total_s=0.6)), "total", 0.6)
    await until(lambda: not leaks(transport))


async def test_a_black_hole_meets_the_deadline_of_the_first_byte(
    transport: Transport, fake: FakeProvider, proxy: FaultProxy
) -> None:
    await fetch(transport, post(proxy.url))  # a connection that was good once
    proxy.black_hole()
    await timed_out(fetch(transport, post(proxy.url), patient(first_byte_s=0.3)), "first_byte", 0.3)


async def test_many_deadlines_are_kept_at_once(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(hang_before_headers=True))
    began_s = time.monotonic()
    values = [0.2 + 0.01 * number for number in range(60)]

    async def one(value: float) -> None:
        with pytest.raises(UpstreamTimeout):
            await fetch(transport, post(fake.url), patient(first_byte_s=value))
        assert value - 0.01 <= time.monotonic() - began_s <= value + PROMISED_DEADLINE_S

    await asyncio.gather(*map(one, values))
    await until(lambda: not leaks(transport))


# --- callers that leave ------------------------------------------------------------------------------------------


async def socket_closed(fake: FakeProvider, since_s: float) -> None:
    """The provider saw us go, soon enough."""
    assert (await fake.until(SocketClosed)).t - since_s <= PROMISED_CLOSE_S


async def test_leaving_while_connecting_closes_the_socket(transport: Transport) -> None:
    async with raw_server(Peer.gone) as server:
        task = fetching(transport, post(server.url.replace("http", "https")))  # the handshake is never answered
        await until(lambda: server.live == 1)
        left_s = time.monotonic()
        assert await ended(task) is None
        await until(lambda: server.live == 0)
        assert time.monotonic() - left_s <= PROMISED_CLOSE_S
        await until(lambda: not leaks(transport))
        assert pool_of(transport, server.url.replace("http", "https")).open_count == 0


async def test_leaving_before_the_connection_stands_leaves_nothing(transport: Transport, deaf_port: int) -> None:
    task = fetching(transport, post(f"http://127.0.0.1:{deaf_port}"))
    await until(lambda: bool(leaks(transport)))
    assert await ended(task) is None
    assert not leaks(transport)


async def test_leaving_while_waiting_for_the_head_closes_the_socket(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(hang_before_headers=True))
    task = fetching(transport, post(fake.url))
    await fake.until(Accepted)
    left_s = time.monotonic()
    assert await ended(task) is None
    await socket_closed(fake, left_s)
    await until(lambda: not leaks(transport))


async def test_leaving_before_the_first_piece_closes_the_socket(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(delay_before_first_byte_s=5))
    task = fetching(transport, post(fake.url, stream=True))
    await fake.until(HeadersSent)
    left_s = time.monotonic()
    assert await ended(task) is None
    await socket_closed(fake, left_s)
    await until(lambda: not leaks(transport))


async def test_leaving_in_the_middle_of_a_body_closes_the_socket(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(chunks=["x "], repeat_chunks=10_000, delay_between_chunks_s=0.005))
    response = await transport.send(post(fake.url, stream=True), PATIENT)
    await response.read()
    left_s = time.monotonic()
    response.close()
    await socket_closed(fake, left_s)
    await until(lambda: not leaks(transport))


async def test_leaving_while_the_request_is_going_up_closes_the_socket(
    transport: Transport, fake: FakeProvider
) -> None:
    fake.read_at(1_000_000)
    task = fetching(transport, post(fake.url, text="x" * 20_000_000))
    opened = await fake.until(ConnectionOpened)
    left_s = time.monotonic()
    assert await ended(task) is None
    await until(lambda: not leaks(transport))
    fake.read_at(None)
    closed = await fake.until(
        lambda entry: isinstance(entry, ConnectionClosed) and entry.connection == opened.connection
    )
    assert closed.by == "peer"
    assert closed.t - left_s <= PROMISED_CLOSE_S + 1.0  # it reads slowly, and what it has been sent first
    assert fake.requests() == []


async def test_leaving_at_any_moment_leaves_nothing(transport: Transport, fake: FakeProvider) -> None:
    script = Script(chunks=["x "] * 3, delay_before_headers_s=0.003, delay_between_chunks_s=0.003)
    fake.script("m", script)
    transport.configure(origin_of(fake.url), max_connections=20)
    chance = random.Random(11)

    async def come_and_go() -> None:
        task = fetching(transport, post(fake.url, stream=True))
        await asyncio.sleep(chance.random() * 0.03)
        await ended(task)

    for _ in range(5):
        await asyncio.gather(*(come_and_go() for _ in range(40)))
    await until(lambda: not transport._busy)
    pool = pool_of(transport, fake.url)
    await until(lambda: pool.open_count == len(pool.idle), lambda: (pool.open_count, len(pool.idle)))
    assert not any(not waiter.done() for waiter in pool.waiting)
    assert (await fetch(transport, post(fake.url, stream=True)))[0] == 200


# --- the end -----------------------------------------------------------------------------------------------------


async def test_closing_ends_what_is_under_way(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(hang_before_headers=True))
    await fetch(transport, post(fake.url, "other"))
    task = fetching(transport, post(fake.url))  # on the connection that is already there
    await fake.until(Accepted, count=2)
    opened = len(fake.journal(ConnectionOpened))
    await transport.close()
    with pytest.raises(UpstreamUnavailable, match="shutting down"):
        await asyncio.wait_for(task, 2)
    assert len(fake.journal(ConnectionOpened)) == opened
    await until(lambda: not leaks(transport))


async def test_closing_ends_those_who_wait_for_a_connection(transport: Transport, fake: FakeProvider) -> None:
    transport.configure(origin_of(fake.url), max_connections=1)
    held = await transport.send(post(fake.url), PATIENT)
    task = fetching(transport, post(fake.url))
    await waiting(transport, fake.url, 1)
    await transport.close()
    with pytest.raises(UpstreamUnavailable, match="shutting down"):
        await asyncio.wait_for(task, 2)
    held.close()
    assert len(fake.requests()) == 1


async def test_nothing_is_sent_after_closing(transport: Transport, fake: FakeProvider) -> None:
    await transport.close()
    with pytest.raises(UpstreamUnavailable, match="shutting down"):
        await fetch(transport, post(fake.url))
    assert fake.journal(ConnectionOpened) == []


# --- whole exchanges ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_never_followed(
    transport: Transport, fake: FakeProvider, status: int
) -> None:
    async with raw_server(always(reply(b"secret"))) as elsewhere:
        fake.script("m", Script(status=status, redirect_to=f"{elsewhere.url}/v1/chat/completions"))
        assert (await fetch(transport, post(fake.url)))[0] == status
        await asyncio.sleep(0.05)
        assert elsewhere.connections == 0


async def test_the_request_arrives_byte_for_byte(transport: Transport) -> None:
    seen: list[bytes] = []

    async def serve(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(reply())

    async with raw_server(serve) as server:
        request = posting(server.url, b'{"a": 1}')
        response: HttpResponse = await transport.send(request, PATIENT, b"x-request-id: req_1\r\n")
        await response.read_all(MAX_BYTES)
        response.close()
        await fetch(transport, get(server.url))
        assert seen == [
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\naccept-encoding: identity\r\n"
            b"content-type: application/json\r\nx-request-id: req_1\r\ncontent-length: 8\r\n\r\n"
            b'{"a": 1}' % server.port,
            b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1:%d\r\naccept-encoding: identity\r\n\r\n" % server.port,
        ]


async def test_an_answer_longer_than_wanted_is_not_read_to_its_end(transport: Transport, fake: FakeProvider) -> None:
    fake.script("m", Script(raw_body=b"x" * 5_000_000))
    with pytest.raises(UpstreamInvalid, match="longer than 1000000 bytes"):
        await transport.fetch(post(fake.url), PATIENT, 1_000_000)
    await until(lambda: not leaks(transport))


async def test_twenty_megabytes_reach_a_provider_that_reads_slowly(transport: Transport, fake: FakeProvider) -> None:
    fake.read_at(60_000_000)
    body = chat_body(text="x" * (20 << 20))
    loop, gaps_s = asyncio.get_running_loop(), [0.0]
    task = fetching(transport, posting(fake.url, body))
    last_s = loop.time()
    while not task.done():
        await asyncio.sleep(0.005)
        gaps_s.append(loop.time() - last_s)
        last_s = loop.time()
    assert (await task)[0] == 200
    assert len(fake.last_request().body) == len(body)
    assert max(gaps_s) < 0.25, "the event loop stood still"


async def test_a_large_request_on_a_stale_connection_is_sent_again_whole(
    transport: Transport, fake: FakeProvider
) -> None:
    fake.script("m", [Script(close_on_reuse=True), Script()])
    await fetch(transport, post(fake.url))
    body = chat_body(text="x" * (4 << 20))
    assert (await fetch(transport, posting(fake.url, body)))[0] == 200
    assert fake.last_request().body.encode() == body


async def test_an_early_refusal_of_a_large_request_is_heard(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(reply(b"too much", b"connection: close", status=b"413 Content Too Large"))
        await asyncio.sleep(0.2)
        await peer.gone()

    async with raw_server(serve) as server:
        assert await fetch(transport, posting(server.url, b"x" * (8 << 20))) == (413, b"too much")
        await until(lambda: not leaks(transport))


async def test_ipv6_addresses_are_spoken_to(transport: Transport) -> None:
    seen: list[bytes] = []

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await Peer(1, reader, writer).request())
        writer.write(reply())
        writer.close()

    server = await asyncio.start_server(accepted, "::1", 0, family=socket.AF_INET6)
    port = server.sockets[0].getsockname()[1]
    assert await fetch(transport, get(f"http://[::1]:{port}")) == (200, b"{}")
    assert b"\r\nhost: [::1]:%d\r\n" % port in seen[0]
    server.close()
