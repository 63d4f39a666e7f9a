"""The journal tells the truth: what was accepted, what it costs, and when the peer left."""

import asyncio
import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fake import (
    Accepted,
    ConnectionClosed,
    ConnectionOpened,
    FakeProvider,
    Finished,
    HeadersSent,
    Script,
    SocketClosed,
    Usage,
)

ASK = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(durable=True) as provider:
        yield provider


@pytest.fixture
def fake(provider: FakeProvider) -> FakeProvider:
    provider.clear()
    return provider


def send(fake: FakeProvider, **body: Any) -> socket.socket:
    """Ask on a new connection and let the caller do with it what it likes."""
    client = socket.create_connection(("127.0.0.1", fake.port), timeout=5)
    encoded = json.dumps(ASK | body).encode()
    head = b"POST /v1/chat/completions?x=1 HTTP/1.1\r\nAuthorization: Bearer sk-1\r\nContent-Length: %d\r\n\r\n"
    client.sendall(head % len(encoded) + encoded)
    return client


def ask(fake: FakeProvider, **body: Any) -> bytes:
    """Ask and read the whole answer."""
    connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=5)
    connection.request("POST", "/v1/chat/completions", json.dumps(ASK | body))
    answer = connection.getresponse().read()
    connection.close()
    return answer


def test_a_request_leaves_its_whole_story(fake: FakeProvider) -> None:
    answer = ask(fake)
    fake.wait_for(ConnectionClosed)
    story = [type(entry) for entry in fake.journal()]
    assert story == [ConnectionOpened, Accepted, HeadersSent, Finished, ConnectionClosed]
    times = [entry.t for entry in fake.journal()]
    assert times == sorted(times)
    assert abs(times[0] - time.monotonic()) < 2
    [finished] = fake.finished("m")
    assert (finished.outcome, finished.status, finished.bytes_sent) == ("complete", 200, len(answer))
    assert (finished.input_tokens, finished.output_tokens) == (2, 4)


def test_a_request_is_kept_verbatim(fake: FakeProvider) -> None:
    with send(fake, temperature=0.5):
        request = fake.wait_for(Accepted)
    assert (request.method, request.path, request.model) == ("POST", "/v1/chat/completions?x=1", "m")
    assert request.header("authorization") == "Bearer sk-1"
    assert request.json["temperature"] == 0.5


def test_whoever_saw_the_reply_finds_it_finished(fake: FakeProvider) -> None:
    for count in range(1, 101):
        ask(fake, stream=bool(count % 2))
        assert len(fake.journal(Finished)) == count


@pytest.mark.parametrize(
    "script",
    [
        Script(hang_before_headers=True),
        Script(delay_before_headers_s=30),
        Script(delay_before_first_byte_s=30),
        Script(delay_between_chunks_s=30),
        Script(cut_after_bytes=10, cut="hang"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_peer_that_leaves_is_noticed_at_once(fake: FakeProvider, script: Script, stream: bool) -> None:
    fake.script("m", script)
    client = send(fake, stream=stream)
    request = fake.wait_for(Accepted)
    time.sleep(0.02)
    left_s = time.monotonic()
    client.close()
    if fake.finished() and not stream:
        return  # a reply has no second chunk to wait for
    closed = fake.wait_for(SocketClosed)
    assert closed.attempt == request.attempt
    assert closed.t - left_s < 0.1
    assert fake.wait_for(Finished).outcome == "abandoned"
    assert fake.open_attempts() == []


def test_a_peer_that_leaves_is_noticed_while_it_does_not_read(fake: FakeProvider) -> None:
    fake.script("m", Script(chunks=["x" * 1000], repeat_chunks=50_000))
    client = send(fake, stream=True)
    fake.wait_for(HeadersSent)
    time.sleep(0.1)
    left_s = time.monotonic()
    client.close()
    assert fake.wait_for(SocketClosed).t - left_s < 0.1


def test_a_stalled_reader_stalls_the_provider(fake: FakeProvider) -> None:
    fake.script("m", Script(chunks=["x" * 1000], repeat_chunks=50_000))
    with send(fake, stream=True):
        fake.wait_for(HeadersSent)
        time.sleep(0.2)
        assert len(fake.open_attempts()) == 1
    closed = fake.wait_for(SocketClosed)
    assert closed.bytes_sent < 20_000_000


def test_half_a_stream_bills_half_the_tokens(fake: FakeProvider) -> None:
    fake.script("m", Script(chunks=["one ", "two ", "three ", "four "], delay_between_chunks_s=0.1))
    with send(fake, stream=True) as client:
        received = b""
        while b"two" not in received:
            received += client.recv(65536)
    finished = fake.wait_for(Finished)
    assert (finished.outcome, finished.input_tokens, finished.output_tokens) == ("abandoned", 2, 2)


def test_a_scripted_usage_is_billed_pro_rata(fake: FakeProvider) -> None:
    usage = Usage(input_tokens=100, output_tokens=1000)
    fake.script("m", Script(chunks=["a"] * 4, usage=usage, delay_between_chunks_s=0.1))
    with send(fake, stream=True) as client:
        received = b""
        while received.count(b'"content":"a"') < 3:
            received += client.recv(65536)
    finished = fake.wait_for(Finished)
    assert (finished.input_tokens, finished.output_tokens) == (100, 750)


def test_a_reply_is_billed_whole_once_it_is_generated(fake: FakeProvider) -> None:
    fake.script("m", [Script(cut_after_bytes=10), Script(delay_before_headers_s=30)])
    send(fake).close()
    cut = fake.wait_for(Finished)
    assert cut.output_tokens in (0, 4)  # the close may win the race against the first byte
    client = send(fake)
    fake.wait_for(Accepted, count=2)
    client.close()
    assert fake.wait_for(Finished, count=2).output_tokens == 0


def test_a_refusal_bills_nothing(fake: FakeProvider) -> None:
    fake.script("m", Script(status=503))
    ask(fake)
    [finished] = fake.finished()
    assert (finished.outcome, finished.status, finished.input_tokens, finished.output_tokens) == (
        "refused",
        503,
        0,
        0,
    )


def test_clear_forgets_the_past_but_not_the_count(fake: FakeProvider) -> None:
    ask(fake)
    before = fake.last_request().attempt
    fake.clear()
    assert fake.journal() == []
    ask(fake)
    assert fake.last_request().attempt == before + 1


def test_connections_open_are_counted(fake: FakeProvider) -> None:
    with send(fake), send(fake):
        fake.wait_for(Finished, count=2)
        assert fake.connections_open() == 2
    fake.wait_for(ConnectionClosed, count=2)
    assert fake.connections_open() == 0


def test_waiting_in_vain_shows_the_journal(fake: FakeProvider) -> None:
    ask(fake)
    with pytest.raises(TimeoutError, match="SocketClosed was never written"):
        fake.wait_for(SocketClosed, timeout_s=0.05)


async def test_a_coroutine_waits_without_blocking(fake: FakeProvider) -> None:
    waiting = asyncio.create_task(fake.until(lambda entry: isinstance(entry, Finished)))
    await asyncio.to_thread(ask, fake)
    assert (await waiting).outcome == "complete"
