"""Guarantee 16, short: workers that are killed come back; workers never outlive their parent."""

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.gateway import GatewayProcess, process_is_gone
from tests.e2e.talk import Wire, ask, chat, request_bytes
from tests.fake import FakeProvider, Script

BACK_WITHIN_S = 2.0


@pytest.fixture
def pair(fake: FakeProvider) -> Iterator[GatewayProcess]:
    up = {"kind": "openai_compatible", "base_url": f"{fake.url}/v1", "discover": False}
    with GatewayProcess({"server": {"workers": 2, "drain_timeout_s": 3}, "providers": {"up": up}}) as gateway:
        yield gateway


def eventually(condition: Callable[[], bool], within_s: float) -> float:
    """Seconds until it holds; fails if it does not in time."""
    began_at = time.monotonic()
    while not condition():
        assert time.monotonic() - began_at < within_s, "it did not come about"
        time.sleep(0.02)
    return time.monotonic() - began_at


def test_a_killed_worker_is_replaced_and_only_its_own_calls_fail(pair: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("ticking", Script(chunks=["tick "], repeat_chunks=20, delay_between_chunks_s=0.05))
    first, second = pair.worker_pids()
    streams = [Wire(pair) for _ in range(20)]
    for stream in streams:
        stream.send(request_bytes({"model": "up/ticking", "stream": True}))
        stream.read_until(b"tick")
    os.kill(first, signal.SIGKILL)
    ends = [_rest(stream) for stream in streams]
    # Those of the killed worker broke off in the middle, and nothing about them looks like an end.
    assert all(end == b"" or end.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for end in ends)
    assert 0 < sum(end == b"" for end in ends) <= len(ends)
    assert second in pair.worker_pids()
    eventually(lambda: len(set(pair.worker_pids()) - {first}) == 2, BACK_WITHIN_S)
    (born,) = set(pair.worker_pids()) - {first, second}
    for _ in range(40):
        assert chat(pair, "up/m").status == 200
    os.kill(second, signal.SIGKILL)
    eventually(lambda: _serves(pair), BACK_WITHIN_S)
    assert born in pair.worker_pids()


def test_the_only_worker_comes_back_too(fake: FakeProvider) -> None:
    up = {"kind": "openai_compatible", "base_url": f"{fake.url}/v1", "discover": False}
    with GatewayProcess({"providers": {"up": up}}) as gateway:
        (worker,) = gateway.worker_pids()
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: _serves(gateway), BACK_WITHIN_S)
        assert gateway.worker_pids() != [worker]


def test_workers_go_when_their_parent_is_killed(pair: GatewayProcess) -> None:
    workers = pair.worker_pids()
    pair.kill()
    for worker in workers:
        eventually(lambda worker=worker: process_is_gone(worker), 2.0)  # type: ignore[misc]  # mypy knows no defaults


def test_workers_of_a_killed_parent_finish_their_streams(pair: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("ticking", Script(chunks=["tick "], repeat_chunks=10, delay_between_chunks_s=0.1))
    stream = Wire(pair)
    stream.send(request_bytes({"model": "up/ticking", "stream": True}))
    stream.read_until(b"tick")
    workers = pair.worker_pids()
    pair.kill()
    assert b"[DONE]" in stream.read_until(b"\r\n0\r\n\r\n")
    for worker in workers:
        eventually(lambda worker=worker: process_is_gone(worker), 2.0)  # type: ignore[misc]  # mypy knows no defaults


def test_the_metrics_of_two_workers_are_one_sum(pair: GatewayProcess) -> None:
    for _ in range(30):
        assert chat(pair, "up/m").status == 200
    line = 'switchgear_requests_total{model="up/*",provider="up",status="200",surface="openai"} 30.0'
    for _ in range(6):  # whichever worker answers
        assert line in ask(pair, "GET", "/metrics").body.decode().splitlines()


def _serves(gateway: GatewayProcess) -> bool:
    try:
        return chat(gateway, "up/m").status == 200
    except OSError:
        return False


def _rest(stream: Wire) -> bytes:
    """What is left of a stream; empty where it broke off."""
    try:
        return stream.read_until(b"\r\n0\r\n\r\n")
    except (AssertionError, ConnectionError):
        return b""
    finally:
        stream.leave()


def test_a_killed_worker_leaves_nothing_counted_as_under_way(pair: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("endless", Script(chunks=["tick "], repeat_chunks=10_000, delay_between_chunks_s=0.05))
    streams = [Wire(pair) for _ in range(8)]
    for stream in streams:
        stream.send(request_bytes({"model": "up/endless", "stream": True}))
        stream.read_until(b"tick")
    assert _gauge(pair, "switchgear_active_streams") == 8
    for worker in pair.worker_pids():
        os.kill(worker, signal.SIGKILL)
    eventually(lambda: _serves(pair) and _gauge(pair, "switchgear_active_streams") == 0, BACK_WITHIN_S)
    for stream in streams:
        stream.leave()


def _gauge(gateway: GatewayProcess, name: str) -> float:
    lines = ask(gateway, "GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))
