"""Server-sent events (WHATWG HTML, 9.2): frames out of bytes cut anywhere, and frames passed on verbatim.

The rules held here: a frame ends at a blank line; CR, LF and CRLF all end a line; a leading BOM is dropped; a frame
that the input ends in the middle of is truncation, never a frame. A line is at most MAX_LINE_BYTES.
"""

import re
from typing import NamedTuple, Protocol

from switchgear.core.errors import UpstreamError, UpstreamInvalid, UpstreamTruncated
from switchgear.core.types import Usage

MAX_LINE_BYTES = 1 << 20

KEEPALIVE = b": keep-alive\n\n"

_BOM = b"\xef\xbb\xbf"
# Two line ends in a row. Each is atomic, so that one CRLF is not taken for a CR and an LF. A CR at the very end of what
# has arrived counts: if its LF follows, the next frame starts with an empty line, which means nothing.
_BLANK_LINE = re.compile(rb"((?>\r\n|\n|\r)(?>\r\n|\n|\r))")


class SseEvent(NamedTuple):
    """One event: its type (empty where the stream names none) and its data, lines joined by LF."""

    event: str
    data: bytes


class FrameSplitter:
    """Cuts a byte stream into runs of whole frames, and holds back the one that is not complete yet."""

    __slots__ = ("_at_start", "_held", "_scanned")

    def __init__(self) -> None:
        self._held = b""
        self._scanned = 0
        self._at_start = True

    def feed(self, data: bytes) -> bytes:
        """All the frames that are complete now, as they came; empty where none is. Raises UpstreamInvalid if one is
        longer than MAX_LINE_BYTES."""
        if self._at_start:
            data = self._drop_bom(data)
        if not self._held and data.endswith(b"\n\n") and b"\r" not in data and len(data) <= MAX_LINE_BYTES:
            return data  # what nearly every read brings: whole frames
        buffer = self._held + data if self._held else data
        if not buffer:
            return b""
        end = _last_frame_end(buffer, self._scanned)
        if len(buffer) > MAX_LINE_BYTES:
            end = _end_within_limit(buffer, end)
        whole, self._held = (buffer[:end], buffer[end:]) if end else (b"", buffer)
        if not whole and len(self._held) > MAX_LINE_BYTES:  # else what came before it goes out first
            raise _too_long()
        self._scanned = max(0, len(self._held) - 3)
        return whole

    @property
    def holds_nothing(self) -> bool:
        """Whether all that has come was whole frames."""
        return not self._held

    def close(self) -> None:
        """The input has ended. Raises UpstreamTruncated if it ended inside a frame."""
        if len(self._held) > MAX_LINE_BYTES:
            raise _too_long()
        if self._held.strip():
            raise UpstreamTruncated("The provider's stream ended in the middle of an event.")

    def _drop_bom(self, data: bytes) -> bytes:
        buffer = self._held + data
        self._held = b""
        if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
            self._held = buffer
            return b""
        self._at_start = False
        return buffer.removeprefix(_BOM)


def _last_frame_end(buffer: bytes, start: int) -> int:
    """The position after the last blank line; 0 where there is none."""
    if b"\r" not in buffer:
        at = buffer.rfind(b"\n\n", start)
        return at + 2 if at >= 0 else 0
    end = 0
    for blank in _BLANK_LINE.finditer(buffer, start):
        end = blank.end()
    return end


def _end_within_limit(buffer: bytes, end: int) -> int:
    """``end``, or where the first frame before it begins that is too long: it must not matter how the input was cut."""
    start = 0
    for blank in _BLANK_LINE.finditer(buffer, 0, end):
        if blank.start() - start > MAX_LINE_BYTES:
            return start
        start = blank.end()
    return end


def _too_long() -> UpstreamInvalid:
    return UpstreamInvalid(f"The provider sent an event of more than {MAX_LINE_BYTES} bytes.")


def split_events(frames: bytes) -> list[SseEvent]:
    """The events of a run of whole frames; comments and frames without data are left out."""
    if b"\r" in frames:
        frames = frames.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events = []
    for frame in frames.split(b"\n\n"):
        if frame.startswith(b"data: ") and b"\n" not in frame:  # what nearly every frame looks like
            events.append(SseEvent("", frame[6:]))
        elif frame and (event := _read_frame(frame)) is not None:
            events.append(event)
    return events


def _read_frame(frame: bytes) -> SseEvent | None:
    name, data = "", []
    for line in frame.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return SseEvent(name, b"\n".join(data)) if data else None


class SseReader:
    """Events out of bytes cut anywhere."""

    __slots__ = ("_frames",)

    def __init__(self) -> None:
        self._frames = FrameSplitter()

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that are complete now. Raises UpstreamInvalid for one that is too long."""
        frames = self._frames.feed(data)
        return split_events(frames) if frames else []

    def close(self) -> None:
        """The input has ended. Raises UpstreamTruncated if it ended inside a frame."""
        self._frames.close()


class Watch(Protocol):
    """What a format must know of a stream that passes by verbatim."""

    @property
    def usage(self) -> Usage | None:
        """What the stream said it cost, as far as it has said."""
        ...

    @property
    def done(self) -> bool:
        """Whether the stream has said that it is complete."""
        ...

    def see(self, event: str, data: bytes) -> bool:
        """Look at one event's type and data; False keeps it from the client. Raises UpstreamError where it failed."""
        ...

    def see_lines(self, lines: bytes, count: int) -> list[int] | None:
        """Look at the data of ``count`` events at once, a line each: the numbers of those to keep from the client.

        None where one of them is not as expected: ``see`` is then asked about each, and finds which.
        """
        ...

    def end(self) -> bytes:
        """The input has ended: what is still owed to the client. Raises UpstreamTruncated if the reply had not."""
        ...


class SseRelay:
    """Passes frames on verbatim, and lets a format watch them go by.

    ``error`` is set once the stream has said or shown that it failed: what came before it is still passed on, so
    that the client gets the same bytes however the input was cut.
    """

    __slots__ = ("_after_cr", "_frames", "_watch", "error")

    def __init__(self, watch: Watch) -> None:
        self._frames = FrameSplitter()
        self._watch = watch
        self._after_cr: bool | None = None
        """Set where the last frame ended in a CR, whose LF may follow: whether that frame was passed on."""
        self.error: UpstreamError | None = None

    @property
    def usage(self) -> Usage | None:
        """What the stream said it cost, as far as it has said."""
        return self._watch.usage

    @property
    def done(self) -> bool:
        """Whether the stream has said that it is complete."""
        return self._watch.done

    def feed(self, data: bytes) -> bytes:
        """The whole frames that may go to the client now, byte for byte."""
        if self._after_cr is not None and data:
            return self._feed_after_cr(data)
        try:
            run = self._frames.feed(data)
        except UpstreamError as error:
            self.error = error
            return b""
        if not run:
            return b""
        count = run.count(b"\n\ndata: ") + 1
        if run.startswith(b"data: ") and run.count(b"\n") == 2 * count and b"\r" not in run:
            # One line of data a frame, as nearly always: looked at in one go, which costs half of one by one.
            at_once = self._watch.see_lines(run[6:-2].replace(b"\n\ndata: ", b"\n"), count)
            if at_once is not None:
                return _without(run, at_once) if at_once else run
        return self._feed_one_by_one(run)

    def _feed_one_by_one(self, run: bytes) -> bytes:
        # Where lines end in LF alone, as nearly always, the split costs a tenth of the general one.
        plain = b"\r" not in run
        frames, joint = (run.split(b"\n\n"), b"\n\n") if plain else (_frames_of(run), b"")
        see, hidden = self._watch.see, list[int]()
        for number, frame in enumerate(frames):
            try:
                if plain and frame.startswith(b"data: ") and b"\n" not in frame:
                    shown = see("", frame[6:])
                else:
                    shown = not frame or all(see(event.event, event.data) for event in split_events(frame))
            except UpstreamError as error:
                self.error = error
                del frames[number:]
                frames.append(b"")
                break
            if not shown:
                hidden.append(number)
        else:
            if not plain and run.endswith(b"\r") and self._frames.holds_nothing:
                self._after_cr = len(frames) - 2 not in hidden
            if not hidden:
                return run
        for number in reversed(hidden):
            del frames[number]
        return joint.join(frames)

    def _feed_after_cr(self, data: bytes) -> bytes:
        shown, self._after_cr = self._after_cr, None
        if data.startswith(b"\n"):  # the rest of a CRLF that was cut in two
            return (b"\n" if shown else b"") + self.feed(data[1:])
        return self.feed(data)

    def close(self) -> bytes:
        """The input has ended properly; what is still owed to the client. Raises UpstreamTruncated if it had not."""
        self._frames.close()
        return self._watch.end()


def _frames_of(run: bytes) -> list[bytes]:
    """The frames of a run one by one, each with the blank line that ends it."""
    pieces = _BLANK_LINE.split(run)
    return [b"".join(pieces[i : i + 2]) for i in range(0, len(pieces), 2)]


def _without(run: bytes, hidden: list[int]) -> bytes:
    """A run of frames that end in two LFs, less those with these numbers."""
    frames = run.split(b"\n\n")
    for number in reversed(hidden):
        del frames[number]
    return b"\n\n".join(frames)


def data_frame(payload: bytes) -> bytes:
    """One frame that holds ``payload``, a line of JSON."""
    return b"data: %b\n\n" % payload
