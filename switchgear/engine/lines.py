"""Log lines written by a thread of their own: a stalled terminal or pipe must never stall the event loop.

Lines gather in memory and are handed over ten times a second, because waking a thread for each costs more than the
line. What is held is bounded; lines over the bound are dropped, and the next batch says how many.
"""

import asyncio
import os
import queue
import threading

HAND_OVER_EVERY_S = 0.1
MAX_HELD_BYTES = 8 << 20


class LineWriter:
    """Writes lines to a file descriptor. Call ``write`` on the event loop only."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        # What came in and what went out are counted apart, each by one thread: a sum both write would lose counts.
        self._taken_bytes = 0
        self._written_bytes = 0
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None
        self._batches: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def write(self, line: bytes) -> None:
        """Take a line, without its newline. Never blocks."""
        if self._taken_bytes - self._written_bytes > MAX_HELD_BYTES:
            self._dropped += 1
            return
        self._lines.append(line)
        self._taken_bytes += len(line) + 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HAND_OVER_EVERY_S, self._hand_over)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is held and stop; waits at most ``timeout_s`` for a descriptor that does not move."""
        if self._timer is not None:
            self._timer.cancel()
        self._hand_over()
        if self._thread is not None:
            self._batches.put(None)
            self._thread.join(timeout_s)
            self._thread = None

    def _hand_over(self) -> None:
        self._timer = None
        if self._dropped:
            notice = b'{"level":"warning","event":"log_lines_dropped","count":%d}' % self._dropped
            self._lines.append(notice)
            self._taken_bytes += len(notice) + 1
            self._dropped = 0
        if not self._lines:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="switchgear-log", daemon=True)
            self._thread.start()
        self._batches.put(b"\n".join(self._lines) + b"\n")
        self._lines.clear()

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            view = memoryview(batch)
            try:
                while view:
                    view = view[os.write(self._descriptor, view) :]
            except OSError:
                pass  # nobody reads the log any more; the gateway serves on
            self._written_bytes += len(batch)
