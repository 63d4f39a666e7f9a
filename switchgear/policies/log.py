"""One JSON line per request, wide enough to answer most questions, with no content and no secret in it."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from time import time

import msgspec
from msgspec import Struct, field

from switchgear.core.protocols import Call, Phase

_encode = msgspec.json.Encoder().encode


class RequestLog:
    """Writes the record of each call to ``write``, which takes a line without its newline and must not block."""

    name = "log"
    phase = Phase.WATCH

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def before(self, call: Call) -> None:
        """Nothing to say yet."""

    def after(self, call: Call) -> None:
        """Say it."""
        self._write(_encode(record(call)))


class Record(Struct, omit_defaults=True):
    """The fields of one record; docs/logging.md lists them. Absent means: did not apply."""

    time: str
    request_id: str
    surface: str
    method: str
    path: str
    status: int
    duration_ms: float
    level: str = field(default_factory=lambda: "info")
    event: str = field(default_factory=lambda: "request")
    key: str | None = None
    model: str | None = None
    stream: bool | None = None
    provider: str | None = None
    upstream_model: str | None = None
    attempts: int = 0
    upstream_ms: float | None = None
    first_byte_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    delivered_bytes: int = 0
    error: dict[str, str | int | None] | None = None


def record(call: Call) -> Record:
    """What is to be said of this call."""
    said = Record(
        _timestamp(time()),
        call.id,
        call.surface,
        call.method,
        call.path,
        call.status,
        _ms(call.ended_at - call.received_at),
        delivered_bytes=call.delivered_bytes,
    )
    if call.key is not None:
        said.key = call.key.name
    if call.chat is not None:
        said.model = call.chat.model[:200]
        said.stream = call.streamed
    if call.target is not None:
        said.provider = call.target.provider
        said.upstream_model = call.target.model[:200]
        said.attempts = call.attempts
        said.upstream_ms = _ms(call.upstream_s)
    if call.first_byte_at:
        said.first_byte_ms = _ms(call.first_byte_at - call.received_at)
    if (usage := call.usage) is not None:
        said.input_tokens = usage.input_tokens
        said.output_tokens = usage.output_tokens
        said.cached_input_tokens = usage.cached_input_tokens
        said.reasoning_tokens = usage.reasoning_tokens
    if (error := call.error) is not None:
        said.error = {"type": error.type, "code": error.code, "status": error.status, "message": error.message[:500]}
    return said


def _ms(seconds: float) -> float:
    return int(seconds * 100_000) / 100


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _timestamp(now_s: float) -> str:
    """RFC 3339 with milliseconds; the part that changes once a second is made once a second."""
    second = int(now_s)
    return f"{_second(second)}.{int((now_s - second) * 1000):03d}Z"
