"""One supervised child process: started, watched until it answers, restarted when it dies, never left behind.

Threads, not asyncio, so that the same object serves a command that forks workers later and a coroutine
(`await asyncio.to_thread(child.wait_ready, 30.0)`). The rules a program must keep to be a good child:

- it exits when its standard input ends. The other end is its lifeline, which the kernel cuts however we die,
  `kill -9` included. Linux's PDEATHSIG alone would not do: it fires when the *thread* that forked dies;
- it exits on SIGTERM, soon;
- it exits with `EXIT_HOPELESS` when starting it again cannot help, after saying why on standard error.

The child leads its own session, so Ctrl-C in the terminal reaches us alone and we decide when it goes.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import signal
import socket
import subprocess
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

State = Literal["starting", "ready", "backing_off", "failed", "stopped"]

EXIT_HOPELESS = 78  # EX_CONFIG of sysexits.h

_PROBE_EVERY_S = 0.05
_PROBE_TIMEOUT_S = 1.0
_TAIL_LINES = 20
_LINE_BYTES = 4096

_log = logging.getLogger("switchgear.child")


class ChildError(RuntimeError):
    """The child is not, and by itself will not become, ready. The text says why, for the operator."""


@dataclass(frozen=True)
class Restarts:
    """How patiently a dying child is started again.

    The delay doubles from `first_delay_s` up to `max_delay_s`. A child that stayed ready for
    `forgiven_after_s` has its past forgiven; after `max_crashes` in a row without that we give up.
    """

    first_delay_s: float = 0.25
    max_delay_s: float = 10.0
    max_crashes: int = 5
    forgiven_after_s: float = 60.0

    def delay_s(self, crashes: int) -> float:
        """The pause after the given number of crashes in a row, counted from one."""
        return min(self.max_delay_s, self.first_delay_s * 2.0 ** (crashes - 1))


@dataclass(frozen=True)
class Change:
    """One change of state, worded for a log line by `str()`."""

    name: str
    state: State
    pid: int | None
    detail: str

    def __str__(self) -> str:
        who = self.name if self.pid is None else f"{self.name} (pid {self.pid})"
        said = f"{who}: {self.state.replace('_', ' ')}"
        return f"{said}, {self.detail}" if self.detail else said


@dataclass(frozen=True)
class _Life:
    """How one run of the program ended."""

    reason: str
    ready_s: float
    hopeless: bool


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port nobody listens on at this moment. Ask once and keep it: restarts then keep the address."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class SupervisedChild:
    """A program that serves HTTP on this machine, kept running by a daemon thread.

    `argv` is run as it stands, with our environment. The child is ready once `ready_url` (http, no redirects)
    answers 200; one that does not within `ready_timeout_s` counts as crashed. `on_change` is called from the
    watching thread once per change of state and must not call `start` or `stop`.

    In a process forked from ours the object is inert: it reads as stopped, and `stop` does nothing there.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        ready_url: str,
        name: str,
        ready_timeout_s: float = 60.0,
        restarts: Restarts | None = None,
        on_change: Callable[[Change], None] | None = None,
    ) -> None:
        self.argv = tuple(argv)
        self.ready_url = ready_url
        self.name = name
        self.ready_timeout_s = ready_timeout_s
        self._restarts = restarts or Restarts()
        self._on_change = on_change
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._error: str | None = None
        self._reset()
        _children.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._state: State = "stopped"
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline_fd: int | None = None
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> State:
        """Where the child is in its life; `stopped` before `start`."""
        return self._state

    @property
    def pid(self) -> int | None:
        """The process id of the child that runs now, if one does."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    @property
    def error(self) -> str | None:
        """Why the child has failed for good, with its last words; None in any other state."""
        return self._error

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The newest lines, at most 20, that the present or last run wrote to standard output and error."""
        return tuple(self._tail)

    def start(self) -> None:
        """Starts and watches the child, and returns at once. Raises ChildError if it is already started."""
        if self._state not in ("stopped", "failed"):
            raise ChildError(f"{self.name} is already started")
        if self._thread is not None:
            # The last watch has said its last state but may still be telling it to `on_change`.
            self._thread.join()
        self._reset()
        self._error = None
        self._state = "starting"
        self._thread = threading.Thread(target=self._watch, name=f"child-{self.name}", daemon=True)
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> None:
        """Blocks until the child is ready. Raises ChildError when it failed, was stopped, or time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._state in ("ready", "failed", "stopped"), timeout_s)
            state = self._state
        if state == "ready":
            return
        if state == "failed":
            raise ChildError(self._error or f"{self.name} failed")
        if state == "stopped":
            raise ChildError(f"{self.name} is stopped")
        raise ChildError(_with_tail(f"{self.name} is not ready after {timeout_s:g} s ({state})", self._tail))

    def stop(self, grace_s: float = 5.0) -> None:
        """Ends the child and the watching: SIGTERM, then SIGKILL to its whole group after `grace_s`.

        Blocks until it is gone. Does nothing when it is not running.
        """
        thread = self._thread
        if thread is None:
            return
        with self._changed:
            self._stopping.set()
            self._cut_lifeline()
            if self._process is not None:
                self._process.terminate()
        thread.join(grace_s)
        if thread.is_alive():
            _kill_group(self._process)
            thread.join()

    def __enter__(self) -> SupervisedChild:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # The watching thread

    def _watch(self) -> None:
        crashes = 0
        while not self._stopping.is_set():
            life = self._live()
            if self._stopping.is_set():
                break
            crashes = 1 if life.ready_s >= self._restarts.forgiven_after_s else crashes + 1
            if life.hopeless or crashes >= self._restarts.max_crashes:
                self._fail(life, crashes)
                return
            delay_s = self._restarts.delay_s(crashes)
            self._enter("backing_off", f"{life.reason}; starting again in {delay_s:g} s")
            self._stopping.wait(delay_s)
        self._enter("stopped")

    def _live(self) -> _Life:
        """Runs the program once, to its end."""
        try:
            process = self._spawn()
        except OSError as error:
            return _Life(f"cannot run {self.argv[0]}: {error.strerror}", 0.0, hopeless=True)
        if process is None:
            return _Life("stopped", 0.0, hopeless=False)
        reader = threading.Thread(target=self._read_output, args=(process,), daemon=True)
        reader.start()
        began_s = time.monotonic()
        self._enter("starting")
        if self._becomes_ready(process):
            ready_at_s = time.monotonic()
            self._enter("ready", f"after {ready_at_s - began_s:.1f} s")
            process.wait()
            ready_s = time.monotonic() - ready_at_s
        else:
            ready_s = 0.0
        late = process.poll() is None and not self._stopping.is_set()
        if late:
            _kill_group(process)
        code = process.wait()
        # A grandchild may hold the pipe open, so the last words are not waited for without end.
        reader.join(1.0)
        with self._changed:
            self._cut_lifeline()
        reason = f"was not ready within {self.ready_timeout_s:g} s" if late else _ending(code)
        return _Life(reason, ready_s, hopeless=code == EXIT_HOPELESS)

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._changed:
            if self._stopping.is_set():
                return None
            self._tail.clear()
            read_fd, write_fd = os.pipe()
            try:
                self._process = subprocess.Popen(  # noqa: S603  the operator's own command, never a client's
                    self.argv,
                    stdin=read_fd,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError:
                os.close(write_fd)
                raise
            finally:
                os.close(read_fd)
            self._lifeline_fd = write_fd
            return self._process

    def _becomes_ready(self, process: subprocess.Popen[bytes]) -> bool:
        deadline_s = time.monotonic() + self.ready_timeout_s
        while process.poll() is None and not self._stopping.is_set() and time.monotonic() < deadline_s:
            # Asked again after the answer: a stranger on the same port must not speak for a dead child.
            if _answers(self.ready_url) and process.poll() is None:
                return True
            self._stopping.wait(_PROBE_EVERY_S)
        return False

    def _read_output(self, process: subprocess.Popen[bytes]) -> None:
        """Drains the child's output, or it would block on a full pipe."""
        assert process.stdout is not None
        tail = self._tail
        with process.stdout as output:
            for line in iter(lambda: output.readline(_LINE_BYTES), b""):
                tail.append(line.decode(errors="replace").rstrip())

    def _fail(self, life: _Life, crashes: int) -> None:
        why = f"{self.name} {life.reason}"
        if not life.hopeless:
            why = f"{self.name} crashed {crashes} times in a row, giving up; the last one {life.reason}"
        self._error = _with_tail(why, self._tail)
        self._enter("failed", self._error)

    def _enter(self, state: State, detail: str = "") -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()
        if self._on_change is None:
            return
        try:
            self._on_change(Change(self.name, state, self.pid, detail))
        except Exception:
            # An observer's mistake must not leave a child unwatched.
            _log.exception("on_change of %s failed", self.name)

    def _cut_lifeline(self) -> None:
        if self._lifeline_fd is not None:
            os.close(self._lifeline_fd)
            self._lifeline_fd = None


_children: weakref.WeakSet[SupervisedChild] = weakref.WeakSet()


def _disown_after_fork() -> None:
    """Drops a forked worker's copy of each lifeline, which would otherwise keep the child alive after us."""
    for child in list(_children):
        child._cut_lifeline()
        child._reset()


os.register_at_fork(after_in_child=_disown_after_fork)


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PROBE_TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _kill_group(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None and process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _with_tail(text: str, tail: Sequence[str] | deque[str]) -> str:
    lines = [line for line in list(tail) if line]
    return "\n  ".join([f"{text}; its last words:", *lines]) if lines else f"{text}; it said nothing"
