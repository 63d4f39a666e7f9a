"""One JSON line per request, with no content and no secret in it."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from switchgear.core.errors import InvalidRequest, UpstreamRejected
from switchgear.core.protocols import Call
from switchgear.core.types import Usage
from switchgear.policies.log import RequestLog
from tests.policies.calls import a_call, a_key, an_answered_call


def logged(call: Call) -> dict[str, Any]:
    lines: list[bytes] = []
    log = RequestLog(lines.append)
    log.before(call)
    assert lines == []
    log.after(call)
    (line,) = lines
    assert b"\n" not in line
    said: dict[str, Any] = msgspec.json.decode(line)
    return said


def test_a_call_that_got_nowhere_says_only_what_applied() -> None:
    call = Call("req-1", "openai", "GET", "/v1/models", {})
    call.received_at, call.ended_at, call.status = 100.0, 100.25, 401
    said = logged(call)
    said.pop("time")
    assert said == {
        "level": "info", "event": "request", "request_id": "req-1", "surface": "openai", "method": "GET",
        "path": "/v1/models", "status": 401, "duration_ms": 250.0,
    }  # fmt: skip


def test_a_whole_life_is_in_the_record() -> None:
    call = an_answered_call(took_s=1.5)
    call.key = a_key("ann")
    call.streamed = True
    call.upstream_s = 0.75
    call.first_byte_at = 100.5
    call.delivered_bytes = 1234
    call.usage = Usage(10, 20, cached_input_tokens=5, reasoning_tokens=7)
    said = logged(call)
    said.pop("time")
    assert said == {
        "level": "info", "event": "request", "request_id": "req-1", "surface": "openai", "method": "POST",
        "path": "/v1/chat/completions", "status": 200, "duration_ms": 1500.0, "key": "ann", "model": "fast",
        "stream": True, "provider": "local", "upstream_model": "fast-upstream", "attempts": 1, "upstream_ms": 750.0,
        "first_byte_ms": 500.0, "input_tokens": 10, "output_tokens": 20, "cached_input_tokens": 5,
        "reasoning_tokens": 7, "delivered_bytes": 1234,
    }  # fmt: skip


def test_a_call_that_is_not_a_stream_says_so() -> None:
    assert logged(an_answered_call())["stream"] is False


def test_usage_of_zero_is_said_and_usage_unknown_is_not() -> None:
    call = an_answered_call()
    assert "input_tokens" not in logged(call)
    call.usage = Usage(0, 0)
    assert (logged(call)["input_tokens"], logged(call)["output_tokens"]) == (0, 0)


def test_an_error_is_said_in_its_own_words() -> None:
    call = a_call()
    call.error = UpstreamRejected(429, "slow down", upstream_code="busy")
    assert logged(call)["error"] == {"type": "upstream_error", "code": "busy", "status": 429, "message": "slow down"}
    call.error = InvalidRequest("bad")
    assert logged(call)["error"]["code"] is None


def test_the_time_is_now_in_utc_to_the_millisecond() -> None:
    before = datetime.now(UTC)
    said = logged(a_call())["time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said)
    when = datetime.fromisoformat(said)
    assert abs((when - before).total_seconds()) < 5


def test_neither_content_nor_secrets_are_in_the_record() -> None:
    call = a_call(key=a_key("ann"), headers={b"authorization": b"Bearer sk-ann"})
    line = msgspec.json.encode(logged(call))
    assert b"Hello" not in line
    assert b"sk-ann" not in line


@pytest.mark.parametrize("model", ["x" * 100_000, 'a"\n\r\x00\u2028b', "模型"])
def test_no_name_breaks_the_line_or_fills_the_log(model: str) -> None:
    call = a_call(model)
    call.error = InvalidRequest("y" * 100_000)
    said = logged(call)
    assert said["model"] == model[:200]
    assert len(said["error"]["message"]) == 500
