"""The budget and its verdicts."""

from switchgear.bench.budget import LIMITS, judge
from switchgear.bench.figures import ROW_NAMES, Figures


def figures(name: str, **values: float) -> Figures:
    return Figures(name=name, version="1", language="C", auth=True, values=values)


def words(own: Figures, *others: Figures) -> dict[tuple[str, str | None], str]:
    verdicts = judge(own, {other.name: other for other in others})
    return {(verdict.limit.row, verdict.limit.against): verdict.word for verdict in verdicts}


def test_every_line_is_about_a_row_that_is_measured() -> None:
    assert {limit.row for limit in LIMITS} <= ROW_NAMES
    assert all(limit.aim < limit.must for limit in LIMITS)


def test_a_plain_limit_is_aim_pass_or_fail() -> None:
    for value, word in ((0.8, "aim"), (1.5, "pass"), (1.6, "FAIL")):
        assert words(figures("own", start_s=value))["start_s", None] == word


def test_a_peer_in_the_same_run_gives_a_ratio() -> None:
    rolter = figures("rolter", cpu_request_us=200)
    for value, word in ((100, "aim"), (150, "pass"), (151, "FAIL")):
        assert words(figures("own", cpu_request_us=value), rolter)["cpu_request_us", "rolter"] == word


def test_a_peer_that_was_not_measured_gives_no_verdict() -> None:
    assert words(figures("own", cpu_request_us=1))["cpu_request_us", "rolter"] == "not measured"


def test_an_invalid_row_gives_no_verdict_and_says_why() -> None:
    own = Figures(name="own", version="1", language="C", auth=True, values={"start_s": 0.1}, faults={"start_s": "hung"})
    verdict = next(one for one in judge(own, {}) if one.limit.row == "start_s")
    assert (verdict.word, verdict.why) == ("not measured", "hung")
