"""The order of a drain, on a clock of its own; signals and real processes are in tests/e2e/test_drain.py."""

import asyncio
import os
import signal
from typing import Any, cast

import pytest

from switchgear.core.settings import ServerSettings
from switchgear.drain import Drain
from switchgear.edge import Edge


class Live:
    """A call under way."""

    def __init__(self, edge: "Standing") -> None:
        self._edge = edge
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
        asyncio.get_running_loop().call_later(0.01, self._edge.active.discard, self)


class Standing:
    """What a Drain needs of an Edge."""

    def __init__(self, calls: int = 0) -> None:
        self.draining = self.refusing = False
        self.active: set[Live] = set()
        self.active |= {Live(self) for _ in range(calls)}


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What would have been sent, and to whom."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def drain_of(edge: Standing, **settings: Any) -> Drain:
    return Drain(cast(Edge, edge), ServerSettings(**settings))


async def test_readiness_says_no_at_once(signals: list[tuple[int, int]]) -> None:
    edge = Standing(calls=1)
    drain_of(edge).begin()
    assert edge.draining
    assert not signals


async def test_an_idle_process_is_ended_by_its_servers_own_signal(signals: list[tuple[int, int]]) -> None:
    drain_of(Standing()).begin()
    await asyncio.sleep(0.05)
    assert signals == [(os.getpid(), signal.SIGINT)]


async def test_new_calls_are_taken_until_the_window_is_over(signals: list[tuple[int, int]]) -> None:
    edge = Standing(calls=1)
    drain_of(edge, pre_drain_s=0.15).begin()
    await asyncio.sleep(0.05)
    assert (edge.draining, edge.refusing) == (True, False)
    await asyncio.sleep(0.2)
    assert edge.refusing
    assert not signals


async def test_calls_are_waited_for(signals: list[tuple[int, int]]) -> None:
    edge = Standing(calls=2)
    first, second = edge.active
    drain_of(edge).begin()
    edge.active.discard(first)
    await asyncio.sleep(0.1)
    assert not signals
    edge.active.discard(second)
    await asyncio.sleep(0.15)
    assert len(signals) == 1
    assert not first.cancelled
    assert not second.cancelled


async def test_past_the_deadline_what_is_left_is_cancelled(signals: list[tuple[int, int]]) -> None:
    edge = Standing(calls=3)
    calls = list(edge.active)
    drain_of(edge, drain_timeout_s=0.1).begin()
    await asyncio.sleep(0.4)
    assert all(call.cancelled for call in calls)
    assert len(signals) == 1


async def test_a_second_signal_changes_nothing(signals: list[tuple[int, int]]) -> None:
    drain = drain_of(Standing())
    drain.begin()
    drain.begin()
    await asyncio.sleep(0.05)
    assert len(signals) == 1
