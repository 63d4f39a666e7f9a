"""One run: every gateway is started and weighed, then all are measured in turn, round after round."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from switchgear.bench import floor, measure
from switchgear.bench.asking import NotRightError
from switchgear.bench.children import Child
from switchgear.bench.figures import Figures, Sample, combine, spread_percent
from switchgear.bench.gateway import Gateway
from switchgear.bench.machine import Programs, free_port
from switchgear.bench.measure import Effort, Rates, Running


class Entry(msgspec.Struct):
    """A gateway in the contest, and what has been measured of it so far."""

    gateway: Gateway
    running: Running
    rates: Rates
    weighed: list[Sample]
    loaded_requests: int
    rounds: list[Sample] = []


class Results(msgspec.Struct, frozen=True):
    """What came of a run, in the order the gateways were given."""

    figures: list[Figures]
    spread: dict[str, dict[str, float]]
    failed: dict[str, str]


def run(
    programs: Programs,
    gateways: Sequence[Gateway],
    scratch: Path,
    effort: Effort,
    rounds: int,
    say: Callable[[str], None],
) -> Results:
    """Measure the gateways against one mock. One that cannot be started goes to `failed`."""
    mock_folder = scratch / "mock"
    mock_folder.mkdir()
    upstream_port = free_port()
    mock = floor.start_mock(programs, mock_folder, upstream_port)
    entries: list[Entry] = []
    failed: dict[str, str] = {}
    try:
        for gateway in gateways:
            say(f"{gateway.name}: start, check, memory, warm-up")
            try:
                entries.append(_enter(programs, gateway, scratch, upstream_port, effort))
            except NotRightError as error:
                failed[gateway.name] = str(error)
                say(f"{gateway.name}: left out: {error}")
        _take_turns(programs, entries, effort, rounds, say)
    finally:
        _stop([*(entry.running.child for entry in entries), mock])
    return results(entries, failed)


def _enter(programs: Programs, gateway: Gateway, scratch: Path, upstream_port: int, effort: Effort) -> Entry:
    # Memory is read from a process that has done nothing else, the rest from a second one that is warm.
    fresh = measure.start(gateway, scratch / f"{gateway.name}-fresh", upstream_port)
    try:
        weight = measure.check_and_hold(fresh)
    finally:
        fresh.stop()
    running = measure.start(gateway, scratch / gateway.name, upstream_port)
    try:
        rates = measure.warm_up(programs.wrk, running, effort)
        loaded_requests, loaded = measure.fill(programs.wrk, running, rates, effort)
    except BaseException:
        running.stop()
        raise
    starts = [Sample(values={"start_s": one.start_s}) for one in (fresh, running)]
    return Entry(gateway, running, rates, [weight, loaded, *starts], loaded_requests)


def _take_turns(
    programs: Programs, entries: Sequence[Entry], effort: Effort, rounds: int, say: Callable[[str], None]
) -> None:
    for number in range(1, rounds + 1):
        for entry in entries:
            began_s = time.monotonic()
            entry.rounds.append(measure.take_round(programs, entry.running, entry.rates, effort))
            say(f"round {number} of {rounds}: {entry.gateway.name} ({time.monotonic() - began_s:.0f} s)")


def results(entries: Sequence[Entry], failed: dict[str, str]) -> Results:
    """Combine what each gateway's rounds gave into one figure per row."""
    combined = {entry.gateway.name: combine([*entry.weighed, *entry.rounds]) for entry in entries}
    nginx_p50_ms = combined["nginx"].values.get("p50_ms") if "nginx" in combined else None
    return Results(
        figures=[_figures(entry, combined[entry.gateway.name], nginx_p50_ms) for entry in entries],
        spread={entry.gateway.name: dict(spread_percent(entry.rounds)) for entry in entries},
        failed=failed,
    )


def _figures(entry: Entry, sample: Sample, nginx_p50_ms: float | None) -> Figures:
    gateway, values = entry.gateway, dict(sample.values)
    if nginx_p50_ms is not None and gateway.name != "nginx" and "p50_ms" in values:
        values["p50_over_nginx_ms"] = values["p50_ms"] - nginx_p50_ms
    if gateway.installed_mb is not None:
        values["installed_mb"] = gateway.installed_mb
    return Figures(
        name=gateway.name,
        version=gateway.version,
        language=gateway.language,
        auth=gateway.auth,
        values=values,
        faults=sample.faults,
        loaded_requests=entry.loaded_requests,
    )


def _stop(children: Sequence[Child]) -> None:
    for child in children:
        child.stop()
