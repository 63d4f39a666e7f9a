"""Log lines written by a thread of their own."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator

import msgspec
import pytest

from switchgear.engine import lines
from switchgear.engine.lines import LineWriter


class Pipe:
    """Both ends of a pipe."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()

    def read_all(self) -> bytes:
        """Everything written, once the writing end is closed."""
        os.close(self.write_end)
        pieces = []
        while piece := os.read(self.read_end, 1 << 20):
            pieces.append(piece)
        return b"".join(pieces)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for end in (pipe.read_end, pipe.write_end):
        with contextlib.suppress(OSError):
            os.close(end)


@pytest.fixture(autouse=True)
def _hand_over_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "HAND_OVER_EVERY_S", 0.005)


async def test_lines_come_out_whole_and_in_order(pipe: Pipe) -> None:
    writer = LineWriter(pipe.write_end)
    for number in range(100):
        writer.write(b'{"n":%d}' % number)
        if number % 30 == 0:
            await asyncio.sleep(0.01)
    writer.close()
    assert pipe.read_all() == b"".join(b'{"n":%d}\n' % number for number in range(100))


async def test_lines_come_out_without_waiting_for_the_end(pipe: Pipe) -> None:
    writer = LineWriter(pipe.write_end)
    writer.write(b"one")
    got = await asyncio.wait_for(asyncio.to_thread(os.read, pipe.read_end, 100), 5)
    assert got == b"one\n"
    writer.close()


async def test_what_is_held_when_it_closes_is_written(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "HAND_OVER_EVERY_S", 60)
    writer = LineWriter(pipe.write_end)
    writer.write(b"last")
    writer.close()
    assert pipe.read_all() == b"last\n"


async def test_a_writer_that_wrote_nothing_starts_no_thread(pipe: Pipe) -> None:
    before = threading.active_count()
    LineWriter(pipe.write_end).close()
    assert threading.active_count() == before
    assert pipe.read_all() == b""


async def test_a_stalled_reader_stalls_nobody_and_what_is_lost_is_counted(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_HELD_BYTES", 200_000)
    writer, loop = LineWriter(pipe.write_end), asyncio.get_running_loop()
    line, sent = b"x" * 999, 2000
    begun = loop.time()
    for number in range(sent):
        writer.write(line)
        if number % 100 == 0:
            await asyncio.sleep(0.001)
    assert loop.time() - begun < 5
    drain = threading.Thread(target=collect, args=(pipe, got := list[bytes]()), daemon=True)
    drain.start()
    await asyncio.to_thread(writer.close, 5.0)
    os.close(pipe.write_end)
    await asyncio.to_thread(drain.join)
    written = b"".join(got).split(b"\n")[:-1]
    kept = [one for one in written if one == line]
    notices = [msgspec.json.decode(one) for one in written if one != line]
    assert all(notice["event"] == "log_lines_dropped" for notice in notices)
    assert 200 <= len(kept) < sent
    assert len(kept) + sum(notice["count"] for notice in notices) == sent


def collect(pipe: Pipe, into: list[bytes]) -> None:
    while piece := os.read(pipe.read_end, 1 << 20):
        into.append(piece)


async def test_the_bound_is_the_same_after_many_lines(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_HELD_BYTES", 10_000)
    drain = threading.Thread(target=collect, args=(pipe, got := list[bytes]()), daemon=True)
    drain.start()
    writer = LineWriter(pipe.write_end)
    for _ in range(20):  # of empty lines all that is held is their ends
        for _ in range(1000):
            writer.write(b"")
        async with asyncio.timeout(5):
            while writer._timer is not None or writer._taken_bytes != writer._written_bytes:  # noqa: ASYNC110 a thread sets no event
                await asyncio.sleep(0.001)
    before = sum(map(len, got))
    for _ in range(200):
        writer.write(b"y" * 999)
    writer.close()
    os.close(pipe.write_end)
    drain.join()
    after = b"".join(got)[before:]
    assert after.count(b"y" * 999) == 11
    assert b'"count":189' in after


async def test_a_reader_that_is_gone_does_not_matter(pipe: Pipe) -> None:
    os.close(pipe.read_end)
    writer = LineWriter(pipe.write_end)
    for _ in range(3):
        writer.write(b"into the void")
        await asyncio.sleep(0.01)
    writer.close()


async def test_closing_does_not_wait_for_ever(pipe: Pipe) -> None:
    writer, loop = LineWriter(pipe.write_end), asyncio.get_running_loop()
    writer.write(b"x" * 1_000_000)
    begun = loop.time()
    writer.close(0.05)
    assert loop.time() - begun < 2
    threading.Thread(target=collect, args=(pipe, []), daemon=True).start()
    await asyncio.sleep(0.05)
    os.close(pipe.write_end)
