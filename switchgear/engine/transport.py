"""Upstream HTTP/1.1 over asyncio and httptools: pools, TLS, deadlines, back-pressure, cancellation.

The rules (RFC 9112): one request at a time on a connection; a connection is used again only after a reply that ended
where it said it would. A redirect is an answer, never followed. A reused connection that turns out closed before any
byte of the reply is replaced once. Deadlines are checked by one sweep of all busy connections, four times a second:
a timer per request would cost more than the rest of the bookkeeping.
"""

import asyncio
import ssl
from collections import deque
from math import inf

from switchgear.core.errors import UpstreamTimeout, UpstreamUnavailable
from switchgear.core.settings import TimeoutSettings
from switchgear.core.types import HttpOrigin, HttpRequest
from switchgear.engine.connection import READ_BYTES, Connection, HttpResponse
from switchgear.engine.egress import Egress, open_tunnel

SWEEP_INTERVAL_S = 0.25

_CLOSING = "The gateway is shutting down."


class Pool:
    """The connections of one origin: idle ones are used newest first, and no more than ``max_connections`` exist.

    Who waits for one gets it handed over, or the place of one that has gone: nobody can get in between.
    """

    __slots__ = ("idle", "max_connections", "open_count", "origin", "tls", "waiting")

    def __init__(self, origin: HttpOrigin, max_connections: int, tls: ssl.SSLContext | None) -> None:
        self.origin = origin
        self.max_connections = max_connections
        self.tls = tls
        self.idle: deque[Connection] = deque()
        self.waiting: deque[asyncio.Future[Connection | None]] = deque()
        self.open_count = 0

    def take(self, now: float) -> Connection | None:
        """The idle connection used last, if one is still open and not about to be closed by the other side."""
        while self.idle:
            connection = self.idle.pop()
            if connection.is_open and now - connection.idle_since <= connection.idle_expiry_s:
                return connection
            connection.abort()
        return None

    def drop_idle(self) -> None:
        """Close the idle connections."""
        for connection in list(self.idle):
            connection.abort()
        self.idle.clear()

    def give_back(self, connection: Connection) -> None:
        """A reply has been read to its end: the connection may serve another."""
        waiter = self._next_waiting()
        if waiter is None:
            self.idle.append(connection)
        else:
            waiter.set_result(connection)

    def gone(self, connection: Connection) -> None:
        """A connection has closed, or was never opened; a second call for it does nothing."""
        if not connection.has_place:
            return
        connection.has_place = False
        if connection in self.idle:
            self.idle.remove(connection)
        self._free_place()

    async def place(self, *, fresh: bool) -> Connection | None:
        """Wait in line: a connection that came free (never where it must be ``fresh``), or None, which is the right
        to open one."""
        waited = False
        while self.open_count >= self.max_connections:
            free = await self._wait(first=waited)
            if free is None:
                return None
            if free.is_open and not fresh:
                return free
            if free.has_place:  # it closes, and we have its place
                free.has_place = False
                free.abort()
                return None
            waited = True
        self.open_count += 1
        return None

    def refuse(self, error: UpstreamUnavailable) -> None:
        """Tell all who wait that nothing will come."""
        while (waiter := self._next_waiting()) is not None:
            waiter.set_exception(error)

    async def _wait(self, *, first: bool) -> Connection | None:
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        if first:
            self.waiting.appendleft(waiter)
        else:
            self.waiting.append(waiter)
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                handed = waiter.result()  # it was our turn, and we leave: the next one's then
                if handed is None:
                    self._free_place()
                elif handed.is_open:
                    self.give_back(handed)
            raise

    def _free_place(self) -> None:
        waiter = self._next_waiting()
        if waiter is None:
            self.open_count -= 1
        else:
            waiter.set_result(None)

    def _next_waiting(self) -> "asyncio.Future[Connection | None] | None":
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                return waiter
        return None


class Transport:
    """Sends requests to providers. One per event loop."""

    def __init__(self, egress: Egress | None = None) -> None:
        self._egress = egress or Egress({})
        self._pools: dict[HttpOrigin, Pool] = {}
        self._busy: set[Connection] = set()
        self._max_connections: dict[HttpOrigin, int] = {}
        self._tls: dict[HttpOrigin, ssl.SSLContext] = {}
        self._tls_files: dict[HttpOrigin, str] = {}
        self._default_tls: ssl.SSLContext | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False
        self._read_buffer = memoryview(bytearray(READ_BYTES))

    def configure(self, origin: HttpOrigin, *, max_connections: int, tls_ca_file: str = "") -> None:
        """What is particular about an origin; before its first request, once for each provider there.

        Providers that share an origin share its connections, so their numbers add up. Raises OSError for a file that
        cannot be read, ValueError where two of them trust different authorities.
        """
        known = origin in self._max_connections
        if known and self._tls_files.get(origin, "") != tls_ca_file:
            raise ValueError(f"two providers at {origin.authority} have different tls_ca_file settings")
        self._max_connections[origin] = self._max_connections.get(origin, 0) + max_connections
        self._tls_files[origin] = tls_ca_file
        if tls_ca_file:
            self._tls[origin] = ssl.create_default_context(cafile=tls_ca_file)

    async def send(
        self, request: HttpRequest, timeouts: TimeoutSettings, extra_header: bytes = b"", left_s: float = inf
    ) -> HttpResponse:
        """Send it and wait for the head of the answer.

        ``extra_header`` is one header line with its CRLF; ``left_s`` is what is left of ``timeouts.total_s``, where
        some of it has been spent. Raises UpstreamUnavailable or UpstreamTimeout.
        """
        pool = self._pools.get(request.endpoint.origin) or self._new_pool(request.endpoint.origin)
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        total_at = started_at + min(timeouts.total_s, left_s)
        connection = pool.take(started_at) or await self._connect(pool, timeouts, started_at, total_at)
        response = await self._try(connection, request, timeouts, total_at, extra_header)
        if response is not None:
            return response
        pool.drop_idle()  # closed while idle: its neighbours are as old, and the one retry wants a fresh socket
        connection = await self._connect(pool, timeouts, started_at, total_at, fresh=True)
        response = await self._try(connection, request, timeouts, total_at, extra_header)
        assert response is not None  # which only a used connection leads to
        return response

    async def fetch(self, request: HttpRequest, timeouts: TimeoutSettings, max_bytes: int) -> tuple[int, bytes]:
        """Send it and read the whole answer: status and body. Raises UpstreamError."""
        response = await self.send(request, timeouts)
        try:
            return response.status, await response.read_all(max_bytes)
        finally:
            response.close()

    async def _try(
        self,
        connection: Connection,
        request: HttpRequest,
        timeouts: TimeoutSettings,
        total_at: float,
        extra_header: bytes,
    ) -> HttpResponse | None:
        """One exchange; None when a used connection turned out to be closed before any byte of a reply."""
        self._busy.add(connection)
        if self._sweeping is None:
            self._schedule_sweep()
        was_used = connection.reused
        response = connection.exchange(self, request, timeouts, total_at, extra_header)
        try:
            await response.wait_for_head()
        except BaseException as error:
            response.close()
            if was_used and isinstance(error, UpstreamUnavailable) and not response.got_bytes:
                return None
            raise
        return response

    def release(self, connection: Connection, reusable: bool) -> None:
        """The exchange on this connection is over."""
        self._busy.discard(connection)
        if reusable and not self._closed:
            connection.idle_since = asyncio.get_running_loop().time()
            self._pools[connection.origin].give_back(connection)
        else:
            connection.abort()

    async def _connect(
        self, pool: Pool, timeouts: TimeoutSettings, started_at: float, total_at: float, *, fresh: bool = False
    ) -> Connection:
        """A new connection, or (unless it must be ``fresh``) one that came free while the pool was full."""
        if self._closed:
            raise UpstreamUnavailable(_CLOSING)
        connect_at = started_at + timeouts.connect_s
        try:
            async with asyncio.timeout_at(min(connect_at, total_at)):
                return await pool.place(fresh=fresh) or await self._open(pool)
        except TimeoutError:
            if total_at < connect_at:
                raise UpstreamTimeout("total", timeouts.total_s) from None
            raise UpstreamTimeout("connect", timeouts.connect_s) from None
        except (OSError, ssl.SSLError) as error:
            raise UpstreamUnavailable(f"Cannot connect to the provider: {_reason(error)}.") from None

    async def _open(self, pool: Pool) -> Connection:
        """A new connection, in the place that ``pool.place`` gave us."""
        loop, origin = asyncio.get_running_loop(), pool.origin
        proxy = self._egress.proxy_for(origin)
        via_proxy = proxy if origin.scheme == "http" else None
        connection = Connection(loop, pool, origin, self._read_buffer, via_proxy)
        try:
            if proxy is not None and origin.scheme == "https":
                await open_tunnel(loop, proxy, origin, connection, self._tls_for(pool))
            else:
                at = proxy.origin if proxy is not None else origin
                context = self._tls_for(pool) if at.scheme == "https" else None
                await loop.create_connection(
                    lambda: connection, at.host, at.port, ssl=context, server_hostname=at.host if context else None
                )
            if self._closed:
                raise UpstreamUnavailable(_CLOSING)
            if not connection.is_open:  # it would not tell the exchange any more
                raise UpstreamUnavailable("The provider closed the connection without an answer.")
        except BaseException:
            connection.abort()
            pool.gone(connection)  # whether connection_lost is still called depends on how far it came
            raise
        return connection

    def _tls_for(self, pool: Pool) -> ssl.SSLContext:
        if pool.tls is not None:
            return pool.tls
        if self._default_tls is None:
            self._default_tls = ssl.create_default_context()
        return self._default_tls

    def _new_pool(self, origin: HttpOrigin) -> Pool:
        pool = self._pools[origin] = Pool(origin, self._max_connections.get(origin, 1024), self._tls.get(origin))
        return pool

    # -- the sweep ------------------------------------------------------------------------------------------------

    def _schedule_sweep(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_INTERVAL_S, self._sweep)

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self._busy):
            connection.check_deadlines(now)
        idle = False
        for pool in self._pools.values():
            for connection in [c for c in pool.idle if now - c.idle_since > c.idle_expiry_s]:
                connection.abort()
            idle = idle or bool(pool.idle)
        self._sweeping = None
        if self._busy or idle:
            self._schedule_sweep()

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for pool in self._pools.values():
            pool.drop_idle()
            pool.refuse(UpstreamUnavailable(_CLOSING))
        for connection in list(self._busy):
            connection.fail(UpstreamUnavailable(_CLOSING))
        await asyncio.sleep(0)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
