"""What wrk is told, and how what it says is read."""

from pathlib import Path

import pytest

from switchgear.bench import load
from switchgear.bench.gateway import Gateway, Place

PLACE = Place(folder=Path("somewhere"), port=4000, upstream_port=5000)
GATEWAY = Gateway(name="one", version="1", language="C", command=("one",), headers={"X-Upstream": "http://@UPSTREAM@"})
REPORT = (
    'BENCH {"requests":200,"bytes":266400,"elapsed_s":0.5,"p50_us":950.0,"p99_us":7124.0,'
    '"errors":{"connect":0,"read":1,"write":0,"status":2,"timeout":0,"unfinished":3}}'
)


def plan(stream: str | None = None, requests: int = 0) -> load.Plan:
    return load.Plan(stream=stream, connections=8, seconds=2, requests=requests)


def outcome(requests: int, **errors: int) -> load.Outcome:
    return load.Outcome(requests=requests, bytes=1, elapsed_s=1, p50_us=1, p99_us=1, errors=load.Errors(**errors))


def test_the_report_is_found_among_what_wrk_prints() -> None:
    printed = f"Running 2s test @ http://127.0.0.1\n  Latency 1.00ms\n\n{REPORT}\n"
    assert load.parse(printed).requests == 200
    assert load.parse(printed).errors.total() == 6


def test_no_report_is_an_error_that_shows_what_was_printed() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1:4000 Connection refused")


def test_an_answer_that_is_not_200_makes_the_outcome_unusable() -> None:
    assert "'status': 1" in str(load.fault(plan(), outcome(100, status=1)))


def test_fewer_answers_than_asked_for_make_the_outcome_unusable() -> None:
    assert load.fault(plan(requests=100), outcome(99)) == "99 of 100 answered in 2 s"
    assert load.fault(plan(requests=100), outcome(100)) is None


def test_no_answer_at_all_makes_the_outcome_unusable() -> None:
    assert load.fault(plan(), outcome(0)) == "nothing was answered"


def test_a_gateway_that_has_ended_makes_an_outcome_without_answers(tmp_path: Path) -> None:
    place = Place(folder=tmp_path, port=4000, upstream_port=5000)
    result = load.run("/bin/false", GATEWAY, place, plan())
    assert (result.requests, load.fault(plan(), result) is None) == (0, False)


def test_the_script_has_no_mark_left_and_holds_the_request() -> None:
    text = load.script(GATEWAY, PLACE, plan("[burst]", requests=7))
    assert "@" not in text
    assert 'wrk.headers["X-Upstream"] = "http://127.0.0.1:5000"' in text
    assert "local LIMIT = 7" in text
    assert '"stream":true' in text
    assert "data: [DONE]" in text


def test_a_whole_answer_need_not_end_with_done() -> None:
    assert "[DONE]" not in load.script(GATEWAY, PLACE, plan(None))
