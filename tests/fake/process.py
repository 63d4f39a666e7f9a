"""A test tool as a real process: the child says where it listens and dies with its parent, who orders."""

import asyncio
import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import IO, Any

import msgspec

try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop  # type: ignore[assignment]  # slower, otherwise the same

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0


def run_tool(main: Coroutine[Any, Any, None]) -> None:
    """The child's side: run ``main`` on uvloop where there is one."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)


async def announce_and_wait(port: int, control_port: int) -> None:
    """The child's side: print the ports, then return when stdin ends or SIGTERM comes."""
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, told_to_stop.set)

    def outlive_nobody() -> None:
        while os.read(0, 4096):
            pass
        # The loop may be gone already when a SIGTERM came first.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(told_to_stop.set)

    # A thread, because stdin may be a file or /dev/null, which an event loop cannot watch.
    threading.Thread(target=outlive_nobody, daemon=True).start()
    print(json.dumps({"port": port, "control_port": control_port}), flush=True)
    await told_to_stop.wait()


class ToolProcess:
    """The parent's side: start, give orders, stop."""

    def __init__(self, module: str, arguments: list[str]) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            ports = json.loads(self._first_line())
        except BaseException:
            self.stop()
            raise
        self.port: int = ports["port"]
        self._control_port: int = ports["control_port"]

    @property
    def pid(self) -> int:
        """The child's process id, for freezing, measuring or killing it."""
        return self._child.pid

    def order(self, verb: str, value: object = None) -> Any:
        """Send one order and return its answer; RuntimeError if the tool could not obey."""
        connection = http.client.HTTPConnection("127.0.0.1", self._control_port, timeout=10)
        try:
            connection.request("POST", f"/{verb}", body=msgspec.json.encode(value))
            response = connection.getresponse()
            answer = msgspec.json.decode(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"{verb}: {answer}")
        return answer

    def stop(self) -> None:
        """End the child: politely, then not."""
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        self._child.terminate()
        try:
            self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _first_line(self) -> bytes:
        stdout: IO[bytes] | None = self._child.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], START_TIMEOUT_S)
        line = stdout.readline() if ready else b""
        if not line:
            raise RuntimeError(f"{self._child.args!r} did not start")
        return line
