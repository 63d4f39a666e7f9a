"""One JSON line per request, wide enough to answer most questions, with no content and no secret in it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

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


def record(call: Call) -> dict[str, Any]:
    """The fields of one record; docs/logging.md lists them. Absent means: did not apply."""
    error, usage, key = call.error, call.usage, call.key
    said: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "info",
        "event": "request",
        "request_id": call.id,
        "surface": call.surface,
        "method": call.method,
        "path": call.path,
        "status": call.status,
        "duration_ms": round((call.ended_at - call.received_at) * 1000, 2),
    }
    if key is not None:
        said["key"] = key.name
    if call.chat is not None:
        said["model"] = call.chat.model[:200]
        said["stream"] = call.streamed
    if call.target is not None:
        said["provider"] = call.target.provider
        said["upstream_model"] = call.target.model[:200]
        said["attempts"] = call.attempts
        said["upstream_ms"] = round(call.upstream_s * 1000, 2)
    if call.first_byte_at:
        said["first_byte_ms"] = round((call.first_byte_at - call.received_at) * 1000, 2)
    if usage is not None:
        said["input_tokens"] = usage.input_tokens
        said["output_tokens"] = usage.output_tokens
        if usage.cached_input_tokens:
            said["cached_input_tokens"] = usage.cached_input_tokens
        if usage.reasoning_tokens:
            said["reasoning_tokens"] = usage.reasoning_tokens
    if call.delivered_bytes:
        said["delivered_bytes"] = call.delivered_bytes
    if error is not None:
        said["error"] = {"type": error.type, "code": error.code, "status": error.status, "message": error.message[:500]}
    return said
