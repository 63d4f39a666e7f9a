"""What is done to one gateway: start it, weigh it, warm it up, and take a round of its rows."""

import time
from pathlib import Path

import msgspec

from switchgear.bench import asking, load, payloads, procfs
from switchgear.bench.children import Child
from switchgear.bench.figures import Sample
from switchgear.bench.gateway import Gateway, Place
from switchgear.bench.held import hold_open
from switchgear.bench.machine import GATEWAY_CORE, Programs, free_port

REQUESTS_BEFORE_RSS = 20_000
_REQUEST_CONNECTIONS = 32
_STREAM_CONNECTIONS = 16
_PACED_CONNECTIONS = 100
_PACED_SPREAD_MS = int(payloads.CHUNKS * payloads.PAUSE_S * 1000)
# An exact number of requests ends by itself; this only stops a gateway that hangs.
_NEVER_S = 300
# Below this many streams a second one wave of paced streams has to do.
_SLOW_STREAMS_PER_S = 100.0
_SETTLE_S = 1.0


class Effort(msgspec.Struct, frozen=True):
    """How long parts take: seconds per row, waves of paced streams, seconds at most for 20,000 requests."""

    row_s: int
    paced_waves: int
    fill_s: float


QUICK = Effort(row_s=2, paced_waves=2, fill_s=8.0)
FULL = Effort(row_s=4, paced_waves=5, fill_s=40.0)


class Rates(msgspec.Struct, frozen=True):
    """How fast a gateway turned out to be when warming up."""

    requests_per_s: float
    streams_per_s: float


class Running(msgspec.Struct, frozen=True):
    """A gateway that has answered."""

    gateway: Gateway
    place: Place
    child: Child
    start_s: float

    def stop(self) -> None:
        """End it and everything it started."""
        self.child.stop()


def start(gateway: Gateway, folder: Path, upstream_port: int) -> Running:
    """Start a gateway on its core and wait for its first good answer; raise `NotRightError` if none comes."""
    folder.mkdir()
    installed = gateway.installed or Path()
    place = Place(folder=folder, port=free_port(), upstream_port=upstream_port, installed=installed)
    argv, env = gateway.argv(place), gateway.environment(place)
    started_s = time.monotonic()
    # The log goes to a file, so that writing it costs what it costs in service.
    child = Child(argv, core=GATEWAY_CORE, log=folder / "log", env=env, cwd=folder)
    try:
        start_s = asking.wait_for_first_answer(gateway, place, child, started_s)
    except asking.NotRightError:
        child.stop()
        raise
    return Running(gateway=gateway, place=place, child=child, start_s=start_s)


def check_and_hold(running: Running) -> Sample:
    """Check a fresh gateway's answers, then read its idle memory and what each open stream adds to it."""
    time.sleep(_SETTLE_S)
    values = {"rss_idle_mb": procfs.rss_kb(running.child.pid) / 1024}
    asking.check(running.gateway, running.place)
    kb = hold_open(running.gateway, running.place, running.child.pid)
    if kb is None:
        return Sample(values=values, faults={"open_stream_kb": "too few streams could be opened"})
    return Sample(values=values | {"open_stream_kb": kb})


def warm_up(wrk: str, running: Running, effort: Effort) -> Rates:
    """Run each kind of load once, unmeasured, to learn how much of it fills a row's time."""
    requests = _warm(wrk, running, _plan(None, _REQUEST_CONNECTIONS, seconds=effort.row_s))
    streams = _warm(wrk, running, _plan(payloads.BURST, _STREAM_CONNECTIONS, seconds=effort.row_s))
    return Rates(requests_per_s=requests, streams_per_s=streams)


def fill(wrk: str, running: Running, rates: Rates, effort: Effort) -> tuple[int, Sample]:
    """Send 20,000 requests, or what a slow gateway manages in its time, and read the memory afterwards."""
    wanted = max(100, min(REQUESTS_BEFORE_RSS, int(rates.requests_per_s * effort.fill_s)))
    plan = _plan(None, _REQUEST_CONNECTIONS, requests=wanted)
    fault = load.fault(plan, load.run(wrk, running.gateway, running.place, plan))
    if fault:
        return wanted, Sample(faults={"rss_loaded_mb": fault})
    return wanted, Sample(values={"rss_loaded_mb": procfs.rss_kb(running.child.pid) / 1024})


def take_round(programs: Programs, running: Running, rates: Rates, effort: Effort) -> Sample:
    """Measure every row of a round once."""
    values: dict[str, float] = {}
    faults: dict[str, str] = {}
    plans = {
        "cpu_request_us": _plan(
            None, _REQUEST_CONNECTIONS, requests=_count(rates.requests_per_s, effort, _REQUEST_CONNECTIONS)
        ),
        "cpu_stream_us": _plan(
            payloads.BURST,
            _STREAM_CONNECTIONS,
            requests=_count(rates.streams_per_s, effort, _STREAM_CONNECTIONS),
        ),
        "cpu_paced_us": paced_plan(rates, effort),
    }
    for row, plan in plans.items():
        before = procfs.read_cpu(running.child.pid)
        outcome = load.run(programs.wrk, running.gateway, running.place, plan)
        after = procfs.read_cpu(running.child.pid)
        if fault := load.fault(plan, outcome):
            faults[row] = fault
            continue
        values[row] = procfs.cpu_between_us(before, after) / outcome.requests
        if row == "cpu_request_us":
            values["requests_per_s"] = outcome.requests / outcome.elapsed_s
    alone = p50_alone(programs.wrk, running.gateway, running.place, effort)
    return Sample(values=values | alone.values, faults=faults | alone.faults)


def p50_alone(wrk: str, gateway: Gateway, place: Place, effort: Effort) -> Sample:
    """Measure the median latency of requests sent one after another over one connection."""
    plan = _plan(None, 1, seconds=max(1, effort.row_s // 2))
    outcome = load.run(wrk, gateway, place, plan)
    if fault := load.fault(plan, outcome):
        return Sample(faults={"p50_ms": fault})
    return Sample(values={"p50_ms": outcome.p50_us / 1000})


def paced_plan(rates: Rates, effort: Effort) -> load.Plan:
    """Return the paced load: whole waves of 100 streams, spread so that they do not march in step."""
    waves = 1 if rates.streams_per_s < _SLOW_STREAMS_PER_S else effort.paced_waves
    wanted = waves * _PACED_CONNECTIONS
    return load.Plan(
        stream=payloads.PACED,
        connections=_PACED_CONNECTIONS,
        seconds=_NEVER_S,
        requests=wanted,
        spread_ms=_PACED_SPREAD_MS,
    )


def _plan(stream: str | None, connections: int, *, seconds: int = _NEVER_S, requests: int = 0) -> load.Plan:
    return load.Plan(stream=stream, connections=connections, seconds=seconds, requests=requests)


def _count(rate_per_s: float, effort: Effort, connections: int) -> int:
    return max(2 * connections, int(rate_per_s * effort.row_s))


def _warm(wrk: str, running: Running, plan: load.Plan) -> float:
    outcome = load.run(wrk, running.gateway, running.place, plan)
    return outcome.requests / outcome.elapsed_s
