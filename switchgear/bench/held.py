"""Memory per open stream: hundreds of streams held open at once, and how much each more of them adds."""

import socket
import time
from collections.abc import Sequence

from switchgear.bench import payloads, procfs
from switchgear.bench.gateway import Gateway, Place

_BATCH = 100
_MOST = 500
# The mock keeps a held stream open for 100 s; a slow peer gets fewer streams, not closed ones.
_PATIENCE_S = 25.0
_FIRST_WORD = b"word01"


def hold_open(gateway: Gateway, place: Place, pid: int) -> float | None:
    """Open streams in batches of 100, up to 500, and return KB of resident memory per stream.

    It is the slope from the first batch to the last: what is allocated once for all is left out.
    None where fewer than two batches could be opened in time.
    """
    request = request_bytes(gateway, place)
    sockets: list[socket.socket] = []
    points: list[tuple[int, int]] = []
    give_up_s = time.monotonic() + _PATIENCE_S
    try:
        while len(sockets) < _MOST and time.monotonic() < give_up_s:
            batch = [_send(place.port, request) for _ in range(_BATCH)]
            sockets += batch
            for stream in batch:
                _wait_for_first_word(stream)
            points.append((len(sockets), procfs.rss_kb(pid)))
    except OSError:
        pass  # what was opened until then has been noted
    finally:
        for stream in sockets:
            stream.close()
    return slope(points)


def slope(points: Sequence[tuple[int, int]]) -> float | None:
    """Return the growth per stream from the first point to the last, or None with fewer than two."""
    if len(points) < 2:
        return None
    (first_n, first_kb), (last_n, last_kb) = points[0], points[-1]
    return (last_kb - first_kb) / (last_n - first_n)


def request_bytes(gateway: Gateway, place: Place) -> bytes:
    """Return a whole HTTP request for a stream that is held open."""
    body = payloads.body(gateway.model, payloads.HELD).encode()
    headers = gateway.request_headers(place) | {"Host": "127.0.0.1", "Content-Length": str(len(body))}
    lines = [
        f"POST {gateway.path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


def _send(port: int, request: bytes) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
    stream.sendall(request)
    return stream


def _wait_for_first_word(stream: socket.socket) -> None:
    seen = b""
    while _FIRST_WORD not in seen:
        piece = stream.recv(65536)
        if not piece:
            raise ConnectionError("the stream was closed before its first word")
        seen += piece
