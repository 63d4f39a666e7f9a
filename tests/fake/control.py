"""A control port: one JSON value in, one out, on an HTTP server too small to have options."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

Handler = Callable[[str, Any], Awaitable[object]]


async def listen_for_control(handler: Handler) -> int:
    """Serve ``POST /<verb>`` with a JSON body by ``handler(verb, value)``; return the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            verb, value = await _read_order(reader)
            writer.write(await _answer(handler, verb, value))
            await writer.drain()
        writer.close()

    listener = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(serve, sock=listener)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _read_order(reader: asyncio.StreamReader) -> tuple[str, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first_line, *lines = head.split("\r\n")
    lengths = [int(line[15:]) for line in lines if line.lower().startswith("content-length:")]
    body = await reader.readexactly(lengths[0] if lengths else 0)
    return first_line.split(" ")[1].lstrip("/"), msgspec.json.decode(body or b"null")


async def _answer(handler: Handler, verb: str, value: Any) -> bytes:
    try:
        status, body = "200 OK", msgspec.json.encode(await handler(verb, value))
    except Exception as error:
        # The test at the other end must see what it did wrong, and the tool must live on.
        status, body = "500 Failed", msgspec.json.encode(f"{type(error).__name__}: {error}")
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
        status.encode(),
        len(body),
        body,
    )
