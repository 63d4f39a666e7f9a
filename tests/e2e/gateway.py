"""The gateway as tests see it: the real command, in processes of its own, that never outlive the test."""

import contextlib
import ctypes
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.fake.process import REPOSITORY

READY_WITHIN_S = 15.0
STOP_WITHIN_S = 15.0
POLL_S = 0.01

_PR_SET_PDEATHSIG = 1
_URL = re.compile(rb"^switchgear \S+  (http://\S+)/v1", re.MULTILINE)
_STEERING = re.compile(
    r".*_API_KEY|HF_TOKEN|LLM_.*|API_KEYS_JSON|MAX_CONCURRENT|SWITCHGEAR__.*|PROMETHEUS_.*|.*_proxy", re.IGNORECASE
)


class GatewayProcess:
    """``switchgear serve`` with ``config`` (the shape of ``switchgear.yaml``). Use it as a context manager.

    Nothing of the environment steers it but ``env``. The port is a free one, whatever the settings say.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        env: Mapping[str, str] | None = None,
        ready_within_s: float = READY_WITHIN_S,
    ) -> None:
        self._config = dict(config)
        self._env = dict(env or {})
        self._ready_within_s = ready_within_s
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-")
        self._process: subprocess.Popen[bytes] | None = None
        self._seen_workers: set[int] = set()
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._folder.cleanup()

    # -- its life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait until it is ready to serve."""
        folder = Path(self._folder.name)
        (folder / "switchgear.yaml").write_text(json.dumps(self._config))
        kept = {name: value for name, value in os.environ.items() if not _STEERING.fullmatch(name)}
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "switchgear", "serve", "--config", "switchgear.yaml", "--port", "0"],
                cwd=folder,
                env=kept | {"PYTHONPATH": _python_path()} | self._env,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=_die_with_the_tests,  # noqa: PLW1509  # it takes no lock, so threads do not matter
            )
        try:
            self._wait(self._says_its_url, "it did not say its address")
            self._wait(self._is_ready, "it did not become ready")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it: politely, then not."""
        process = self._process
        if process is None:
            return
        self._process = None
        workers = self._workers_of(process.pid) | self._seen_workers
        process.terminate()
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for worker in workers:
            if _runs(worker):
                os.kill(worker, signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM and return at once."""
        self._running.terminate()

    def kill(self) -> None:
        """Send SIGKILL to the parent process, and reap it."""
        self.worker_pids()
        self._running.kill()
        self._running.wait()

    def wait(self, timeout_s: float) -> int:
        """The exit code, once it has ended; TimeoutExpired if it does not."""
        return self._running.wait(timeout_s)

    @property
    def has_ended(self) -> bool:
        """Whether the parent process is gone."""
        return self._running.poll() is not None

    # -- what can be seen of it -----------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        """The parent of the workers: who gets the signals."""
        return self._running.pid

    def worker_pids(self) -> list[int]:
        """The processes that serve."""
        found = self._workers_of(self.pid)
        self._seen_workers |= found
        return sorted(found)

    def rss_bytes(self) -> int:
        """Resident memory of all workers together."""
        return sum(_status_bytes(pid, "VmRSS") for pid in self.worker_pids())

    @property
    def stdout(self) -> bytes:
        """All it has written to standard output."""
        return self._stdout.read_bytes()

    @property
    def stderr(self) -> bytes:
        """All it has written to standard error."""
        return self._stderr.read_bytes()

    def log_records(self) -> list[dict[str, Any]]:
        """The JSON lines of its standard output; one that is not JSON fails."""
        *lines, _ = self.stdout.split(b"\n")
        return [json.loads(line) for line in lines]

    def records_of(self, request_id: str, *, count: int = 1, timeout_s: float = 3.0) -> list[dict[str, Any]]:
        """The log records of one request id, once there are ``count``; fails where there are fewer or more."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = [record for record in self.log_records() if record.get("request_id") == request_id]
            if len(found) >= count or time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        assert len(found) == count, f"{len(found)} log records of {request_id}, not {count}"
        return found

    def record_of(self, request_id: str) -> dict[str, Any]:
        """The one log record of a request id, once it is there."""
        return self.records_of(request_id)[0]

    # -- waiting --------------------------------------------------------------------------------------------------

    def _wait(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + self._ready_within_s
        while not condition():
            if self.has_ended or time.monotonic() > deadline:
                raise AssertionError(f"the gateway is not up: {complaint}\n{self.stderr.decode(errors='replace')}")
            time.sleep(POLL_S)

    def _says_its_url(self) -> bool:
        found = _URL.search(self.stderr)
        self.url = found[1].decode() if found else ""
        return found is not None

    def _is_ready(self) -> bool:
        """One worker answers for itself alone; that the others are up shows in their process groups."""
        workers = self.worker_pids()
        if len(workers) < int(self._config.get("server", {}).get("workers", 1)):
            return False
        if any(os.getpgid(worker) != worker for worker in workers):
            return False
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    @staticmethod
    def _workers_of(parent: int) -> set[int]:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            return {int(pid) for pid in children if _is_worker(int(pid))}
        return set()

    @property
    def _stdout(self) -> Path:
        return Path(self._folder.name) / "stdout.jsonl"

    @property
    def _stderr(self) -> Path:
        return Path(self._folder.name) / "stderr.txt"

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "use the gateway as a context manager, or start() it"
        return self._process


def process_is_gone(pid: int) -> bool:
    """Whether a process that is not our child has ended."""
    return not _runs(pid)


def _python_path() -> str:
    return os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])


def _die_with_the_tests() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _is_worker(pid: int) -> bool:
    """Other children are llama.cpp servers and Python's own trackers."""
    with contextlib.suppress(OSError):
        return b"\0serve\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


def _status_bytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/{pid}/status has no {field}")
