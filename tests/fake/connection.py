"""One connection of the fake provider: requests in by httptools, replies out as the script says."""

import asyncio
import socket
import struct
import traceback
from collections import deque
from typing import Any, Literal, NamedTuple, Protocol, cast

import httptools
import msgspec

from tests.fake.answer import Answer, informational_head, refusal_answer
from tests.fake.journal import (
    AnyEntry,
    ConnectionClosed,
    ConnectionOpened,
    Finished,
    HeadersSent,
    Malformed,
    Outcome,
    SocketClosed,
    now_s,
)
from tests.fake.script import Script

RST_ON_CLOSE = struct.pack("ii", 1, 0)
# Below the loopback's segment size (64 KiB) a small buffer makes the peer wait for probe timers instead.
SMALL_BUFFER_BYTES = 131_072


class Received(NamedTuple):
    """A whole request as it arrived."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    keep_alive: bool


class Attempt(msgspec.Struct):
    """A request being worked on. ``generated_tokens`` counts as the answer's pieces do."""

    number: int
    model: str | None
    answer: Answer
    script: Script
    keep_alive: bool
    status: int | None = None
    bytes_sent: int = 0
    generated_tokens: int = 0
    finished: bool = False

    def billed_output_tokens(self, outcome: Outcome) -> int:
        """What has been generated so far, in the terms of the usage that the answer reports."""
        answer = self.answer
        if outcome == "complete":
            return answer.output_tokens
        if not answer.piece_tokens:
            return 0
        return round(answer.output_tokens * self.generated_tokens / answer.piece_tokens)


class House(Protocol):
    """What a connection needs of the provider it belongs to."""

    read_bytes_per_s: float | None

    def opened(self, connection: "Connection") -> int:
        """Register; returns the connection's number."""

    def closed(self, connection: "Connection") -> None:
        """Deregister."""

    def accept(self, received: Received, connection: int) -> Attempt:
        """Judge a request, write it down and decide the answer."""

    def write(self, entry: AnyEntry) -> None:
        """Write an entry to the journal."""


class Connection(asyncio.Protocol):
    """Reads requests, one answer at a time, and notices at once when the peer leaves."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Received] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closing_ourselves = False
        self._close_on_reuse = False
        self._target, self._body = bytearray(), bytearray()
        self._headers: list[tuple[str, str]] = []
        self.number = 0
        self.attempt: Attempt | None = None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = self._house.opened(self)
        self._house.write(ConnectionOpened(t=now_s(), connection=self.number))

    def data_received(self, data: bytes) -> None:
        if self._house.read_bytes_per_s is None:
            self._take(data)
            return
        self._transport.pause_reading()
        rest_s = len(data) / self._house.read_bytes_per_s
        asyncio.get_running_loop().call_later(rest_s, self._take_late, data)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> None:
        # No HTTP client closes half a connection: it has left, and what we still hold is for nobody.
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        t, attempt = now_s(), self.attempt
        if attempt is not None and not attempt.finished:
            if not self._closing_ourselves:
                sent = attempt.bytes_sent
                closed = SocketClosed(t=t, connection=self.number, attempt=attempt.number, bytes_sent=sent)
                self._house.write(closed)
            self.finish(attempt, "cut" if self._closing_ourselves else "abandoned")
        by: Literal["us", "peer"] = "us" if self._closing_ourselves else "peer"
        self._house.write(ConnectionClosed(t=t, connection=self.number, by=by))
        self._house.closed(self)
        if self._worker is not None:
            self._worker.cancel()

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._target, self._body, self._headers = bytearray(), bytearray(), []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if any(name.lower() == "expect" and value.lower() == "100-continue" for name, value in self._headers):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        received = Received(
            self._parser.get_method().decode(),
            self._target.decode("latin-1"),
            self._headers,
            bytes(self._body),
            self._parser.should_keep_alive(),
        )
        self._waiting.append(received)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._serve())

    # Called by the provider.

    def slow_down(self) -> None:
        """Give the kernel little room, so that reading slowly is felt by the peer."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)

    def hang_up(self, how: Literal["close", "reset"]) -> None:
        """End the connection ourselves: with FIN after what is buffered, or with RST."""
        self._closing_ourselves = True
        if how == "reset":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
            self._transport.abort()
        else:
            self._transport.close()

    def finish(self, attempt: Attempt, outcome: Outcome) -> None:
        """Write down the end of an attempt, once."""
        if attempt.finished:
            return
        attempt.finished = True
        entry = Finished(
            t=now_s(),
            connection=self.number,
            attempt=attempt.number,
            outcome=outcome,
            status=attempt.status,
            bytes_sent=attempt.bytes_sent,
            input_tokens=attempt.answer.input_tokens,
            output_tokens=attempt.billed_output_tokens(outcome),
            model=attempt.model,
        )
        self._house.write(entry)

    # The work.

    def _take(self, data: bytes) -> None:
        if self._close_on_reuse and self.attempt is None:
            self.hang_up("close")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            reason = f"{type(error).__name__}: {error}"
            self._house.write(Malformed(t=now_s(), connection=self.number, reason=reason))
            answer = refusal_answer(400, b'{"error": "not HTTP"}')
            self._transport.write(answer.head + b"".join(piece.data for piece in answer.pieces))
            self.hang_up("close")

    def _take_late(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._take(data)
            self._transport.resume_reading()

    async def _serve(self) -> None:
        try:
            while self._waiting and not self._closing_ourselves:
                received = self._waiting.popleft()
                self.attempt = self._house.accept(received, self.number)
                await self._act(self.attempt)
                self.attempt = None
        except Exception:
            # A mistake in a wire or a script: the peer must not wait for ever, and stderr shall say why.
            traceback.print_exc()
            self.hang_up("reset")

    async def _act(self, attempt: Attempt) -> None:
        script, answer = attempt.script, attempt.answer
        if script.hang_before_headers:
            await _for_ever()
        if script.delay_before_headers_s:
            await asyncio.sleep(script.delay_before_headers_s)
        if script.informational_first is not None:
            self._transport.write(informational_head(script.informational_first))
        attempt.status = answer.status
        entry = HeadersSent(t=now_s(), connection=self.number, attempt=attempt.number, status=answer.status)
        self._house.write(entry)
        await self._send_body(attempt, unsent_head=answer.head)
        if script.cut_after_bytes is not None:
            await self._cut(attempt)
        elif script.close_after_reply or answer.framing == "close" or not attempt.keep_alive:
            self.hang_up("close")
        self._close_on_reuse = script.close_on_reuse

    async def _send_body(self, attempt: Attempt, unsent_head: bytes) -> None:
        """Write the pieces; the head goes with the first one unless the script pauses between them."""
        answer, is_cut = attempt.answer, attempt.script.cut_after_bytes is not None
        chunked = answer.framing == "chunked"
        piece, data = next(answer.pieces, None), unsent_head
        if piece is None or piece.pause_s:
            self._transport.write(data)
            data = b""
        while piece is not None:
            if piece.pause_s:
                await asyncio.sleep(piece.pause_s)
            if not self._writable.is_set():
                await self._writable.wait()
            if self._transport.is_closing():  # the peer has gone; connection_lost, on its way, says so
                await _for_ever()
            attempt.generated_tokens += piece.output_tokens
            attempt.bytes_sent += len(piece.data)
            data += _chunk(piece.data) if chunked else piece.data
            piece = next(answer.pieces, None)
            if piece is None and not is_cut:
                data += b"0\r\n\r\n" if chunked else b""
                self.finish(attempt, "refused" if answer.refused else "complete")
            self._transport.write(data)
            data = b""
        if not is_cut and not attempt.finished:
            self._transport.write(b"0\r\n\r\n" if chunked else b"")
            self.finish(attempt, "refused" if answer.refused else "complete")

    async def _cut(self, attempt: Attempt) -> None:
        if attempt.script.cut == "hang":
            await _for_ever()
        # A reset throws away what the kernel has not been given yet.
        while self._transport.get_write_buffer_size():  # noqa: ASYNC110  # nobody tells when it is empty
            await asyncio.sleep(0.001)
        self.finish(attempt, "cut")
        self.hang_up("reset" if attempt.script.cut == "reset" else "close")


def _chunk(data: bytes) -> bytes:
    # An empty chunk would end the body.
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


async def _for_ever() -> Any:
    await asyncio.get_running_loop().create_future()
