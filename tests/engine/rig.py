"""What the engine's tests share: requests, servers whose every byte is the test's, and a look into the pools."""

import asyncio
import contextlib
import json
import re
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import trustme

from switchgear.app import build_provider
from switchgear.core.protocols import Call, Provider
from switchgear.core.settings import ProviderSettings, Secret, TimeoutSettings
from switchgear.core.types import Endpoint, HttpOrigin, HttpRequest
from switchgear.engine.attempt import Upstream
from switchgear.engine.slots import Slots
from switchgear.engine.streaming import Stream
from switchgear.engine.transport import Pool, Transport

CHAT_PATH = "/v1/chat/completions"
KEY = "canary-5e1fb0a7d2c94e33"
"""Every provider's key; it must turn up nowhere but in the headers of requests to it."""
MAX_BYTES = 64 << 20
PROMISED_CLOSE_S = 0.25
"""A call that is given up lets go of its provider's socket within this time."""
PROMISED_DEADLINE_S = 1.0
"""A deadline fires within this time of its value."""
RST_ON_CLOSE = struct.pack("ii", 1, 0)


def patient(**changes: float) -> TimeoutSettings:
    """Deadlines that no test reaches, but for those it names."""
    usual = {"connect_s": 20.0, "first_byte_s": 20.0, "between_chunks_s": 20.0, "total_s": 40.0}
    return TimeoutSettings(**usual | changes)


PATIENT = patient()


# --- asking ------------------------------------------------------------------------------------------------------


def chat_body(model: str = "m", *, stream: bool = False, text: str = "hello", **more: Any) -> bytes:
    """A chat completion request as a client writes it."""
    asked = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return json.dumps(asked | ({"stream": True} if stream else {})).encode()


def post(url: str, model: str = "m", **more: Any) -> HttpRequest:
    """That request, on its way to ``url`` (scheme, host and port)."""
    return posting(url, chat_body(model, **more))


def posting(url: str, body: bytes) -> HttpRequest:
    """Any body, on its way to ``url``."""
    return HttpRequest(Endpoint.to("POST", url + CHAT_PATH, {"content-type": "application/json"}), body)


def get(url: str) -> HttpRequest:
    """The smallest of requests."""
    return HttpRequest(Endpoint.to("GET", url + "/v1/models", {}))


def origin_of(url: str) -> HttpOrigin:
    return get(url).endpoint.origin


def new_call() -> Call:
    return Call("req_test", "openai", "POST", CHAT_PATH, {})


async def all_of(stream: Stream) -> bytes:
    """What a client gets of it, to its end."""
    pieces = []
    while data := await stream.next():
        pieces.append(data)
    return b"".join(pieces)


def chunks_of(stream: bytes) -> list[Any]:
    """The JSON of each ``data:`` frame; ``[DONE]`` as that text."""
    frames = [frame.removeprefix(b"data: ") for frame in stream.split(b"\n\n") if frame.startswith(b"data:")]
    return [frame.decode() if frame == b"[DONE]" else json.loads(frame) for frame in frames]


def text_of(stream: bytes) -> str:
    """What the first choice of a stream of chunks says."""
    chunks = [chunk for chunk in chunks_of(stream) if chunk != "[DONE]" and chunk.get("choices")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


# --- looking -----------------------------------------------------------------------------------------------------


def pool_of(transport: Transport, url: str) -> Pool:
    return transport._pools[origin_of(url)]


def leaks(transport: Transport) -> dict[str, int]:
    """What it still holds, by name; empty once everything has been let go."""
    held = {"busy": len(transport._busy)}
    for origin, pool in transport._pools.items():
        held[f"{origin.authority} open"] = pool.open_count
        held[f"{origin.authority} idle"] = len(pool.idle)
        held[f"{origin.authority} waiting"] = sum(not waiter.done() for waiter in pool.waiting)
    return {name: count for name, count in held.items() if count}


async def until(
    condition: Callable[[], bool], what: Callable[[], object] = lambda: "it", timeout_s: float = 5.0
) -> None:
    """Wait until it holds; AssertionError with ``what()`` where it does not come to."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"never came to be: {what()}"
        await asyncio.sleep(0.002)


async def ended(task: "asyncio.Task[Any]") -> BaseException | None:
    """Cancel a task and wait; what it raised, None for CancelledError."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return None
    except BaseException as error:
        return error
    return None


# --- answering ---------------------------------------------------------------------------------------------------


class Peer:
    """A connection at the server's side, its bytes in the hands of the test."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next request, head and body. Raises IncompleteReadError where the other side has left."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        return head + (await self.reader.readexactly(int(length[1])) if length else b"")

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def close(self) -> None:
        """FIN, after what was sent."""
        self.writer.close()

    async def reset(self) -> None:
        """RST, after what was sent has left this process."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the other side has closed."""
        with contextlib.suppress(OSError):
            while await self.reader.read(65_536):
                pass


Serve = Callable[[Peer], Awaitable[None]]


class RawServer:
    """A server on 127.0.0.1 whose every connection runs one coroutine of the test's."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        self.port = 0
        self.connections = 0
        """How many were accepted."""
        self.live = 0
        """How many are still open."""

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def raw_server(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Run ``serve`` for each connection; it is cancelled, and the connection closed, at the end."""
    server, tasks = RawServer("https" if tls else "http"), set[asyncio.Task[Any]]()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        server.live += 1
        try:
            await serve(Peer(server.connections, reader, writer))
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            server.live -= 1
            tasks.discard(task)
            writer.close()

    listening = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls, limit=1 << 26)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await until(lambda: not tasks)


def answering(*answers: bytes, then: Callable[[Peer], Awaitable[None]] = Peer.gone) -> Serve:
    """Answer the first requests on a connection with these bytes, one each; after the last comes ``then``."""

    async def serve(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.send(answer)
        await then(peer)

    return serve


def always(answer: bytes) -> Serve:
    """Answer every request with these bytes."""

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer)

    return serve


async def silent(peer: Peer) -> None:
    """Read one request and never answer."""
    await peer.request()
    await peer.gone()


def reply(body: bytes = b"{}", *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole HTTP answer."""
    lines = [b"HTTP/1.1 " + status, b"content-type: application/json", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def server_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """A server's context with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


# --- upstreams ---------------------------------------------------------------------------------------------------


def provider_of(kind: str, url: str, name: str = "", **settings: Any) -> Provider:
    """A provider of this kind at ``url``."""
    path = "/v1" if kind == "openai_compatible" else ""
    usual: dict[str, Any] = {"kind": kind, "base_url": url + path, "api_key": Secret(KEY)}
    return build_provider(name or kind, ProviderSettings(**usual | settings))


def upstream_of(
    kind: str,
    url: str,
    name: str = "",
    *,
    timeouts: TimeoutSettings = PATIENT,
    slots: Slots | None = None,
    **settings: Any,
) -> Upstream:
    """That provider with what a worker keeps for it."""
    return Upstream(provider_of(kind, url, name, **settings), timeouts, slots or Slots(0, 0, 0.0))
