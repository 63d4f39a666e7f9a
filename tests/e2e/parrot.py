"""The server of Parrot, the imaginary vendor of docs/examples/my_provider.py: a few lines in a thread."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

KEY = "feather"


class Parrot(ThreadingHTTPServer):
    """It says back what it was told; ``heard`` keeps the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, Parrot)
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.heard.append(asked)
        if self.headers["authorization"] != f"Bearer {KEY}":
            self._answer(401, [b"not my human"])
            return
        words = asked["turns"][-1]["says"].split()
        lines = [json.dumps({"say": f"{word} "}).encode() + b"\n" for word in words]
        lines.append(json.dumps({"end": "stop", "heard": len(words), "said": len(words)}).encode() + b"\n")
        self._answer(200, lines[:-1] if "hush" in words else lines)

    def _answer(self, status: int, pieces: list[bytes]) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/x-ndjson")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in [*pieces, b""]:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a test's output is for failures."""


@contextmanager
def parrot() -> Iterator[Parrot]:
    """A running one."""
    with Parrot() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
