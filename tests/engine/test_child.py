"""A supervised child is kept running while that helps, and never outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from switchgear.engine.child import (
    EXIT_HOPELESS,
    Change,
    ChildError,
    Restarts,
    SupervisedChild,
    free_port,
)

QUICK = Restarts(first_delay_s=0.02, max_delay_s=0.05, max_crashes=3)

# Serves 200 to everything and leaves when its input ends, as every good child does.
GOOD_CHILD = """
import http.server, os, sys, threading

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass

def leave_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)

threading.Thread(target=leave_with_parent, daemon=True).start()
print("hello from", os.getpid(), flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


class Run:
    """Builds children from Python source and remembers what they went through."""

    def __init__(self) -> None:
        self.port = free_port()
        self.changes: list[Change] = []
        self.children: list[SupervisedChild] = []

    def child(self, source: str, *, ready_timeout_s: float = 20.0) -> SupervisedChild:
        child = SupervisedChild(
            [sys.executable, "-c", textwrap.dedent(source), str(self.port)],
            ready_url=f"http://127.0.0.1:{self.port}/health",
            name="test child",
            ready_timeout_s=ready_timeout_s,
            restarts=QUICK,
            on_change=self.changes.append,
        )
        self.children.append(child)
        return child

    @property
    def states(self) -> list[str]:
        return [change.state for change in self.changes]


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run()
    yield run
    for child in run.children:
        child.stop(grace_s=0.1)


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        # A zombie that its new parent has not collected yet is dead enough.
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_child_becomes_ready_and_says_so_once(run: Run) -> None:
    child = run.child(GOOD_CHILD)
    child.start()
    child.wait_ready(20.0)
    assert child.state == "ready"
    assert child.last_lines == (f"hello from {child.pid}",)
    assert run.states == ["starting", "ready"]
    assert str(run.changes[1]).startswith(f"test child (pid {child.pid}): ready, after ")


def test_a_child_not_yet_started_is_stopped(run: Run) -> None:
    child = run.child(GOOD_CHILD)
    child.stop()
    assert child.state == "stopped"
    assert child.pid is None


def test_start_returns_before_the_child_is_ready(run: Run) -> None:
    child = run.child("import time; time.sleep(60)")
    began_s = time.monotonic()
    child.start()
    assert time.monotonic() - began_s < 0.5
    assert child.state == "starting"
    with pytest.raises(ChildError, match=r"is not ready after 0\.3 s \(starting\)"):
        child.wait_ready(0.3)


def test_a_started_child_cannot_be_started_again(run: Run) -> None:
    child = run.child(GOOD_CHILD)
    child.start()
    with pytest.raises(ChildError, match="already started"):
        child.start()


def test_a_killed_child_is_started_again_on_the_same_port(run: Run) -> None:
    child = run.child(GOOD_CHILD)
    child.start()
    child.wait_ready(20.0)
    first_pid = child.pid
    assert first_pid is not None
    os.kill(first_pid, signal.SIGKILL)
    until(lambda: run.states.count("ready") == 2)
    assert child.pid != first_pid
    assert run.states == ["starting", "ready", "backing_off", "starting", "ready"]
    assert run.changes[2].detail == "was killed by SIGKILL; starting again in 0.02 s"


def test_a_crash_loop_is_given_up_with_the_childs_last_words(run: Run) -> None:
    child = run.child("import sys; print('working on it'); sys.exit('out of luck')")
    child.start()
    with pytest.raises(ChildError) as failure:
        child.wait_ready(20.0)
    assert str(failure.value) == child.error
    assert "crashed 3 times in a row, giving up; the last one exited with code 1" in str(failure.value)
    assert "out of luck" in str(failure.value)
    assert child.state == "failed"
    assert run.states.count("starting") == 3


def test_last_words_are_bounded_in_lines_and_in_length(run: Run) -> None:
    child = run.child("print('x' * 100_000)\nfor i in range(99): print('line', i)\nraise SystemExit(1)")
    child.start()
    with pytest.raises(ChildError, match="line 98"):
        child.wait_ready(20.0)
    assert len(child.last_lines) == 20
    assert max(map(len, child.last_lines)) <= 4096


def test_a_hopeless_child_is_not_started_again(run: Run) -> None:
    child = run.child(f"import sys; print('no such model'); sys.exit({EXIT_HOPELESS})")
    child.start()
    with pytest.raises(ChildError, match="no such model"):
        child.wait_ready(20.0)
    assert run.states == ["starting", "failed"]


def test_a_missing_program_fails_at_once(run: Run) -> None:
    child = SupervisedChild(["/no/such/program"], ready_url="http://127.0.0.1:1/", name="ghost")
    child.start()
    with pytest.raises(ChildError, match="cannot run /no/such/program: No such file or directory"):
        child.wait_ready(5.0)


def test_a_child_that_never_answers_counts_as_crashed(run: Run) -> None:
    child = run.child("import time; time.sleep(60)", ready_timeout_s=0.2)
    child.start()
    with pytest.raises(ChildError, match=r"was not ready within 0\.2 s"):
        child.wait_ready(20.0)
    assert child.pid is None


def test_a_failed_child_can_be_started_afresh(run: Run, tmp_path: Path) -> None:
    permission = tmp_path / "permission"
    child = run.child(f"import os, sys\nif not os.path.exists({str(permission)!r}): sys.exit(1)\n{GOOD_CHILD}")
    child.start()
    with pytest.raises(ChildError):
        child.wait_ready(20.0)
    permission.touch()
    child.start()
    child.wait_ready(20.0)
    assert child.error is None


def test_delays_double_up_to_their_bound() -> None:
    patience = Restarts(first_delay_s=0.25, max_delay_s=1.0)
    assert [patience.delay_s(crashes) for crashes in (1, 2, 3, 4, 9)] == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_a_polite_child_stops_well_within_its_grace(run: Run) -> None:
    child = run.child(GOOD_CHILD)
    child.start()
    child.wait_ready(20.0)
    pid = child.pid
    assert pid is not None
    began_s = time.monotonic()
    child.stop(grace_s=10.0)
    assert time.monotonic() - began_s < 2.0
    assert not is_alive(pid)
    assert child.state == "stopped"
    assert child.pid is None
    child.stop()
    with pytest.raises(ChildError, match="is stopped"):
        child.wait_ready(1.0)


def test_a_deaf_child_and_its_own_children_are_killed_after_the_grace(run: Run) -> None:
    child = run.child("""
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
        time.sleep(60)
    """)
    child.start()
    until(lambda: bool(child.last_lines))
    grandchild_pid = int(child.last_lines[0])
    began_s = time.monotonic()
    child.stop(grace_s=0.3)
    assert 0.3 <= time.monotonic() - began_s < 3.0
    until(lambda: not is_alive(grandchild_pid))
    assert child.state == "stopped"


def test_stop_ends_a_pause_between_restarts_at_once() -> None:
    child = SupervisedChild(
        [sys.executable, "-c", "raise SystemExit(1)"],
        ready_url=f"http://127.0.0.1:{free_port()}/",
        name="slow starter",
        restarts=Restarts(first_delay_s=60.0, max_delay_s=60.0),
    )
    child.start()
    until(lambda: child.state == "backing_off")
    began_s = time.monotonic()
    child.stop()
    assert time.monotonic() - began_s < 1.0
    assert child.state == "stopped"


def test_an_observers_mistake_does_not_end_the_watch(run: Run) -> None:
    def trip(change: Change) -> None:
        raise ZeroDivisionError

    child = SupervisedChild(
        [sys.executable, "-c", GOOD_CHILD, str(run.port)],
        ready_url=f"http://127.0.0.1:{run.port}/",
        name="watched",
        on_change=trip,
    )
    with child:
        child.wait_ready(20.0)


# A gateway in small: starts the good child, forks a worker that lives on, and waits to be killed.
PARENT = """
import os, sys, time
from switchgear.engine.child import SupervisedChild
source, port = sys.argv[1:]
argv = [sys.executable, "-c", source, port]
child = SupervisedChild(argv, ready_url=f"http://127.0.0.1:{port}/", name="c")
child.start()
child.wait_ready(20.0)
worker = os.fork()
if worker == 0:
    child.stop()
    assert child.state == "stopped", child.state
    time.sleep(60)
print(child.pid, worker, flush=True)
time.sleep(60)
"""


def test_a_child_dies_with_its_parent_even_when_a_forked_worker_survives() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, GOOD_CHILD, str(free_port())], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child_pid, worker_pid = map(int, parent.stdout.readline().split())
    try:
        time.sleep(0.5)
        assert is_alive(child_pid), "a forked worker's stop must not reach the child"
        parent.kill()
        parent.wait()
        until(lambda: not is_alive(child_pid), timeout_s=3.0)
        assert is_alive(worker_pid)
    finally:
        os.kill(worker_pid, signal.SIGKILL)
        parent.stdout.close()
