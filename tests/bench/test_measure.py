"""How much load a gateway is given."""

from switchgear.bench import measure


def test_a_fast_gateway_gets_several_waves_of_paced_streams() -> None:
    plan = measure.paced_plan(measure.Rates(requests_per_s=2000, streams_per_s=900), measure.FULL)
    assert (plan.requests, plan.connections, plan.spread_ms) == (500, 100, 1000)


def test_a_slow_gateway_gets_one_wave() -> None:
    plan = measure.paced_plan(measure.Rates(requests_per_s=46, streams_per_s=6), measure.FULL)
    assert plan.requests == 100
