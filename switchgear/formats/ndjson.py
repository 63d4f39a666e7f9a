"""Newline-delimited JSON (https://github.com/ndjson/ndjson-spec): lines out of bytes cut anywhere.

The rules held here: LF ends a line and a CR before it is dropped; blank lines are skipped; a line that the input
ends in the middle of is truncation, never a line, even where what came of it would parse. A line is at most
MAX_LINE_BYTES.
"""

from collections.abc import Iterator

from switchgear.core.errors import UpstreamInvalid, UpstreamTruncated
from switchgear.formats.sse import MAX_LINE_BYTES


class NdjsonReader:
    """Lines out of bytes; holds at most one unfinished line."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that are complete now, without their ends. Raises UpstreamInvalid at one that is too long."""
        *complete, last = data.split(b"\n")
        for piece in complete:
            self._hold(piece)
            line = bytes(self._held).removesuffix(b"\r")
            self._held.clear()
            if line.strip():
                yield line
        self._hold(last)

    def close(self) -> None:
        """The input has ended. Raises UpstreamTruncated if it ended inside a line."""
        if self._held.strip():
            raise UpstreamTruncated("The provider's stream ended in the middle of a line.")

    def _hold(self, piece: bytes) -> None:
        self._held += piece
        if len(self._held) > MAX_LINE_BYTES:
            raise UpstreamInvalid(f"The provider sent a line of more than {MAX_LINE_BYTES} bytes.")
