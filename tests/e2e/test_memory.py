"""Guarantee 13, short: clients that stop reading cost bounded memory, and the provider is made to wait."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import KEY
from tests.e2e.gateway import GatewayProcess
from tests.e2e.talk import Wire, chat, request_bytes
from tests.fake import FakeProvider, Script

READERS = 50
PER_READER_BYTES = 256 * 1024
# The allocators keep pages that were freed: two of them, in several arenas. It was measured at 9 to 15 MiB.
KEPT_BYTES = 20 << 20
STREAM_BYTES = 64 << 20
CHUNK = "x" * 30_000


@pytest.fixture
def gateway(gateway_config: dict[str, Any], fake: FakeProvider) -> Iterator[GatewayProcess]:
    """One of its own: the memory of one that has served a thousand tests says little."""
    with GatewayProcess(gateway_config) as gateway:
        yield gateway


def test_readers_that_stop_cost_little_and_pause_the_provider(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("flood", Script(chunks=[CHUNK], repeat_chunks=STREAM_BYTES // len(CHUNK)))
    fake.script("sip", Script(chunks=[CHUNK], repeat_chunks=20))
    for _ in range(20):
        chat(gateway, "up/sip", key=KEY, stream=True)
    before = gateway.rss_bytes()
    readers = [Wire(gateway, receive_buffer_bytes=4096) for _ in range(READERS)]
    try:
        for reader in readers:
            reader.send(request_bytes({"model": "up/flood", "stream": True}, key=KEY))
        for reader in readers:
            reader.read_until(b"xxxx")
        settled = _settled(gateway)
        assert settled - before <= READERS * PER_READER_BYTES + KEPT_BYTES, f"{(settled - before) >> 10} KiB"
        assert len(fake.open_attempts()) == READERS
        assert not fake.finished("flood")
        # Others are served as ever, and one that reads on gets more than was ever held for it.
        assert chat(gateway, "m", key=KEY).status == 200
        assert _read_bytes(readers[0], 8 << 20) >= 8 << 20
    finally:
        for reader in readers:
            reader.leave()
    fake.wait_for(lambda entry: getattr(entry, "outcome", "") == "abandoned", count=READERS)
    time.sleep(0.3)
    held = settled - max(before, gateway.rss_bytes())
    assert held <= READERS * PER_READER_BYTES, f"{held // READERS >> 10} KiB each"
    # What the kernels of three sockets hold is theirs; here it may come to some 12 MiB.
    for entry in fake.finished("flood")[1:]:
        assert entry.bytes_sent < STREAM_BYTES, "the provider was not made to wait"


def test_a_large_reply_is_not_kept_after_it_was_sent(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("large", Script(text="word " * 400_000))
    chat(gateway, "up/large", key=KEY)
    before = gateway.rss_bytes()
    for _ in range(8):
        assert len(chat(gateway, "up/large", key=KEY).body) > 2_000_000
    assert gateway.rss_bytes() - before < 16 << 20


def _settled(gateway: GatewayProcess) -> int:
    """The memory once it has stopped growing."""
    last, deadline = 0, time.monotonic() + 5
    while (now := gateway.rss_bytes()) > last and time.monotonic() < deadline:
        last = now
        time.sleep(0.3)
    return max(now, last)


def _read_bytes(reader: Wire, wanted: int) -> int:
    got = 0
    while got < wanted:
        data = reader.socket.recv(1 << 20)
        assert data
        got += len(data)
    return got
