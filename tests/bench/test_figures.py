"""How rounds become one figure."""

from switchgear.bench.figures import Figures, Sample, combine, ratio, spread_percent


def figures(name: str, **values: float) -> Figures:
    return Figures(name=name, version="1", language="C", auth=True, values=values)


def test_a_row_is_the_median_of_its_rounds() -> None:
    rounds = [Sample(values={"p50_ms": value}) for value in (9.0, 1.0, 2.0)]
    assert combine(rounds).values == {"p50_ms": 2.0}


def test_a_row_that_went_wrong_once_is_a_fault() -> None:
    rounds = [Sample(values={"cpu_stream_us": 1.0}), Sample(faults={"cpu_stream_us": "errors"})]
    assert combine(rounds).faults == {"cpu_stream_us": "errors"}


def test_a_faulty_row_has_no_value() -> None:
    one = Figures(name="x", version="1", language="C", auth=True, values={"p50_ms": 1.0}, faults={"p50_ms": "errors"})
    assert one.value("p50_ms") is None


def test_a_ratio_needs_both_figures() -> None:
    assert ratio(figures("a", p50_ms=1.0), figures("b", p50_ms=4.0), "p50_ms") == 0.25
    assert ratio(figures("a"), figures("b", p50_ms=4.0), "p50_ms") is None
    assert ratio(figures("a", p50_ms=1.0), figures("b"), "p50_ms") is None


def test_the_spread_is_a_share_of_the_median() -> None:
    rounds = [Sample(values={"p50_ms": value}) for value in (9.0, 10.0, 12.0)]
    assert spread_percent(rounds) == {"p50_ms": 30.0}
