"""Guarantee 12, short: a client that leaves takes its upstream call with it, within a quarter of a second."""

import asyncio
import itertools
import math
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.conftest import KEY
from tests.e2e.gateway import GatewayProcess
from tests.e2e.talk import Wire, chat, request_bytes, wire
from tests.fake import Accepted, FakeProvider, Script, SocketClosed

TRIES = 40
AT_ONCE = 5
WITHIN_S = 0.25
SETTLE_S = 0.03
_numbers = itertools.count()


class Phase(NamedTuple):
    """When the client leaves: what it asks for, what the provider does, and what it has read by then."""

    script: Script
    stream: bool
    seen: bytes


PHASES = {
    "before headers": Phase(Script(hang_before_headers=True), True, b""),
    "before headers, not streamed": Phase(Script(hang_before_headers=True), False, b""),
    "before the first token": Phase(Script(delay_before_first_byte_s=60), True, b""),
    "in the middle of a reply": Phase(Script(cut_after_bytes=50, cut="hang"), False, b""),
    "in the middle of a stream": Phase(
        Script(chunks=["tick "], repeat_chunks=10_000, delay_between_chunks_s=0.02), True, b"tick"
    ),
    "in a silence of a stream": Phase(
        Script(chunks=["tick "], repeat_chunks=9, cut_after_bytes=900, cut="hang"), True, b"tick"
    ),
}


async def leave_once(gateway: GatewayProcess, fake: FakeProvider, phase: Phase, *, reset: bool) -> tuple[str, float]:
    """One call that its client leaves: the request's id, and the seconds until the provider's socket closed."""
    model = f"leave-{next(_numbers)}"
    fake.script(model, phase.script)
    client = Wire(gateway)
    more = f"X-Request-ID: {model}\r\n"
    client.send(request_bytes({"model": f"up/{model}", "stream": phase.stream}, key=KEY, more=more))
    accepted = await fake.until(_is(Accepted, model=model))
    if phase.seen:
        await asyncio.to_thread(client.read_until, phase.seen)
    await asyncio.sleep(SETTLE_S * (next(_numbers) % 5))
    left_at = client.reset() if reset else client.leave()
    closed = await fake.until(_is(SocketClosed, attempt=accepted.attempt))
    return model, closed.t - left_at


@pytest.mark.parametrize("name", PHASES)
async def test_the_upstream_socket_closes_when_the_client_leaves(
    gateway: GatewayProcess, fake: FakeProvider, name: str
) -> None:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> tuple[str, float]:
        async with limit:
            return await leave_once(gateway, fake, PHASES[name], reset=bool(number % 2))

    left = await asyncio.gather(*map(one, range(TRIES)))
    took_s = sorted(seconds for _, seconds in left)
    assert took_s[math.ceil(0.99 * TRIES) - 1] <= WITHIN_S, took_s[-5:]
    for request_id, _ in left[:3]:
        record = gateway.record_of(request_id)
        assert record["status"] == 499
        assert record["error"]["code"] == "client_closed_request"


def test_a_client_that_leaves_the_queue_is_never_sent_on(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("held", Script(hang_before_headers=True))
    with wire(gateway) as holder:
        holder.send(request_bytes({"model": "lined/held"}, key=KEY))
        fake.wait_for(_is(Accepted, model="held"))
        waiting = [Wire(gateway) for _ in range(TRIES)]
        for number, client in enumerate(waiting):
            more = f"X-Request-ID: queued-{number}\r\n"
            client.send(request_bytes({"model": "lined/left"}, key=KEY, more=more))
        time.sleep(0.2)
        left_at = time.time()
        for number, client in enumerate(waiting):
            client.reset() if number % 2 else client.leave()
        for number in range(TRIES):
            assert gateway.record_of(f"queued-{number}")["status"] == 499
        assert time.time() - left_at < 2
    assert chat(gateway, "lined/after", key=KEY).status == 200
    assert not fake.requests("left")


def test_a_slot_is_free_again_after_each_way_to_leave(gateway: GatewayProcess, fake: FakeProvider) -> None:
    """With one slot in all, a single one that was lost would stop everything."""
    for phase in PHASES.values():
        fake.script("one-slot", phase.script)
        with wire(gateway) as client:
            client.send(request_bytes({"model": "lined/one-slot", "stream": phase.stream}, key=KEY))
            fake.wait_for(_is(Accepted, model="one-slot"))
        fake.script("one-slot", Script())
        assert chat(gateway, "lined/one-slot", key=KEY).status == 200
        fake.clear()


def test_a_queue_that_moves_while_its_clients_leave_goes_on(gateway: GatewayProcess, fake: FakeProvider) -> None:
    """Leaving and being called up meet in every order here; afterwards the slot must still be there, once."""
    fake.script("brief", Script(delay_before_headers_s=0.01))
    for round_ in range(4):
        clients = [Wire(gateway) for _ in range(30)]
        for client in clients:
            client.send(request_bytes({"model": "lined/brief"}, key=KEY))
        time.sleep(0.06 + 0.01 * round_)
        for number, client in enumerate(clients):
            if number % 3:
                client.leave()
            time.sleep(0.004)
        for client in clients[::3]:
            assert client.read_until(b"x_gateway").startswith(b"HTTP/1.1 200 ")
            client.leave()
    assert chat(gateway, "lined/brief", key=KEY).status == 200
    assert b"failed inside the gateway" not in gateway.stderr


def test_a_client_that_leaves_while_sending_its_body_is_a_499(gateway: GatewayProcess, fake: FakeProvider) -> None:
    data = request_bytes({"model": "m"}, key=KEY, more="X-Request-ID: half-sent\r\n")
    with wire(gateway) as client:
        client.send(data[:-10])
        time.sleep(0.1)
    assert gateway.record_of("half-sent")["status"] == 499
    assert not fake.requests("fake-model")


def test_a_client_that_stays_is_not_taken_for_one_that_left(gateway: GatewayProcess, fake: FakeProvider) -> None:
    """Slow enough to be watched, on one connection, again and again."""
    fake.script("fake-model", Script(delay_before_headers_s=0.12))
    with wire(gateway) as client:
        for _ in range(5):
            client.send(request_bytes({"model": "m"}, key=KEY))
            assert client.read_until(b"x_gateway").startswith(b"HTTP/1.1 200 ")


def test_a_client_that_closes_its_half_counts_as_one_that_left(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(hang_before_headers=True))
    with wire(gateway) as client:
        client.send(request_bytes({"model": "m"}, key=KEY, more="X-Request-ID: half-closed\r\n"))
        accepted = fake.wait_for(_is(Accepted, model="fake-model"))
        client.socket.shutdown(socket.SHUT_WR)
        fake.wait_for(_is(SocketClosed, attempt=accepted.attempt))
    assert gateway.record_of("half-closed")["status"] == 499


def _is(kind: type[Any], **fields: Any) -> Callable[[Any], bool]:
    return lambda entry: isinstance(entry, kind) and all(getattr(entry, k) == v for k, v in fields.items())
