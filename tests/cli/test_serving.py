"""What granian is told, and what signals do to it."""

import os
import pickle
import signal
import time
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from switchgear.app import Application
from switchgear.cli import serving
from switchgear.core.settings import ProviderSettings, Secret, ServerSettings, Settings

SETTINGS = Settings(
    server=ServerSettings(workers=3, drain_timeout_s=1.5, pre_drain_s=2.0),
    providers={"vllm": ProviderSettings(kind="vllm", api_key=Secret("k"))},
)
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class FakeServer(SimpleNamespace):
    def __init__(self) -> None:
        super().__init__(interrupts=0, killed=0, terminated=0)
        self.wrks = [SimpleNamespace(kill=self.count_kill, terminate=self.count_terminate) for _ in range(2)]

    def count_kill(self) -> None:
        self.killed += 1

    def count_terminate(self) -> None:
        self.terminated += 1
        if self.terminated >= 4:
            self.wrks = []

    def signal_handler_interrupt(self) -> None:
        self.interrupts += 1


@pytest.fixture
def server() -> Iterator[Any]:
    before = {number: signal.getsignal(number) for number in STOPS}
    yield FakeServer()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_worker_that_is_spawned_can_build_the_application() -> None:
    loader = pickle.loads(pickle.dumps(partial(serving.load_app, SETTINGS, "info")))
    assert isinstance(loader(), Application)


def test_a_worker_is_killed_only_after_its_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    class Server(FakeServer):
        def __init__(self, *_: Any, **options: Any) -> None:
            super().__init__()
            given.update(options)

        def on_startup(self, hook: Any) -> None:
            given["hook"] = hook

        def serve(self, **options: Any) -> None:
            given.update(options)

    monkeypatch.setattr(serving, "MPServer", Server)
    serving.serve(SETTINGS, "info")
    assert given["workers_kill_timeout"] == 4 + serving.KILL_MARGIN_S
    assert (given["workers"], given["port"], given["websockets"]) == (3, 4000, False)
    assert given["respawn_failed_workers"] is True
    assert given["hook"] is not None


def test_the_first_signal_finishes_and_a_second_ctrl_c_kills(server: Any, capfd: pytest.CaptureFixture[str]) -> None:
    serving._Stopper(server).install()
    os.kill(os.getpid(), signal.SIGINT)
    assert (server.interrupts, server.killed) == (1, 0)
    assert "Ctrl-C again" in capfd.readouterr().err
    os.kill(os.getpid(), signal.SIGTERM)
    assert (server.interrupts, server.killed) == (1, 0), "an impatient supervisor kills by itself"
    os.kill(os.getpid(), signal.SIGINT)
    assert (server.interrupts, server.killed) == (1, 2)


def test_a_closed_terminal_ends_it_unless_nohup_asked_otherwise(server: Any) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    serving._Stopper(server).install()
    os.kill(os.getpid(), signal.SIGHUP)
    assert server.interrupts == 0
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    serving._Stopper(server).install()
    os.kill(os.getpid(), signal.SIGHUP)
    assert server.interrupts == 1


def test_a_worker_that_still_has_our_handlers_just_ends(server: Any) -> None:
    serving._Stopper(server).install()
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert server.interrupts == 0


def test_workers_are_told_again_until_they_have_gone(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is just starting, its event loop not turning yet, misses a signal."""
    monkeypatch.setattr(serving, "REMIND_EVERY_S", 0.01)
    serving._Stopper(server).install()
    os.kill(os.getpid(), signal.SIGTERM)
    deadline = time.monotonic() + 5
    while server.wrks and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (server.interrupts, server.terminated) == (1, 4)
