"""A gateway is checked before it is measured."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from switchgear.bench import asking, gateway, payloads

ANSWER = {"choices": [{"message": {"content": payloads.ANSWER}}], "usage": {"total_tokens": 406}}


class Stub(BaseHTTPRequestHandler):
    asks_for_key = True
    chunks = payloads.CHUNKS

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_known = self.headers["Authorization"] == f"Bearer {gateway.KEY}"
        if self.asks_for_key and not is_known:
            self._reply(401, "{}")
        elif request.get("stream"):
            words = [{"choices": [{"delta": {"content": f" word{n:02d} of it"}}]} for n in range(1, self.chunks + 1)]
            self._reply(200, "".join(f"data: {json.dumps(word)}\n\n" for word in words) + "data: [DONE]\n\n")
        else:
            self._reply(200, json.dumps(ANSWER))

    def _reply(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def place() -> Iterator[gateway.Place]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield gateway.Place(folder=Path(), port=server.server_port, upstream_port=1)
        server.shutdown()
        thread.join()


def test_a_gateway_that_answers_rightly_passes(place: gateway.Place) -> None:
    asking.check(gateway.own("1"), place)


def test_a_gateway_that_asks_for_no_key_is_refused(place: gateway.Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stub, "asks_for_key", False)
    with pytest.raises(asking.NotRightError, match="a wrong key was answered with 200"):
        asking.check(gateway.own("1"), place)


def test_a_gateway_that_loses_a_chunk_is_refused(place: gateway.Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stub, "chunks", 49)
    with pytest.raises(asking.NotRightError, match="49 chunks"):
        asking.check(gateway.own("1"), place)
