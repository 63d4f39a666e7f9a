"""Server-sent events: frames out of bytes cut anywhere, and frames passed on verbatim."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from switchgear.core.errors import UpstreamInvalid, UpstreamTruncated
from switchgear.core.types import Usage
from switchgear.formats.sse import (
    KEEPALIVE,
    MAX_LINE_BYTES,
    FrameSplitter,
    SseEvent,
    SseReader,
    SseRelay,
    data_frame,
    split_events,
)
from tests.golden.recordings import payloads

STREAMS = st.lists(
    st.sampled_from(
        ["data: a", "data:b", "data", "data: ", "data:  c", ": comment", ":", "event: e", "event", "id: 1", "retry: 5",
         "é: ü", "data: 世界👩‍🚀", "\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "\r\r", "\n\r", "\n\r\n", "\r\n\r"]
    ),
    max_size=14,
).map("".join)  # fmt: skip


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    at = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    return [stream[a:b] for a, b in pairwise(at)]


def read(chunks: Iterable[bytes]) -> list[SseEvent]:
    reader = SseReader()
    return [event for chunk in chunks for event in reader.feed(chunk)]


# --- reading -----------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(STREAMS, st.lists(st.integers(0, 120), max_size=12))
@example("\ufeffdata: a\r\n\r\n", [1, 2])
@example("data: a\r\n\r", [])
def test_any_stream_cut_anywhere_reads_as_the_standard_says(text: str, places: list[int]) -> None:
    stream = text.encode()
    events = read(cut(stream, places))
    assert events == read([stream])
    assert [event.data.decode() for event in events] == list(payloads(stream))


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [SseEvent("", b"a")]),
        (b"data:a\n\n", [SseEvent("", b"a")]),
        (b"data:  a \n\n", [SseEvent("", b" a ")]),
        (b"data: a\ndata: b\n\n", [SseEvent("", b"a\nb")]),
        (b"data: a: b\n\n", [SseEvent("", b"a: b")]),
        (b"data\n\n", [SseEvent("", b"")]),
        (b"data:\ndata:\n\n", [SseEvent("", b"\n")]),
        (b"event: error\ndata: a\n\n", [SseEvent("error", b"a")]),
        (b"data: a\nevent: one\nevent: two\n\n", [SseEvent("two", b"a")]),
        (b"event: alone\n\n", []),
        (b": comment\n\n", []),
        (b": comment\ndata: a\n\n", [SseEvent("", b"a")]),
        (b"id: 1\nretry: 5\ndata: a\nother: x\n\n", [SseEvent("", b"a")]),
        (b"datax: a\n\n", []),
        (b"data: a\n\nevent: e\n\ndata: b\n\n", [SseEvent("", b"a"), SseEvent("", b"b")]),
        (b"\n\n\ndata: a\n\n\n\n", [SseEvent("", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\ndata: \xef\xbb\xbfb\n\n", [SseEvent("", b"a"), SseEvent("", b"\xef\xbb\xbfb")]),
        (b"data: \xe2\x80\xa8\x0b\x0c\x85\n\n", [SseEvent("", b"\xe2\x80\xa8\x0b\x0c\x85")]),
        (b"data: a\r\ndata: b\r\n\r\n", [SseEvent("", b"a\nb")]),
        (b"data: a\rdata: b\r\r", [SseEvent("", b"a\nb")]),
        (b"data: unfinished\n", []),
    ],
)
def test_frames_become_events(stream: bytes, events: list[SseEvent]) -> None:
    assert read([stream]) == events
    assert read([stream[at : at + 1] for at in range(len(stream))]) == events


def test_a_frame_comes_out_as_soon_as_its_blank_line_is_there() -> None:
    reader = SseReader()
    assert reader.feed(b"data: a\r\n") == []
    assert reader.feed(b"\r") == [SseEvent("", b"a")]
    assert reader.feed(b"\ndata: b\n") == []
    assert reader.feed(b"\ndata: c") == [SseEvent("", b"b")]


@pytest.mark.parametrize("rest", [b"d", b"data: a", b"data: a\n", b"data: a\r\n", b": comment", b"\xef", b"\xef\xbb"])
def test_an_end_inside_a_frame_is_truncation(rest: bytes) -> None:
    for stream in (rest, b"data: x\n\n" + rest):
        reader = SseReader()
        reader.feed(stream)
        with pytest.raises(UpstreamTruncated):
            reader.close()


@pytest.mark.parametrize("stream", [b"", b"data: a\n\n", b"data: a\r\n\r", b"data: a\n\n\n", b"data: a\r\n\r\n\r\n"])
def test_an_end_between_frames_is_an_end(stream: bytes) -> None:
    reader = SseReader()
    reader.feed(stream)
    reader.close()


def test_split_events_reads_a_run_of_frames() -> None:
    assert split_events(b"data: a\r\n\r\nevent: e\rdata: b\r\r") == [SseEvent("", b"a"), SseEvent("e", b"b")]


# --- limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_a_frame_of_a_mebibyte_passes_and_a_longer_one_does_not(end: bytes) -> None:
    fits = b"data: " + b"x" * (MAX_LINE_BYTES - 8)
    for frame, taken in ((fits, True), (fits + b"12345", False)):
        for size in (len(frame) + 8, 100_000):
            splitter, stream, out = FrameSplitter(), frame + end, []
            try:
                for at in range(0, len(stream), size):
                    out.append(splitter.feed(stream[at : at + size]))
                splitter.close()
            except UpstreamInvalid:
                assert not taken
            else:
                assert taken
                assert b"".join(out) == stream


def test_what_comes_before_a_frame_that_is_too_long_still_comes_out() -> None:
    splitter = FrameSplitter()
    assert splitter.feed(b"data: a\n\n" + b"x" * (MAX_LINE_BYTES + 1)) == b"data: a\n\n"
    with pytest.raises(UpstreamInvalid, match="more than 1048576 bytes"):
        splitter.feed(b"x")
    with pytest.raises(UpstreamInvalid):
        splitter.close()


def test_many_small_frames_in_one_read_are_no_long_frame() -> None:
    stream = b"data: a\n\n" * 200_000
    splitter = FrameSplitter()
    assert splitter.feed(stream) == stream


# --- passing on --------------------------------------------------------------------------------------------------


class Watching:
    """Hides what says ``hide``, fails at what says ``fail``, and is done at ``end``."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.done = False
        self.seen: list[tuple[str, bytes]] = []

    def see(self, event: str, data: bytes) -> bool:
        self.seen.append((event, data))
        if data.startswith(b"fail"):
            raise UpstreamInvalid("failed")
        self.done = self.done or data == b"end"
        return not data.startswith(b"hide")

    def see_lines(self, lines: bytes, count: int) -> list[int] | None:
        data = lines.split(b"\n")
        if len(data) != count or any(line.startswith(b"fail") for line in data):
            return None
        return [number for number, line in enumerate(data) if not self.see("", line)]

    def end(self) -> bytes:
        return b"" if self.done else b"data: owed\n\n"


def passed(chunks: Iterable[bytes]) -> tuple[bytes, bool]:
    relay, out = SseRelay(Watching()), b""
    for chunk in chunks:
        out += relay.feed(chunk)
        if relay.error is not None:
            return out, True
    return out, False


FRAMES = st.lists(
    st.tuples(
        st.sampled_from(
            ["data: show", "data:show", "data: hide", "event: e{n}data: hide", "data: a{n}data: b", ": comment",
             "", "data: end", "data: fail", "event: x"]
        ),
        st.sampled_from(["\n", "\r\n", "\r"]),
        st.sampled_from(["\n", "\r\n", "\r"]),
    ),
    max_size=8,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(FRAMES, st.lists(st.integers(0, 150), max_size=10))
@example([("data: hide", "\r\n", "\r\n"), ("data: show", "\r\n", "\r\n")], [13])
@example([("data: show", "\r\n", "\r\n"), ("data: hide", "\r", "\r")], [13])
def test_the_client_gets_the_same_bytes_however_the_input_was_cut(
    frames: list[tuple[str, str, str]], places: list[int]
) -> None:
    stream = "".join(frame.format(n=one) + one + two for frame, one, two in frames).encode()
    assert passed(cut(stream, places)) == passed([stream])
    assert passed([stream[at : at + 1] for at in range(len(stream))]) == passed([stream])


@settings(max_examples=100, deadline=None)
@given(FRAMES, st.sampled_from(["\n", "\r\n"]))
def test_all_frames_but_the_hidden_ones_pass_byte_for_byte_up_to_the_failure(
    frames: list[tuple[str, str, str]], end: str
) -> None:
    written = [frame.format(n=end) + end + end for frame, _, _ in frames if frame]
    failing = next((at for at, frame in enumerate(written) if "fail" in frame), len(written))
    expected = "".join(frame for frame in written[:failing] if "hide" not in frame).encode()
    assert passed(["".join(written).encode()]) == (expected, failing < len(written))


def test_a_relay_hands_on_what_the_watch_knows() -> None:
    watch = Watching()
    relay = SseRelay(watch)
    assert (relay.usage, relay.done, relay.error) == (None, False, None)
    assert relay.feed(b"event: e\ndata: a\n\ndata: end\n\n") == b"event: e\ndata: a\n\ndata: end\n\n"
    watch.usage = Usage(1, 2)
    assert (relay.usage, relay.done) == (Usage(1, 2), True)
    assert watch.seen == [("e", b"a"), ("", b"end")]
    assert relay.close() == b""


def test_a_relay_gives_what_is_still_owed_at_the_end() -> None:
    relay = SseRelay(Watching())
    assert relay.feed(b"data: a\n\n") == b"data: a\n\n"
    assert relay.close() == b"data: owed\n\n"


def test_a_relay_that_ends_inside_a_frame_owes_nothing() -> None:
    relay = SseRelay(Watching())
    assert relay.feed(b"data: a\n\ndata: b") == b"data: a\n\n"
    with pytest.raises(UpstreamTruncated):
        relay.close()


def test_a_frame_without_end_sets_the_error_after_what_came_before_it() -> None:
    relay = SseRelay(Watching())
    assert relay.feed(b"data: a\n\n" + b"x" * (MAX_LINE_BYTES + 1)) == b"data: a\n\n"
    assert relay.feed(b"x") == b""
    assert isinstance(relay.error, UpstreamInvalid)


def test_what_is_written_reads_back() -> None:
    assert read([data_frame(b'{"a":1}'), KEEPALIVE, data_frame(b"[DONE]")]) == [
        SseEvent("", b'{"a":1}'),
        SseEvent("", b"[DONE]"),
    ]
