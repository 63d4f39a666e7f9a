"""What becomes of the rounds of a contest."""

from pathlib import Path
from typing import cast

from switchgear.bench import contest, floor, gateway, machine
from switchgear.bench.children import Child
from switchgear.bench.contest import Entry
from switchgear.bench.figures import Sample
from switchgear.bench.gateway import Gateway
from switchgear.bench.measure import Rates, Running

PLACE = gateway.Place(folder=Path(), port=1, upstream_port=2)


def entry(one: Gateway, p50_ms: float) -> Entry:
    running = Running(gateway=one, place=PLACE, child=cast(Child, None), start_s=0.1)
    rounds = [Sample(values={"p50_ms": p50_ms})]
    return Entry(one, running, Rates(1, 1), [Sample(values={"start_s": 0.1})], 20_000, rounds)


def test_latency_is_also_given_over_that_of_nginx() -> None:
    nginx = floor.floor(machine.Programs(nginx="nginx", wrk="wrk", lua_modules=()), "1")
    results = contest.results([entry(gateway.own("1"), 0.25), entry(nginx, 0.125)], {})
    own, bare = results.figures
    assert own.values == {"start_s": 0.1, "p50_ms": 0.25, "p50_over_nginx_ms": 0.125}
    assert "p50_over_nginx_ms" not in bare.values


def test_without_nginx_there_is_nothing_to_be_over() -> None:
    results = contest.results([entry(gateway.own("1"), 0.25)], {"nginx": "did not start"})
    assert "p50_over_nginx_ms" not in results.figures[0].values
    assert results.failed == {"nginx": "did not start"}
