"""The fake provider's journal: the truth outside the gateway, one JSON line per event, fsynced when durable.

Every accepted attempt has exactly one ``Finished`` in the end. It is written before the last byte of its
reply is sent, so a test that has seen the whole reply finds it. ``t`` is CLOCK_MONOTONIC, the same for all
processes of this machine, so it compares with ``time.monotonic()`` in the test.
"""

import os
import time
from typing import Any, Literal, TypeAlias

import msgspec

Outcome = Literal["complete", "refused", "cut", "abandoned"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """What every entry has: when, and on which connection (numbered from 1)."""

    t: float
    connection: int


class ConnectionOpened(Entry, frozen=True, tag="connection_opened"):
    """A peer connected."""


class ConnectionClosed(Entry, frozen=True, tag="connection_closed"):
    """The connection is gone, whoever ended it."""

    by: Literal["peer", "us"]


class Malformed(Entry, frozen=True, tag="malformed"):
    """Bytes that are not HTTP: answered with 400 and never accepted."""

    reason: str


class Accepted(Entry, frozen=True, tag="accepted"):
    """A whole request has been read. Credentials are kept verbatim: this is a test."""

    attempt: int
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: str
    model: str | None = None

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)

    def header(self, name: str) -> str | None:
        """The first header of that name, whatever its case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class HeadersSent(Entry, frozen=True, tag="headers_sent"):
    """The reply has begun."""

    attempt: int
    status: int


class SocketClosed(Entry, frozen=True, tag="socket_closed"):
    """The peer closed while we were working for it."""

    attempt: int
    bytes_sent: int


class Finished(Entry, frozen=True, tag="finished"):
    """The attempt is over, and this is what a provider would bill for it."""

    attempt: int
    outcome: Outcome
    status: int | None
    bytes_sent: int  # of body, as far as the kernel took them
    input_tokens: int
    output_tokens: int  # generated so far, whether or not they arrived
    model: str | None = None


AnyEntry: TypeAlias = ConnectionOpened | ConnectionClosed | Malformed | Accepted | HeadersSent | SocketClosed | Finished


class JournalWriter:
    """Appends entries to a file; durable means fsync after each."""

    def __init__(self, path: str, *, durable: bool) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._durable = durable
        self._encoder = msgspec.json.Encoder()

    def write(self, entry: AnyEntry) -> None:
        """Write one line, unbuffered: whoever reads the file next sees it."""
        os.write(self._file, self._encoder.encode(entry) + b"\n")
        if self._durable:
            os.fsync(self._file)


class JournalReader:
    """Follows a journal file; keeps what it has decoded so that polling is cheap."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._decoder: msgspec.json.Decoder[AnyEntry] = msgspec.json.Decoder(AnyEntry)
        self._entries: list[AnyEntry] = []
        self._offset = 0
        self._rest = b""

    def entries(self) -> list[AnyEntry]:
        """Every entry since the last ``forget``, oldest first."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                news = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(news)
        *lines, self._rest = (self._rest + news).split(b"\n")
        self._entries += [self._decoder.decode(line) for line in lines]
        return list(self._entries)

    def forget(self) -> None:
        """Drop what has been written so far."""
        self.entries()
        self._entries.clear()


def now_s() -> float:
    """The clock of every entry."""
    return time.monotonic()
