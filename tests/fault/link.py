"""One connection through the proxy: two lanes of bytes, each obeying the faults of the moment."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable
from typing import Literal

from tests.fault.faults import Faults

READ_BYTES = 65536
DRIPS_PER_S = 20
QUEUED_READS = 16
RST_ON_CLOSE = struct.pack("ii", 1, 0)
Way = Literal["down", "up"]


class Lane:
    """Carries bytes one way: a reader that stamps them, a writer that waits for their time."""

    def __init__(self, link: "Link", way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        self._link, self._way, self._source, self._sink = link, way, source, sink
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_READS)
        self.carried_bytes = 0
        self.counted_from = 0
        self.is_dead = False  # it has lost bytes: what follows would make no sense to the receiver

    async def run(self) -> None:
        """Carry until the end of the source, then pass that end on."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read())
            tasks.create_task(self._write())

    async def _read(self) -> None:
        while True:
            await self._link.thawed.wait()
            data = await self._source.read(READ_BYTES)
            due_s = time.monotonic() + self._link.faults().latency_of(self._way)
            await self._queue.put((due_s, data))
            if not data:
                return

    async def _write(self) -> None:
        while True:
            due_s, data = await self._queue.get()
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await self._link.thawed.wait()
            if not data:
                break
            await self._deliver(data)
        if not self.is_dead:
            self._sink.write_eof()

    async def _deliver(self, data: bytes) -> None:
        """Write, no faster than allowed and no further than the cut."""
        while data:
            faults = self._link.faults()
            self.is_dead = self.is_dead or faults.swallow
            if self.is_dead:
                return
            rate = faults.rate_of(self._way)
            drop = data if rate is None else data[: max(1, round(rate / DRIPS_PER_S))]
            left = self._left_before_cut(faults)
            if left is not None:
                drop = drop[:left]
            self._sink.write(drop)
            self.carried_bytes += len(drop)
            await self._sink.drain()
            if left == len(drop):
                await self._cut(faults)
                return
            data = data[len(drop) :]
            if rate is not None:
                await asyncio.sleep(len(drop) / rate)
                await self._link.thawed.wait()

    def _left_before_cut(self, faults: Faults) -> int | None:
        if faults.cut is None or faults.cut.direction != self._way:
            return None
        return max(0, faults.cut.after_bytes - (self.carried_bytes - self.counted_from))

    async def _cut(self, faults: Faults) -> None:
        assert faults.cut is not None
        self.is_dead = True
        if faults.cut.how == "hang":
            return
        # A reset throws away what the kernel has not been given yet.
        while self._sink.transport.get_write_buffer_size():  # noqa: ASYNC110  # nobody tells when it is empty
            await asyncio.sleep(0.001)
        self._link.end(faults.cut.how)


class Link:
    """A client's connection and, unless swallowed from the start, one to the target."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        faults: Callable[[], Faults],
        thawed: asyncio.Event,
    ) -> None:
        self._client_reader, self._client_writer = client
        self._target_writer: asyncio.StreamWriter | None = None
        self.faults, self.thawed = faults, thawed
        self.down: Lane | None = None
        self.up: Lane | None = None

    async def run(self, host: str, port: int) -> None:
        """Carry both ways until both have ended or one has broken."""
        await self.thawed.wait()
        try:
            if self.faults().swallow:
                await self._swallow()
            else:
                await self._carry(host, port)
        except (OSError, ExceptionGroup):
            # Whoever reset their side, the other shall see a reset too.
            self.end("reset")
        finally:
            self.end("close")

    async def _carry(self, host: str, port: int) -> None:
        target_reader, self._target_writer = await asyncio.open_connection(host, port)
        self.up = Lane(self, "up", self._client_reader, self._target_writer)
        self.down = Lane(self, "down", target_reader, self._client_writer)
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self.up.run())
            lanes.create_task(self.down.run())

    async def _swallow(self) -> None:
        while await self._client_reader.read(READ_BYTES):
            pass

    def count_from_now(self) -> None:
        """A new cut counts a live connection's bytes from the order on."""
        for lane in (self.down, self.up):
            if lane is not None:
                lane.counted_from = lane.carried_bytes

    def half_close(self) -> None:
        """Let the client read an end, and keep listening to it."""
        with contextlib.suppress(OSError, RuntimeError):
            self._client_writer.write_eof()
        if self.down is not None:
            self.down.is_dead = True

    def end(self, how: Literal["close", "reset"]) -> None:
        """End both sides."""
        for writer in (self._client_writer, self._target_writer):
            if writer is None or writer.transport.is_closing():
                continue
            if how == "close":
                writer.close()
                continue
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
            writer.transport.abort()
