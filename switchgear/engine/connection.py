"""One upstream connection and the answer being read from it.

Memory is bounded: the head by MAX_HEAD_BYTES, the body by stopping to read the socket once PAUSE_AT_BYTES wait for a
slow client. Every way an exchange can end leads to exactly one ``release``.
"""

import asyncio
from typing import Protocol

import httptools

from switchgear.core.errors import (
    UpstreamError,
    UpstreamInvalid,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnavailable,
)
from switchgear.core.settings import TimeoutSettings
from switchgear.core.types import Endpoint, HttpOrigin, HttpRequest
from switchgear.engine.egress import Proxy

MAX_HEAD_BYTES = 65_536
READ_BYTES = 65_536
"""The most that is read from a socket at once; into one buffer for all connections of a loop, which only it touches."""
PAUSE_AT_BYTES = 32_768
"""For a slow client we hold this and a read, and as much again that is on its way to it: under 256 KiB."""
JOIN_UP_TO_BYTES = 65_536
IDLE_EXPIRY_S = 55.0
DRAIN_AFTER_END_S = 1.0
DRAIN_AFTER_END_BYTES = 65_536


class _Pool(Protocol):
    """Where a connection belongs."""

    def gone(self, connection: "Connection") -> None: ...


class _Owner(Protocol):
    """Who is told that an exchange is over."""

    def release(self, connection: "Connection", reusable: bool) -> None: ...


class Connection(asyncio.BufferedProtocol):
    """A socket to an origin. Idle, or serving one exchange, whose answer is ``response``."""

    __slots__ = (
        "_head_bytes", "_parser", "_read_buffer", "_transport", "has_place", "idle_expiry_s", "idle_since",
        "is_open", "loop", "origin", "pool", "response", "reused", "via_proxy",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: _Pool,
        origin: HttpOrigin,
        read_buffer: memoryview,
        via_proxy: Proxy | None = None,
    ) -> None:
        """``read_buffer`` is shared by the connections of one loop: what is in it is used up before the next read."""
        self.loop = loop
        self._read_buffer = read_buffer
        self.pool = pool
        self.origin = origin
        self.via_proxy = via_proxy
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self.response: HttpResponse | None = None
        self.is_open = False
        self.has_place = True  # of those the pool allows; the pool takes it back
        self.reused = False
        self.idle_since = 0.0
        self.idle_expiry_s = IDLE_EXPIRY_S

    # -- what the transport asks ----------------------------------------------------------------------------------

    def exchange(
        self, owner: _Owner, request: HttpRequest, timeouts: TimeoutSettings, total_at: float, extra_header: bytes
    ) -> "HttpResponse":
        """Write the request; the answer comes in the value returned, the last of it by ``total_at`` (loop time)."""
        assert self._transport is not None
        response = self.response = HttpResponse(self, owner, timeouts, total_at, self.loop.time())
        self._head_bytes = 0
        endpoint, body = request.endpoint, request.body
        head = endpoint.head if self.via_proxy is None else _absolute_form(endpoint, self.via_proxy)
        if body or endpoint.method == "POST":
            head = b"%b%bcontent-length: %d\r\n\r\n" % (head, extra_header, len(body))
        else:
            head = b"%b%b\r\n" % (head, extra_header)
        if len(body) <= JOIN_UP_TO_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines([head, body])
        return response

    def check_deadlines(self, now: float) -> None:
        """Called by the sweep while an exchange is under way."""
        response = self.response
        if response is not None and (missed := response.missed_deadline(now)) is not None:
            self.fail(missed)

    def pause(self) -> None:
        """Stop reading the socket: nobody takes what has arrived."""
        if self._transport is not None and self.is_open:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and self.is_open:
            self._transport.resume_reading()

    def fail(self, error: UpstreamError) -> None:
        """End the exchange with this error, and close."""
        if self.response is not None:
            self.response.failed(error)
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket, TLS included, is ready."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are not asyncio's classes
        self.is_open = True

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next read goes."""
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes of the answer are in the buffer."""
        response = self.response
        if response is None:
            self.abort()  # nobody asked: a connection that speaks unasked cannot be trusted with the next request
            return
        response.touched(self.loop.time())
        self._head_bytes += nbytes
        try:
            self._parser.feed_data(self._read_buffer[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.fail(UpstreamUnavailable("The provider's answer is not valid HTTP."))
            return
        if self._head_bytes > MAX_HEAD_BYTES:  # those of the head, and since then of framing without a body
            self.fail(UpstreamInvalid(f"The provider's answer has more than {MAX_HEAD_BYTES} bytes of headers."))
            return
        response.taken_in()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by us or by them."""
        self.is_open = False
        response = self.response
        if response is not None:
            response.connection_closed(exc)
        self.pool.gone(self)

    # -- httptools ------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A message starts; a second one in an exchange must follow an informational one. Raises ValueError, at which
        the parser stops."""
        if self.response is None or self.response.is_complete:
            raise ValueError("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line, or a trailer's, which says nothing we want to know."""
        if self.response is not None and not self.response.has_head:
            self.response.header_lines.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there, perhaps only that of a 1xx."""
        if self.response is not None:
            self.response.head_complete(self._parser.get_status_code())

    def on_body(self, body: bytes) -> None:
        """A piece of the body, its transfer coding removed."""
        self._head_bytes = 0
        if self.response is not None:
            self.response.take(body)

    def on_message_complete(self) -> None:
        """The body ended where its framing said."""
        if self.response is not None:
            self.response.complete(self._parser.should_keep_alive())


class HttpResponse:
    """The answer to one request: ``status``, ``headers`` (lower-case names), and a body read in pieces.

    ``close`` must be called exactly once a reader is through with it, however that came about; a second call does
    nothing. ``framed`` says whether the body's end is marked, or is only the end of the connection.
    """

    __slots__ = (
        "_chunks", "_complete", "_connection", "_drain_until", "_drained_bytes", "_error", "_has_body",
        "_keep_alive", "_last_data_at", "_loop", "_owner", "_paused", "_released", "_sent_at", "_size_bytes",
        "_timeouts", "_total_at", "_waiter", "got_bytes", "has_head", "header_lines", "status",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, owner: _Owner, timeouts: TimeoutSettings, total_at: float, sent_at: float
    ) -> None:
        self._connection = connection
        self._loop = connection.loop
        self._owner = owner
        self._timeouts = timeouts
        self._total_at = total_at
        self._sent_at = sent_at
        self._last_data_at = sent_at
        self._has_body = False
        self._chunks: list[bytes] = []
        self._size_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: UpstreamError | None = None
        self._complete = False
        self._keep_alive = False
        self._paused = False
        self._released = False
        self._drain_until = 0.0
        self._drained_bytes = 0
        self.status = 0
        self.header_lines: list[tuple[bytes, bytes]] = []
        self.has_head = False
        self.got_bytes = False

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; of a header that stands twice, the last."""
        return {name.lower().decode("latin-1"): value.strip().decode("latin-1") for name, value in self.header_lines}

    @property
    def framed(self) -> bool:
        """Whether the body's end is marked (RFC 9112, 6.3), or is only the end of the connection."""
        headers = self.headers
        return "content-length" in headers or "chunked" in headers.get("transfer-encoding", "")

    # -- for the reader -------------------------------------------------------------------------------------------

    async def wait_for_head(self) -> None:
        """Until status and headers are known. Raises UpstreamError."""
        while not self.has_head:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def read(self) -> bytes:
        """The next piece of the body, all that has arrived; empty at its end.

        Raises UpstreamTruncated, UpstreamUnavailable or UpstreamTimeout; what came before the error is read first.
        """
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._complete:
                return b""
            if self._paused:  # only now: what was read last has gone out
                self._paused = False
                self._last_data_at = self._loop.time()  # the silence was ours
                self._connection.resume()
            await self._wait()
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._size_bytes = 0
        return data

    async def read_all(self, max_bytes: int) -> bytes:
        """The whole body. Raises as ``read``, and UpstreamInvalid where it is longer than ``max_bytes``."""
        pieces, size_bytes = [], 0
        while data := await self.read():
            pieces.append(data)
            size_bytes += len(data)
            if size_bytes > max_bytes:
                raise UpstreamInvalid(f"The provider's answer is longer than {max_bytes} bytes.")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self, *, content_ended: bool = False) -> None:
        """Let go of the connection. With ``content_ended`` the body's last bytes, which say nothing more, are awaited
        for a moment in the background so that the connection can serve again; else an unfinished body closes it."""
        if self._released or self._drain_until:
            return
        if self._complete or not content_ended or self._error is not None:
            self._release()
            return
        self._drain_until = self._loop.time() + DRAIN_AFTER_END_S
        self._chunks.clear()
        self._size_bytes = 0
        if self._paused:
            self._paused = False
            self._connection.resume()

    # -- for the connection ---------------------------------------------------------------------------------------

    def touched(self, now: float) -> None:
        """Bytes came."""
        self._last_data_at = now
        self.got_bytes = True

    @property
    def is_complete(self) -> bool:
        """Whether the body has ended as its framing said."""
        return self._complete

    def taken_in(self) -> None:
        """All that came in one read is here: let the reader look, and read no more where it lags behind."""
        if self._size_bytes > PAUSE_AT_BYTES and not self._complete and not self._paused:
            self._paused = True
            self._connection.pause()
        self.wake()

    def head_complete(self, status: int) -> None:
        """The head is there; that of an informational answer is dropped (RFC 9110, 15.2)."""
        if 100 <= status < 200:
            self.header_lines.clear()
            return
        self.status = status
        self.has_head = True

    def take(self, body: bytes) -> None:
        """A piece of the body."""
        if self._drain_until:
            self._drained_bytes += len(body)
            if self._drained_bytes > DRAIN_AFTER_END_BYTES:
                self._release()
            return
        self._has_body = True
        self._chunks.append(body)
        self._size_bytes += len(body)

    def complete(self, keep_alive: bool) -> None:
        """The body ended as its framing said."""
        if not self.has_head:
            return  # an informational answer
        self._complete = True
        self._keep_alive = keep_alive
        if self._drain_until:
            self._release()

    def failed(self, error: UpstreamError) -> None:
        """The exchange cannot go on."""
        if not self._complete and self._error is None:
            self._error = error
        self.wake()
        if self._drain_until:
            self._release()

    def connection_closed(self, exc: Exception | None) -> None:
        """The socket closed; for a body without framing that is its end."""
        if self._complete or self._error is not None:
            self.wake()
        elif self.has_head and not self.framed and exc is None:
            self._complete = True
            self.wake()
        elif self.has_head:
            self.failed(UpstreamTruncated("The provider closed the connection in the middle of its answer."))
        else:
            self.failed(UpstreamUnavailable("The provider closed the connection without an answer."))
        if self._drain_until:
            self._release()

    def missed_deadline(self, now: float) -> UpstreamTimeout | None:
        """The deadline that has passed, if one has."""
        timeouts = self._timeouts
        if self._drain_until:
            return UpstreamTimeout("between_chunks", DRAIN_AFTER_END_S) if now > self._drain_until else None
        if self._complete or self._error is not None:
            return None
        if now > self._total_at:
            return UpstreamTimeout("total", timeouts.total_s)
        if not self._has_body:
            late = now - self._sent_at > timeouts.first_byte_s
            return UpstreamTimeout("first_byte", timeouts.first_byte_s) if late else None
        if self._waiter is not None and now - self._last_data_at > timeouts.between_chunks_s:
            return UpstreamTimeout("between_chunks", timeouts.between_chunks_s)
        return None

    def wake(self) -> None:
        """Let the reader look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done() and (self.has_head or self._error is not None):
            waiter.set_result(None)

    async def _wait(self) -> None:
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _release(self) -> None:
        if self._released:
            return
        self._released = True
        connection = self._connection
        connection.response = None
        connection.idle_expiry_s = _idle_expiry_s(self.header_lines)
        reusable = self._complete and self._keep_alive and self._error is None and connection.is_open
        connection.reused = True
        self._owner.release(connection, reusable)


def _idle_expiry_s(header_lines: list[tuple[bytes, bytes]]) -> float:
    """How long to keep an idle connection: a second less than the server says (``timeout=5``), where it says."""
    for name, value in header_lines:
        if len(name) == len("keep-alive") and name.lower() == b"keep-alive":
            digits = value.partition(b"timeout=")[2].partition(b",")[0].strip()
            return min(IDLE_EXPIRY_S, max(0.0, float(digits) - 1)) if digits.isdigit() else IDLE_EXPIRY_S
    return IDLE_EXPIRY_S


def _absolute_form(endpoint: Endpoint, proxy: Proxy) -> bytes:
    """The head as a proxy wants it (RFC 9112, 3.2.2)."""
    method, _, rest = endpoint.head.partition(b" ")
    return b"%b http://%b%b%b" % (method, endpoint.origin.authority.encode(), rest, proxy.authorization_line)
