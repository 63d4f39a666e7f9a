"""Everything the fake can do wrong, seen from a plain socket."""

import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.fake import Accepted, ConnectionClosed, FakeProvider, Finished, Script, SocketClosed

ASK = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}
DONE = b"data: [DONE]\n\n"


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def fake(provider: FakeProvider) -> FakeProvider:
    provider.clear()
    return provider


def request_bytes(body: dict[str, Any]) -> bytes:
    encoded = json.dumps(body).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (
        len(encoded),
        encoded,
    )


@contextmanager
def asking(fake: FakeProvider, *, stream: bool = True) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", fake.port), timeout=5) as client:
        client.sendall(request_bytes(ASK | {"stream": stream}))
        yield client


def read_to_end(client: socket.socket) -> tuple[bytes, str]:
    """All bytes, and how they ended: close, reset or silence."""
    received = b""
    client.settimeout(0.3)
    while True:
        try:
            data = client.recv(65536)
        except ConnectionResetError:
            return received, "reset"
        except TimeoutError:
            return received, "silence"
        if not data:
            return received, "close"
        received += data


def body_of(received: bytes) -> bytes:
    """The body of a reply, unchunked as far as it goes."""
    head, _, rest = received.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head:
        return rest
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


def post(fake: FakeProvider, **body: Any) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=5)
    connection.request("POST", "/v1/chat/completions", json.dumps(ASK | body))
    return connection.getresponse()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("n_bytes", [0, 1, 100])
def test_a_stream_is_cut_at_the_very_byte(fake: FakeProvider, n_bytes: int, how: Any) -> None:
    fake.script("m", Script(cut_after_bytes=n_bytes, cut=how))
    with asking(fake) as client:
        received, end = read_to_end(client)
    assert (len(body_of(received)), end) == (n_bytes, how)
    assert fake.wait_for(Finished).outcome == "cut"


def test_a_cut_may_leave_the_client_waiting(fake: FakeProvider) -> None:
    fake.script("m", Script(cut_after_bytes=50, cut="hang"))
    with asking(fake) as client:
        received, end = read_to_end(client)
        assert (len(body_of(received)), end) == (50, "silence")
        assert fake.open_attempts() == [fake.last_request().attempt]
    assert fake.wait_for(Finished).outcome == "abandoned"


def test_a_cut_past_the_end_only_leaves_the_terminator_out(fake: FakeProvider) -> None:
    fake.script("m", Script(cut_after_bytes=10**6))
    with asking(fake) as client:
        received, end = read_to_end(client)
    assert end == "close"
    assert received.endswith(DONE + b"\r\n")


def test_a_reply_shorter_than_promised(fake: FakeProvider) -> None:
    fake.script("m", Script(cut_after_bytes=20))
    with pytest.raises(http.client.IncompleteRead):
        post(fake).read()


def test_done_may_be_missing(fake: FakeProvider) -> None:
    fake.script("m", Script(omit_done=True))
    assert DONE not in post(fake, stream=True).read()


@pytest.mark.parametrize(
    ("script", "field", "expected"),
    [
        (Script(framing="close"), "connection", "close"),
        (Script(framing="content-length"), "transfer-encoding", None),
        (Script(framing="chunked"), "transfer-encoding", "chunked"),
    ],
)
def test_any_framing_carries_the_same_stream(
    fake: FakeProvider, script: Script, field: str, expected: str | None
) -> None:
    fake.script("m", script)
    response = post(fake, stream=True)
    assert response.headers[field] == expected
    assert response.read().endswith(DONE)


def test_raw_bytes_replace_the_wire(fake: FakeProvider) -> None:
    fake.script("m", Script(raw_body=b"\xff\x00 not json"))
    assert post(fake).read() == b"\xff\x00 not json"
    fake.script("m", Script(raw_frames=[b"data: {bad\n\n", b": comment\r\n\r\n"]))
    assert post(fake, stream=True).read() == b"data: {bad\n\n: comment\r\n\r\n"


def test_a_raw_head_is_sent_as_it_is(fake: FakeProvider) -> None:
    fake.script("m", Script(raw_head=b"HTTP/1.1 200\nX: y\r\n\r\n", raw_body=b"", cut_after_bytes=0))
    with asking(fake, stream=False) as client:
        assert read_to_end(client) == (b"HTTP/1.1 200\nX: y\r\n\r\n", "close")


def test_a_scripted_status_may_have_a_raw_body(fake: FakeProvider) -> None:
    fake.script("m", Script(status=502, raw_body=b"<html>", headers={"Content-Type": "text/html"}))
    response = post(fake)
    assert (response.status, response.headers["content-type"], response.read()) == (
        502,
        "text/html",
        b"<html>",
    )


def test_a_redirect_points_elsewhere(fake: FakeProvider) -> None:
    fake.script("m", Script(redirect_to="http://169.254.169.254/"))
    response = post(fake)
    assert (response.status, response.headers["location"]) == (307, "http://169.254.169.254/")


@pytest.mark.parametrize("stream", [False, True])
def test_gzip_is_sent_unasked(fake: FakeProvider, stream: bool) -> None:
    fake.script("m", Script(gzip=True, text="squeezed"))
    response = post(fake, stream=stream)
    assert response.headers["content-encoding"] == "gzip"
    assert b"squeezed" in gzip.decompress(response.read())


def test_headers_may_be_a_flood(fake: FakeProvider) -> None:
    fake.script("m", Script(header_flood_bytes=200_000))
    with asking(fake, stream=False) as client:
        received, _ = read_to_end(client)
    assert 200_000 < len(received.partition(b"\r\n\r\n")[0]) < 202_000


def test_a_line_may_never_end(fake: FakeProvider) -> None:
    fake.script("m", Script(never_ending_line_bytes=2_000_000))
    body = post(fake, stream=True).read()
    assert (len(body), body.count(b"\n"), body[:8]) == (2_000_000, 0, b"data: aa")


@pytest.mark.parametrize("status", [100, 103])
def test_an_informational_reply_comes_first(fake: FakeProvider, status: int) -> None:
    fake.script("m", Script(informational_first=status))
    with asking(fake, stream=False) as client:
        received, _ = read_to_end(client)
    first, second, _ = received.split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 %d" % status)
    assert second.startswith(b"HTTP/1.1 200")


def test_bytes_come_one_by_one(fake: FakeProvider) -> None:
    fake.script("m", Script(text="é€😀", split=1))
    with asking(fake) as client:
        received, _ = read_to_end(client)
    sizes = {line for line in received.split(b"\r\n\r\n", 1)[1].split(b"\r\n")[::2] if line}
    assert sizes == {b"1", b"0"}
    assert "é€😀".encode() in body_of(received)


def test_a_list_of_sizes_cuts_across_frames(fake: FakeProvider) -> None:
    fake.script("m", Script(raw_frames=[b"aaaa", b"bbbb"], split=[3, 3]))
    with asking(fake) as client:
        received, _ = read_to_end(client)
    assert received.endswith(b"3\r\naaa\r\n3\r\nabb\r\n2\r\nbb\r\n0\r\n\r\n")


def test_delays_are_kept(fake: FakeProvider) -> None:
    script = Script(
        chunks=["a", "b"],
        delay_before_headers_s=0.1,
        delay_before_first_byte_s=0.1,
        delay_between_chunks_s=0.05,
    )
    fake.script("m", script)
    start_s = time.monotonic()
    response = post(fake, stream=True)
    head_s = time.monotonic() - start_s
    first_byte = response.read(1)
    first_byte_s = time.monotonic() - start_s
    response.read()
    # Role, a, b, finish and [DONE]: five frames, so four pauses.
    whole_s = time.monotonic() - start_s
    assert first_byte == b"d"
    assert 0.1 <= head_s < 0.2
    assert 0.2 <= first_byte_s < 0.4
    assert 0.4 <= whole_s < 0.8


def test_headers_may_never_come(fake: FakeProvider) -> None:
    fake.script("m", Script(hang_before_headers=True))
    with asking(fake) as client:
        assert read_to_end(client) == (b"", "silence")


def test_a_hundred_thousand_chunks_can_be_sent(fake: FakeProvider) -> None:
    fake.script("m", Script(chunks=["x "], repeat_chunks=100_000))
    assert post(fake, stream=True).read().count(b'"content":"x "') == 100_000


def test_a_connection_promised_to_stay_may_close(fake: FakeProvider) -> None:
    fake.script("m", Script(close_after_reply=True))
    with asking(fake, stream=False) as client:
        received, end = read_to_end(client)
    assert b"connection: close" not in received.lower()
    assert end == "close"


def test_a_connection_may_prove_stale_when_used_again(fake: FakeProvider) -> None:
    fake.script("m", Script(close_on_reuse=True))
    with asking(fake, stream=False) as client:
        assert read_to_end(client)[1] == "silence"
        client.sendall(request_bytes(ASK))
        assert read_to_end(client) == (b"", "close")
    # What it never read it never accepted.
    assert len(fake.requests()) == 1


def test_idle_connections_are_closed_on_demand(fake: FakeProvider) -> None:
    fake.script("m", [Script(), Script(hang_before_headers=True)])
    with asking(fake) as idle, asking(fake) as busy:
        fake.wait_for(Accepted, count=2)
        assert fake.close_idle_connections() == 1
        assert {read_to_end(idle)[1], read_to_end(busy)[1]} == {"close", "silence"}


def test_requests_on_one_connection_share_it(fake: FakeProvider) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=5)
    for _ in range(3):
        connection.request("POST", "/v1/chat/completions", json.dumps(ASK))
        connection.getresponse().read()
    assert len({request.connection for request in fake.requests("m")}) == 1
    connection.close()


def test_it_reads_slowly_when_told(fake: FakeProvider) -> None:
    fake.read_at(1_000_000)
    start_s = time.monotonic()
    message = {"role": "user", "content": "x" * 300_000}
    assert post(fake, messages=[message], max_tokens=1).status == 200
    assert time.monotonic() - start_s > 0.3


def test_what_is_not_http_is_never_accepted(fake: FakeProvider) -> None:
    with socket.create_connection(("127.0.0.1", fake.port), timeout=5) as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert read_to_end(client)[0].startswith(b"HTTP/1.1 400")
    assert fake.wait_for(ConnectionClosed).by == "us"
    assert fake.requests() == []


def test_every_connection_is_reset_on_demand(fake: FakeProvider) -> None:
    fake.script("m", Script(hang_before_headers=True))
    with asking(fake) as busy:
        fake.wait_for(Accepted)
        assert fake.close_all_connections() == 1
        assert read_to_end(busy) == (b"", "reset")
    # We left, not the peer.
    assert fake.wait_for(Finished).outcome == "cut"
    assert fake.journal(SocketClosed) == []
