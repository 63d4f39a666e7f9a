"""The body of a reply as pieces to write: frames, then gzip, then a new cutting, then an early end. Pure."""

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from typing import NamedTuple

from tests.fake.script import Script
from tests.fake.wires.protocol import Frame

LONG_LINE_PIECE_BYTES = 65536


class Piece(NamedTuple):
    """Bytes of body to write at once, the tokens generated for them, and the pause before them."""

    data: bytes
    output_tokens: int = 0
    pause_s: float = 0.0


def pieces_of(frames: Iterable[Frame], script: Script) -> Iterator[Piece]:
    """Everything the script does to a body, in the order in which a real server would do it."""
    pieces = _paced(frames, script)
    if script.gzip:
        pieces = _zipped(pieces)
    if script.split is not None:
        pieces = _split(pieces, script)
    if script.cut_after_bytes is not None:
        pieces = _cut(pieces, script.cut_after_bytes)
    return pieces


def one_long_line(length_bytes: int) -> Iterator[Frame]:
    """An SSE line (or the start of an NDJSON one) that does not end."""
    yield Frame(b"data: "[:length_bytes])
    for start in range(6, length_bytes, LONG_LINE_PIECE_BYTES):
        yield Frame(b"a" * min(LONG_LINE_PIECE_BYTES, length_bytes - start))


def _paced(frames: Iterable[Frame], script: Script) -> Iterator[Piece]:
    pauses = chain([script.delay_before_first_byte_s], repeat(script.delay_between_chunks_s))
    for frame, pause_s in zip(frames, pauses, strict=False):
        yield Piece(frame.data, frame.output_tokens, pause_s)


def _zipped(pieces: Iterator[Piece]) -> Iterator[Piece]:
    zipper = zlib.compressobj(wbits=31)
    for piece in pieces:
        # Each frame is flushed, or the client would not see it before the stream ends.
        data = zipper.compress(piece.data) + zipper.flush(zlib.Z_SYNC_FLUSH)
        yield piece._replace(data=data)
    yield Piece(zipper.flush())


def _split(pieces: Iterator[Piece], script: Script) -> Iterator[Piece]:
    """Cut again, across frames, unless the frames are paced: then a frame's end stays an end."""
    sizes = repeat(script.split) if isinstance(script.split, int) else iter(script.split or [])
    size: int | None = next(sizes, None)
    waiting, tokens, pause_s = b"", 0, 0.0
    for piece in pieces:
        waiting += piece.data
        tokens += piece.output_tokens
        pause_s = max(pause_s, piece.pause_s)
        while size is not None and len(waiting) >= size:
            yield Piece(waiting[:size], tokens, pause_s)
            waiting, tokens, pause_s = waiting[size:], 0, script.split_pause_s
            size = next(sizes, None)
        if waiting and script.delay_between_chunks_s:
            yield Piece(waiting, tokens, pause_s)
            waiting, tokens, pause_s = b"", 0, 0.0
    if waiting or tokens:
        yield Piece(waiting, tokens, pause_s)


def _cut(pieces: Iterator[Piece], limit_bytes: int) -> Iterator[Piece]:
    left = limit_bytes
    for piece in pieces:
        if left <= 0:
            return
        yield piece._replace(data=piece.data[:left])
        left -= len(piece.data)
