"""Child processes that cannot outlive the run: pinned to a core, in their own group, output in a file."""

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

_GRACE_S = 3.0
# Told of every group that starts and ends; when this process is gone, however it went, it ends what is left.
_WATCHDOG = """
groups=
while read -r line; do
  case $line in
    +*) groups="$groups ${line#+}" ;;
    -*) left=; for one in $groups; do [ "$one" = "${line#-}" ] || left="$left $one"; done; groups=$left ;;
  esac
done
for one in $groups; do kill -s KILL -- "-$one"; done
"""
_alive: "set[Child]" = set()
_watchdog: "subprocess.Popen[str] | None" = None


class Child:
    """One started program and whatever it starts in turn."""

    def __init__(self, argv: Sequence[str], core: int, log: Path, env: dict[str, str], cwd: Path) -> None:
        # Before the child, so that there is hardly a moment in which nobody watches it.
        watchdog = _the_watchdog()
        self.log = log
        self._open_log = log.open("ab")
        # A child inherits its parent's core, so there is no moment in which it runs elsewhere.
        with _on_core(core):
            self._process = subprocess.Popen(  # noqa: S603 - starting local programs is what a benchmark does
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=self._open_log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=env,
                cwd=cwd,
            )
        _alive.add(self)
        _tell(watchdog, f"+{self.pid}")

    @property
    def pid(self) -> int:
        """The process id of the program itself; its children are found from here."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether the program itself has ended."""
        return self._process.poll() is not None

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines the program wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End the program and its whole group: politely, then not."""
        if self not in _alive:
            return
        _alive.discard(self)
        self._signal_group(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        # Once more for any of its children that did not take the hint.
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._open_log.close()
        _tell(_the_watchdog(), f"-{self.pid}")

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def run(argv: Sequence[str], cwd: Path | None = None, timeout_s: float = 900.0) -> str:
    """Run a program to its end and return its output.

    Raises `CalledProcessError` if it failed and `TimeoutExpired` if it took longer; it is gone either way.
    """
    watchdog = _the_watchdog()
    process = subprocess.Popen(  # noqa: S603 - starting local programs is what a benchmark does
        list(argv),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    _tell(watchdog, f"+{process.pid}")
    try:
        output, complaint = process.communicate(timeout=timeout_s)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        _tell(watchdog, f"-{process.pid}")
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(argv), output, complaint)
    return output


def stop_all() -> None:
    """End every child that is still alive."""
    for child in list(_alive):
        child.stop()


def end_with_this_process() -> None:
    """Arrange that no child is left, whether this process ends by itself, by Ctrl-C or by a signal."""
    atexit.register(stop_all)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _the_watchdog() -> "subprocess.Popen[str]":
    global _watchdog  # noqa: PLW0603 - one for the life of this process, started with the first child
    if _watchdog is None:
        _watchdog = subprocess.Popen(  # noqa: S603 - the text it runs is the constant above
            ["/bin/sh", "-c", _WATCHDOG],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
            bufsize=1,
        )
    return _watchdog


def _tell(watchdog: "subprocess.Popen[str]", line: str) -> None:
    if watchdog.stdin:
        watchdog.stdin.write(line + "\n")
        watchdog.stdin.flush()


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    # A machine without that core runs unpinned; the run has said so at its start.
    with suppress(OSError):
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
