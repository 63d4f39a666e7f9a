"""Children end with the run, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from switchgear.bench import children

# A program with a child of its own, which is what has to go too.
_FAMILY = ("/bin/sh", "-c", "sleep 60 & echo $!; wait")


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def first_line(path: Path) -> str:
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        if path.exists() and "\n" in (text := path.read_text()):
            return text.splitlines()[0]
        time.sleep(0.01)
    raise AssertionError(f"nothing was written to {path.name}")


def test_stopping_a_program_ends_its_children(tmp_path: Path) -> None:
    child = children.Child(_FAMILY, core=0, log=tmp_path / "log", env=dict(os.environ), cwd=tmp_path)
    grandchild = int(first_line(tmp_path / "log"))
    assert is_alive(grandchild)
    child.stop()
    child.stop()
    assert child.has_ended()
    assert not is_alive(grandchild)


def test_a_run_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, time\n"
        "from switchgear.bench import children\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        f"children.Child({_FAMILY!r}, core=0, log=here / 'log', env=dict(os.environ), cwd=here)\n"
        "(here / 'started').write_text('yes\\n')\n"
        "time.sleep(60)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", program])
    first_line(tmp_path / "started")
    grandchild = int(first_line(tmp_path / "log"))
    run.send_signal(signal.SIGKILL)
    run.wait()
    deadline_s = time.monotonic() + 10
    while is_alive(grandchild) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert not is_alive(grandchild)


def test_a_program_that_takes_too_long_is_ended() -> None:
    began_s = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        children.run(_FAMILY, timeout_s=0.2)
    assert time.monotonic() - began_s < 5


def test_a_program_that_fails_tells_what_it_complained_of() -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        children.run(("/bin/sh", "-c", "echo so >&2; exit 3"))
    assert (raised.value.returncode, raised.value.stderr) == (3, "so\n")


def test_a_child_runs_on_the_core_it_was_given(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    child = children.Child(("sleep", "60"), core=core, log=tmp_path / "log", env=dict(os.environ), cwd=tmp_path)
    try:
        assert os.sched_getaffinity(child.pid) == {core}
    finally:
        child.stop()
