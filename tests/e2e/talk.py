"""A client with no opinions: HTTP as bytes and values, so that a test sees what really came."""

import contextlib
import http.client
import json
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
RST_ON_CLOSE = struct.pack("ii", 1, 0)


class Listening(Protocol):
    """Anything with a port on 127.0.0.1."""

    @property
    def port(self) -> int: ...


class Answer(NamedTuple):
    """A whole answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object; fails if there is none in OpenAI's shape."""
        error: dict[str, Any] = self.json["error"]
        assert {"message", "type", "param", "code"} <= error.keys()
        return error


def ask(
    to: Listening,
    method: str,
    path: str,
    body: Any = None,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 20.0,
) -> Answer:
    """One request on a connection of its own; a body that is not bytes is sent as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", to.port, timeout=timeout_s)
    sent = {"Content-Type": "application/json"} if body is not None else {}
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    payload = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method, path, payload, sent | dict(headers or {}))
        reply = connection.getresponse()
        named = {name.lower(): value for name, value in reply.getheaders()}
        return Answer(reply.status, named, reply.read())
    finally:
        connection.close()


def chat(to: Listening, model: str, *, key: str | None = None, headers: Any = None, **fields: Any) -> Answer:
    """One chat completion."""
    return ask(to, "POST", CHAT, {"model": model, "messages": HELLO} | fields, key=key, headers=headers)


def frames(body: bytes) -> list[bytes]:
    """The frames of a stream, without the blank lines that end them; fails on an unfinished one."""
    *whole, rest = body.split(b"\n\n")
    assert rest == b"", f"an unfinished frame: {rest!r}"
    return whole


def payloads(body: bytes) -> list[Any]:
    """What the data frames of a stream hold, decoded; ``[DONE]`` stays text. Comments are left out."""
    data = [frame.removeprefix(b"data: ") for frame in frames(body) if not frame.startswith(b":")]
    return ["[DONE]" if one == b"[DONE]" else json.loads(one) for one in data]


def text_of(said: list[Any]) -> str:
    """The text of the first choice of a stream's payloads."""
    chunks = [one for one in said if isinstance(one, dict) and "choices" in one]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"] if choice["index"] == 0]
    return "".join(delta.get("content") or "" for delta in deltas)


def the_one_error(body: bytes) -> dict[str, Any]:
    """The in-band error that ends a failed stream: the last frame, the only one of its kind, and no ``[DONE]``."""
    said = payloads(body)
    assert "[DONE]" not in said
    errors = [one for one in said if "error" in one]
    assert errors == said[-1:], f"{len(errors)} errors in {said}"
    error: dict[str, Any] = errors[0]["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    return error


def request_bytes(fields: Mapping[str, Any], *, key: str | None = None, more: str = "", path: str = CHAT) -> bytes:
    """A chat request as it goes over the wire; ``more`` is further header lines, each with its CRLF."""
    body = json.dumps({"messages": HELLO, **fields}).encode()
    auth = f"Authorization: Bearer {key}\r\n" if key else ""
    head = f"POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n{auth}{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Wire:
    """A bare connection."""

    def __init__(self, to: Listening, *, receive_buffer_bytes: int | None = None, timeout_s: float = 10.0) -> None:
        self.socket = socket.socket()
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(timeout_s)
        self.socket.connect(("127.0.0.1", to.port))

    def send(self, data: bytes) -> None:
        """Write."""
        self.socket.sendall(data)

    def read_until(self, mark: bytes) -> bytes:
        """All that came up to and including ``mark``; what came with it after that as well."""
        received = b""
        while mark not in received:
            data = self.socket.recv(65536)
            assert data, f"closed before {mark!r}: {received!r}"
            received += data
        return received

    def read_all(self) -> bytes:
        """All until the other side closes."""
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(65536):
                received += data
        return received

    def leave(self) -> float:
        """Close; when that was, in seconds of ``time.monotonic``."""
        left_at = time.monotonic()
        self.socket.close()
        return left_at

    def reset(self) -> float:
        """Close with RST; when that was."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        return self.leave()


@contextlib.contextmanager
def wire(to: Listening, **options: Any) -> Iterator[Wire]:
    """A bare connection for a ``with`` block."""
    open_wire = Wire(to, **options)
    try:
        yield open_wire
    finally:
        open_wire.socket.close()


def unchunked(received: bytes) -> bytes:
    """The body of an answer as far as it came, its transfer coding removed."""
    head, _, rest = received.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body, rest = body + rest[:length], rest[length + 2 :]
    return body
