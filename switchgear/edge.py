"""ASGI in and out: paths, bodies within limits, headers, streams, and clients that leave.

Clients that leave and streams that fall silent are found by one sweep of all calls under way: a call that is answered
before the sweep finds it old costs no task and no timer.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from random import getrandbits
from time import perf_counter
from typing import Any

from msgspec import Struct

from switchgear.core.errors import (
    ClientClosed,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    SwitchgearError,
    Unavailable,
    UnsupportedMediaType,
)
from switchgear.core.protocols import Call, Format
from switchgear.core.settings import Settings
from switchgear.engine.pipeline import Pipeline
from switchgear.engine.streaming import Stream

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

SWEEP_INTERVAL_S = 0.05
"""A call older than this is watched: a task of its own, 8 µs, waits for its client to leave."""

MAX_PIECE_BYTES = 16_384
"""A stream goes to the server in pieces no longer than this: it holds several of them for a client that stalls."""

_log = logging.getLogger("switchgear")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:\-]{1,128}")
_JSON_TYPE = (b"content-type", b"application/json")
_EXPOSED = (
    b"x-request-id, x-provider, x-cache-status, x-gateway-overhead-ms, retry-after, "
    b"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests"
)
_STREAM_HEADERS: Headers = [(b"cache-control", b"no-cache, no-transform"), (b"x-accel-buffering", b"no")]
_CACHE_MISS = (b"x-cache-status", b"MISS")


class Page(Struct):
    """The answer of a plain route."""

    body: bytes
    status: int = 200
    content_type: bytes = b"application/json"


class PlainRoute(Struct):
    """A path that is not a model call: ``answer`` gets the rest of the path (for a prefix route) and the Call."""

    answer: Callable[[Call, str], Awaitable[Page]]
    methods: tuple[str, ...] = ("GET",)
    admits: bool = True
    """Whether the caller must show a key; pages that do not are not logged either."""


class World(Struct):
    """Everything a request is served with; a reload builds another and swaps the reference."""

    settings: Settings
    pipeline: Pipeline
    chat_routes: dict[str, Format]
    plain_routes: dict[str, PlainRoute]
    prefix_routes: dict[str, PlainRoute]
    error_format: Format
    stream_began: Callable[[], None]
    stream_ended: Callable[[], None]


class Edge:
    """The ASGI application's HTTP half."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.draining = False
        self.refusing = False
        self.active: set[Exchange] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        exchange = Exchange(self, self.world, scope, receive, send, asyncio.current_task(loop))
        self.active.add(exchange)
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_INTERVAL_S, self._sweep)
        try:
            await exchange.serve()
        finally:
            self.active.discard(exchange)

    def _sweep(self) -> None:
        now, loop = perf_counter(), self._loop
        for exchange in self.active:
            if now - exchange.received_at > SWEEP_INTERVAL_S:
                exchange.look_after(now)
        self._sweeping = bool(self.active)
        if self._sweeping and loop is not None:
            loop.call_later(SWEEP_INTERVAL_S, self._sweep)


class Exchange:
    """One request and its answer."""

    __slots__ = (
        "_body_late", "_body_read", "_call", "_client_left", "_edge", "_ended", "_format", "_headers",
        "_last_sent_at", "_receive", "_scope", "_send", "_sending", "_silence_broken", "_started",
        "_task", "_watching", "_world",
    )  # fmt: skip

    def __init__(
        self,
        edge: Edge,
        world: World,
        scope: Scope,
        receive: Receive,
        send: Send,
        task: asyncio.Task[Any] | None,
    ) -> None:
        self._edge = edge
        self._world = world
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._format = world.error_format
        given = self._headers.get(b"x-request-id")
        accepted = given is not None and _REQUEST_ID.fullmatch(given)
        call_id = given.decode() if given is not None and accepted else f"req_{getrandbits(96):024x}"
        self._call = Call(call_id, "openai", scope["method"], _path(scope), self._headers)
        self._started = False
        self._ended = False
        self._sending = False
        self._client_left = False
        self._last_sent_at = 0.0
        self._body_read = False
        self._body_late = False
        self._silence_broken: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._task = task

    @property
    def received_at(self) -> float:
        """perf_counter of the request's headers."""
        return self._call.received_at

    async def serve(self) -> None:
        """Answer, whatever happens; then the call is finished, exactly once."""
        call, plain = self._call, None
        try:
            client_format = self._world.chat_routes.get(call.path)
            if client_format is not None and call.method == "POST":
                self._format = client_format
                await self._serve_chat(client_format)
            elif call.method == "OPTIONS" and b"access-control-request-method" in self._headers:
                await self._preflight()
                plain = True
            else:
                plain = await self._serve_plain(client_format)
        except SwitchgearError as error:
            await self._say_error(error)
        except asyncio.CancelledError:
            await self._cancelled()
        except Exception:
            _log.exception("the call %s failed inside the gateway", call.id)
            await self._say_error(SwitchgearError("The gateway failed; this is a bug in it, not in your request."))
        finally:
            self._stop_watching()
            call.ended_at = perf_counter()
            if not plain:
                self._world.pipeline.finish(call)

    # -- model calls ----------------------------------------------------------------------------------------------

    async def _serve_chat(self, client_format: Format) -> None:
        call, world = self._call, self._world
        if self._edge.refusing:
            raise Unavailable("This gateway process is shutting down.")
        await world.pipeline.admit(call)
        body = await self._read_body()
        self._body_read = True
        result = await world.pipeline.run(call, client_format, body)
        if isinstance(result, Stream):
            world.stream_began()
            try:
                await self._send_stream(result)
            finally:
                result.close()
                world.stream_ended()
        elif call.streamed:
            await self._send_piece(result)
            await self._end_stream()
        else:
            call.first_byte_at = perf_counter()
            if world.settings.include_extensions:
                result = client_format.add_extension(result, self._extension())
            await self._send_whole(200, result, self._call_headers(_JSON_TYPE))

    async def _send_stream(self, stream: Stream) -> None:
        """Pass pieces on; where the process must go, say so in the stream."""
        try:
            while data := await stream.next():
                if len(data) <= MAX_PIECE_BYTES:
                    await self._send_piece(data)
                    continue
                for start in range(0, len(data), MAX_PIECE_BYTES):
                    await self._send_piece(data[start : start + MAX_PIECE_BYTES])
        except asyncio.CancelledError:
            if self._client_left or not self._edge.draining:
                raise
            last = stream.fail(Unavailable("The gateway is shutting down and its time to finish streams is over."))
            if last:
                await self._send_piece(last)
        await self._end_stream()

    async def _send_piece(self, data: bytes) -> None:
        self._sending = True
        if not self._started:
            await self._start(200, self._call_headers((b"content-type", self._format.stream_content_type), stream=True))
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._sending = False
        self._last_sent_at = perf_counter()
        self._call.delivered_bytes += len(data)

    async def _end_stream(self) -> None:
        self._ended = True
        await self._send({"type": "http.response.body", "body": b""})

    def _extension(self) -> dict[str, Any]:
        call = self._call
        latency_ms = round((perf_counter() - call.received_at) * 1000, 2)
        return {"provider": call.provider, "latency_ms": latency_ms, "cost_usd": None}

    def _call_headers(self, content_type: tuple[bytes, bytes], *, stream: bool = False) -> Headers:
        call = self._call
        overhead_ms = max(0.0, perf_counter() - call.received_at - call.upstream_s) * 1000
        headers = [content_type, _CACHE_MISS, (b"x-gateway-overhead-ms", b"%.2f" % overhead_ms)]
        if call.provider:
            headers.append((b"x-provider", call.provider.encode()))
        if stream:
            headers += _STREAM_HEADERS
        return headers + call.reply_headers

    async def _read_body(self) -> bytes:
        """The request's body. Raises PayloadTooLarge, UnsupportedMediaType or RequestTimeout."""
        headers, limit = self._headers, self._world.settings.server.max_body_bytes
        media_type = headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if media_type != b"application/json" and not media_type.endswith(b"+json"):
            raise UnsupportedMediaType(
                f"Content-Type {media_type.decode('latin-1')[:100]!r} is not supported; send application/json."
            )
        coding = headers.get(b"content-encoding", b"identity").strip().lower()
        if coding != b"identity":
            raise UnsupportedMediaType("Compressed request bodies are not supported; send the JSON as it is.")
        said = headers.get(b"content-length", b"")
        length_bytes = int(said) if said.isdigit() and len(said) < 20 else -1
        if length_bytes > limit:
            raise _too_large(limit)
        message = await self._next_message()
        body: bytes = message.get("body", b"")
        # A server may say more_body and mean an empty piece; a body as long as announced is whole without asking.
        if len(body) == length_bytes or not message.get("more_body"):
            if len(body) > limit:
                raise _too_large(limit)
            return body
        return await self._read_pieces(body, limit)

    async def _read_pieces(self, first: bytes, limit: int) -> bytes:
        pieces, size_bytes = [first], len(first)
        while True:
            message = await self._next_message()
            pieces.append(message.get("body", b""))
            size_bytes += len(pieces[-1])
            if size_bytes > limit:
                raise _too_large(limit)
            if not message.get("more_body"):
                return b"".join(pieces)

    async def _next_message(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._client_left = True
            raise ClientClosed("The client left before it had sent its request.")
        return message

    # -- other pages ----------------------------------------------------------------------------------------------

    async def _serve_plain(self, client_format: Format | None) -> bool:
        """Answer a page; whether it was one that is not logged."""
        call, world = self._call, self._world
        if client_format is not None:
            await world.pipeline.admit(call)
            raise MethodNotAllowed(call.method, ("POST",))
        route, rest = self._find_plain()
        if route is None:
            await world.pipeline.admit(call)
            raise NotFound(f"There is nothing at {call.method} {call.path[:200]}.")
        if call.method not in route.methods and not (call.method == "HEAD" and "GET" in route.methods):
            raise MethodNotAllowed(call.method, route.methods)
        if route.admits:
            await world.pipeline.admit(call)
        page = await route.answer(call, rest)
        await self._send_whole(page.status, page.body, [(b"content-type", page.content_type)])
        return not route.admits

    def _find_plain(self) -> tuple[PlainRoute | None, str]:
        path, world = self._call.path, self._world
        exact = world.plain_routes.get(path)
        if exact is not None:
            return exact, ""
        for prefix, route in world.prefix_routes.items():
            if path.startswith(prefix):
                return route, path[len(prefix) :]
        return None, ""

    async def _preflight(self) -> None:
        """Tell a browser what it may send (Fetch, 4.8)."""
        wanted = self._headers.get(b"access-control-request-headers", b"authorization, content-type")
        headers = [
            (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
            (b"access-control-allow-headers", wanted if _is_token_list(wanted) else b"authorization, content-type"),
            (b"access-control-max-age", b"600"),
        ]
        await self._send_whole(204, b"", headers)

    # -- answers --------------------------------------------------------------------------------------------------

    async def _start(self, status: int, headers: Headers) -> None:
        self._started = True
        self._call.status = status
        headers.append((b"x-request-id", self._call.id.encode()))
        if b"origin" in self._headers:
            headers += self._cors_headers(self._headers[b"origin"])
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _send_whole(self, status: int, body: bytes, headers: Headers) -> None:
        if status != 204:
            headers.append((b"content-length", b"%d" % len(body)))
        if self._call.method == "HEAD":
            body = b""  # the length above is that of the GET (RFC 9110, 9.3.2)
        self._ended = True
        await self._start(status, headers)
        await self._send({"type": "http.response.body", "body": body})
        self._call.delivered_bytes = len(body)

    def _cors_headers(self, origin: bytes) -> Headers:
        allowed = self._world.settings.server.cors_origins
        if "*" in allowed:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", _EXPOSED)]
        if origin.decode("latin-1") in allowed:
            return [
                (b"access-control-allow-origin", origin),
                (b"vary", b"origin"),
                (b"access-control-expose-headers", _EXPOSED),
            ]
        return [(b"vary", b"origin")]

    async def _say_error(self, error: SwitchgearError) -> None:
        call = self._call
        call.error = error
        if self._client_left:
            call.status = ClientClosed.status
            return
        if self._started:  # comments have gone out while we waited: the error goes the same way
            await self._send_piece(self._format.write_stream_error(error))
            await self._end_stream()
            return
        headers = [_JSON_TYPE, *call.reply_headers, *error.headers()]
        if error.provider:
            headers.append((b"x-provider", error.provider.encode()))
        await self._send_whole(error.status, self._format.write_error(error), headers)

    async def _cancelled(self) -> None:
        """The client left, or the process must go; anything else that cancels us is not ours to swallow."""
        call = self._call
        if self._body_late:
            timeout_s = self._world.settings.server.body_timeout_s
            await self._say_error(RequestTimeout(f"The request body did not arrive within {timeout_s:g} s."))
        elif self._client_left:
            call.error = ClientClosed("The client left before the answer was complete.")
            call.status = ClientClosed.status
        elif self._edge.draining:
            await self._say_error(Unavailable("The gateway is shutting down and its time to finish calls is over."))
        else:
            call.error = ClientClosed("The call was cancelled.")
            call.status = ClientClosed.status
            raise asyncio.CancelledError

    # -- clients that leave, bodies that do not come, and silences -------------------------------------------------

    def look_after(self, now: float) -> None:
        """Called by the sweep: notice a client that leaves, break a silence, give up on a body that does not come."""
        call, server = self._call, self._world.settings.server
        if not self._body_read:
            if now - call.received_at > server.body_timeout_s:
                self._body_late = True
                self.cancel()
        elif self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._wait_for_departure())
        if not self._body_read or not call.streamed or self._sending:
            return
        if now - max(self._last_sent_at, call.received_at) > server.keepalive_s:
            self._last_sent_at = now
            self._silence_broken = asyncio.get_running_loop().create_task(self._break_silence())

    async def _break_silence(self) -> None:
        if not self._ended and not self._sending:  # since this task was made, the answer itself may have come
            await self._send_piece(self._format.keepalive)

    def cancel(self) -> None:
        """End this call now; what it says to its client depends on why."""
        if self._task is not None:
            self._task.cancel()

    async def _wait_for_departure(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._client_left = True
        self.cancel()

    def _stop_watching(self) -> None:
        self._task = None
        if self._watching is not None:
            self._watching.cancel()


def _path(scope: Scope) -> str:
    """The path below where the application is mounted (ASGI's ``root_path``)."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is larger than {limit} bytes (server.max_body_bytes).")


def _is_token_list(value: bytes) -> bool:
    return len(value) <= 2000 and re.fullmatch(rb"[A-Za-z0-9\-_, ]*", value) is not None
