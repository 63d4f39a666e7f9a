"""The report's tables."""

from switchgear.bench import budget
from switchgear.bench.figures import Figures
from switchgear.bench.report import Report, as_markdown, as_text, number

OWN = Figures(
    name="switchgear",
    version="0.1.0",
    language="Python",
    auth=True,
    values={"cpu_request_us": 111.4, "p50_ms": 0.256, "rss_loaded_mb": 84.6},
    loaded_requests=20_000,
)
PEER = Figures(
    name="rolter",
    version="0.1.0",
    language="Rust",
    auth=False,
    values={"cpu_request_us": 300.0, "cpu_stream_us": 900.0, "rss_loaded_mb": 404.0},
    faults={"cpu_stream_us": "errors: {'status': 3}"},
    loaded_requests=1_840,
)


def report() -> Report:
    return Report(
        date="2026-11-21",
        machine="A Fine CPU, 2 cores",
        pinned=True,
        rounds=3,
        effort="full",
        gateways=[OWN, PEER],
        verdicts=budget.judge(OWN, {"rolter": PEER}),
        spread_percent={"switchgear": {"cpu_request_us": 40.0, "p50_ms": 90.0}},
        not_measured={"smg": "smg ended by itself:\nand\nno such option"},
    )


def test_numbers_are_rounded_and_their_thousands_separated() -> None:
    assert number(21700.4) == "21,700"
    assert number(0.256, 2) == "0.26"
    assert number(None) == "-"


def test_a_line_of_the_text_has_the_gateways_figures() -> None:
    line = next(line for line in as_text(report()).splitlines() if line.startswith("switchgear 0.1.0"))
    assert line.split() == ["switchgear", "0.1.0", "Python", "111", *"---", "0.26", *"--", "85", *"---"]


def test_all_lines_of_a_table_are_equally_wide() -> None:
    table = as_text(report()).split("\n\n")[2].splitlines()
    assert len({line.index("Python") + 6 for line in table if "Python" in line}) == 1
    assert len({len(line) for line in table}) == 1


def test_an_invalid_row_is_marked_and_explained() -> None:
    text = as_text(report())
    assert "invalid" in text
    assert "rolter, µs CPU / stream: invalid, errors: {'status': 3}" in text


def test_fewer_requests_than_the_rule_and_no_auth_are_said() -> None:
    text = as_text(report())
    assert "404 (1,840 req)" in text
    assert "rolter 0.1.0 (no auth)" in text


def test_the_ratio_to_each_other_gateway_is_given() -> None:
    line = next(line for line in as_text(report()).splitlines() if line.startswith("rolter  "))
    assert "0.371" in line


def test_rounds_far_apart_and_gateways_left_out_are_noted() -> None:
    text = as_text(report())
    assert "switchgear, µs CPU / request: the rounds lie 40 % apart" in text
    assert "smg: not measured, smg ended by itself: no such option" in text


def test_the_markdown_names_date_machine_and_verdicts() -> None:
    page = as_markdown(report())
    assert page.startswith("# Benchmarks\n")
    assert "Measured on 2026-11-21: A Fine CPU, 2 cores" in page
    assert "| µs CPU / request | 0.371 x rolter | 0.75 x rolter | 0.5 x rolter | aim |" in page
