"""The load: what wrk is told to send, and what it says came back."""

import json
import subprocess
from pathlib import Path

import msgspec

from switchgear.bench import children, payloads
from switchgear.bench.gateway import Gateway, Place

_SCRIPT = Path(__file__).parent / "load.lua"
_MARK = "BENCH "


class Errors(msgspec.Struct, frozen=True):
    """How many requests ended badly, by how."""

    connect: int = 0
    read: int = 0
    write: int = 0
    status: int = 0
    timeout: int = 0
    unfinished: int = 0

    def total(self) -> int:
        """Return the number of requests that ended badly."""
        return self.connect + self.read + self.write + self.status + self.timeout + self.unfinished


class Outcome(msgspec.Struct, frozen=True):
    """What one run of wrk measured."""

    requests: int
    bytes: int
    elapsed_s: float
    p50_us: float
    p99_us: float
    errors: Errors


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run of wrk: for at most `seconds`, or for exactly `requests` of them where that is not 0."""

    stream: str | None
    connections: int
    seconds: int
    requests: int = 0
    # The first request of each connection is delayed so that all are spread evenly over this time.
    spread_ms: int = 0


def script(gateway: Gateway, place: Place, plan: Plan) -> str:
    """Return the Lua script for wrk."""
    headers = gateway.request_headers(place)
    marks = {
        "@PATH@": gateway.path,
        "@BODY@": payloads.body(gateway.model, plan.stream),
        "@HEADERS@": "\n".join(f"wrk.headers[{_quoted(k)}] = {_quoted(v)}" for k, v in headers.items()),
        "@LIMIT@": str(plan.requests),
        "@SPREAD_MS@": str(plan.spread_ms),
        "@CONNECTIONS@": str(plan.connections),
        "@MUST_END_WITH@": payloads.DONE if plan.stream else "",
    }
    text = _SCRIPT.read_text()
    for mark, value in marks.items():
        text = text.replace(mark, value)
    return text


def parse(output: str) -> Outcome:
    """Read what the script printed at the end; raise `ValueError` where it printed nothing."""
    for line in reversed(output.splitlines()):
        if line.startswith(_MARK):
            return msgspec.json.decode(line[len(_MARK) :], type=Outcome)
    raise ValueError(f"wrk did not report: {output[-400:]!r}")


def fault(plan: Plan, outcome: Outcome) -> str | None:
    """Say why an outcome must not be used, or None: every request sent has to be answered well."""
    if outcome.errors.total():
        return f"errors: {msgspec.to_builtins(outcome.errors)}"
    if plan.requests and outcome.requests < plan.requests:
        return f"{outcome.requests} of {plan.requests} answered in {plan.seconds} s"
    return None if outcome.requests else "nothing was answered"


def run(wrk: str, gateway: Gateway, place: Place, plan: Plan) -> Outcome:
    """Send the load and return what came of it; nothing, if wrk itself could not do its work."""
    path = place.folder / "load.lua"
    path.write_text(script(gateway, place, plan))
    command = [
        wrk,
        *("-t", "1", "-c", str(plan.connections), "-d", f"{plan.seconds}s", "--timeout", "60s"),
        *("-s", str(path), f"http://127.0.0.1:{place.port}"),
    ]
    try:
        return parse(children.run(command, timeout_s=plan.seconds + 90.0))
    except (subprocess.SubprocessError, ValueError):
        # It cannot connect: the gateway has ended. The row is invalid; the others' rows are not.
        return Outcome(requests=0, bytes=0, elapsed_s=plan.seconds, p50_us=0, p99_us=0, errors=Errors(connect=1))


def _quoted(text: str) -> str:
    # A JSON string is a Lua string as long as it is plain ASCII, which these are.
    return json.dumps(text)
