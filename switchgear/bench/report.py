"""The report: the table of figures, the ratios, the budget's verdicts; as text, Markdown or JSON."""

from collections.abc import Sequence

import msgspec

from switchgear.bench.budget import Verdict
from switchgear.bench.figures import ROWS, Figures, Row, ratio

_RATIO_ROWS = ("cpu_request_us", "cpu_stream_us", "cpu_paced_us", "requests_per_s", "p50_ms", "rss_loaded_mb")
# Rounds further apart than this are worth a note: something else was running.
_WIDE_PERCENT = 15
_TITLES = {row.name: row for row in ROWS}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run: where and when, what was measured, how it compares. This is what `--json` writes."""

    date: str
    machine: str
    pinned: bool
    rounds: int
    effort: str
    gateways: list[Figures]
    verdicts: list[Verdict]
    # Per gateway and row, how far apart the rounds were, in percent of their median.
    spread_percent: dict[str, dict[str, float]]
    not_measured: dict[str, str]


def as_text(report: Report) -> str:
    """Return the report for a terminal."""
    parts = [
        f"{report.date} · {report.machine}",
        _conditions(report),
        _aligned(_figures_table(report.gateways)),
    ]
    parts += [_aligned(table) for table in (_ratio_table(report.gateways),) if len(table) > 1]
    if report.verdicts:
        parts.append(_aligned(_verdict_table(report.verdicts)))
    return "\n\n".join(part for part in [*parts, _notes(report)] if part)


def as_markdown(report: Report) -> str:
    """Return the report as the page docs/benchmarks.md."""
    parts = [
        "# Benchmarks",
        "Written by `switchgear bench --markdown`; how it is measured is in `bench/README.md`.",
        f"Measured on {report.date}: {report.machine}. {_conditions(report)}",
        _piped(_figures_table(report.gateways)),
    ]
    ratios = _ratio_table(report.gateways)
    if len(ratios) > 1:
        parts += ["## As multiples of the others", _piped(ratios)]
    if report.verdicts:
        parts += ["## Against the budget", _piped(_verdict_table(report.verdicts))]
    notes = _notes(report)
    return "\n\n".join([*parts, notes] if notes else parts) + "\n"


def number(value: float | None, decimals: int = 0) -> str:
    """Return a figure with thousands separated, or a dash."""
    return "-" if value is None else f"{value:,.{decimals}f}"


def _conditions(report: Report) -> str:
    pinned = "gateway on one core, load and mock on another" if report.pinned else "NOT pinned: one core only"
    sizes = "1 KB prompt, 600-byte answer, 50 chunks"
    return f"Rounds: {report.rounds} ({report.effort}), medians; {pinned}; {sizes}."


def _cell(figures: Figures, row: Row) -> str:
    if row.name in figures.faults:
        return "invalid"
    text = number(figures.value(row.name), row.decimals)
    # 20,000 requests are the rule; where it was fewer, the figure says so.
    short = row.name == "rss_loaded_mb" and 0 < figures.loaded_requests < 20_000
    return f"{text} ({figures.loaded_requests:,} req)" if short else text


def _figures_table(gateways: Sequence[Figures]) -> list[list[str]]:
    head = ["gateway", "language", *(row.title for row in ROWS)]
    return [head, *([_label(one), one.language, *(_cell(one, row) for row in ROWS)] for one in gateways)]


def _label(figures: Figures) -> str:
    without_auth = "" if figures.auth or figures.name == "nginx" else " (no auth)"
    return f"{figures.name} {figures.version}{without_auth}"


def _ratio_table(gateways: Sequence[Figures]) -> list[list[str]]:
    own, others = gateways[0], gateways[1:]
    head = [f"{own.name} ÷", *(_TITLES[name].title for name in _RATIO_ROWS)]
    lines = [[other.name, *(number(ratio(own, other, name), 3) for name in _RATIO_ROWS)] for other in others]
    return [head, *lines] if own.values else [head]


def _verdict_table(verdicts: Sequence[Verdict]) -> list[list[str]]:
    return [["budget", "measured", "must ≤", "aim ≤", "verdict"], *map(_verdict_line, verdicts)]


def _verdict_line(verdict: Verdict) -> list[str]:
    limit = verdict.limit
    unit = f" x {limit.against}" if limit.against else ""
    decimals = 3 if limit.against else 1
    word = verdict.word if verdict.measured is not None else f"{verdict.word}: {verdict.why}"
    return [
        _TITLES[limit.row].title,
        number(verdict.measured, decimals) + (unit if verdict.measured is not None else ""),
        f"{limit.must:g}{unit}",
        f"{limit.aim:g}{unit}",
        word,
    ]


def _notes(report: Report) -> str:
    notes = [
        f"- {one.name}, {_TITLES[row].title}: invalid, {why}"
        for one in report.gateways
        for row, why in one.faults.items()
    ]
    notes += [
        f"- {name}, {_TITLES[row].title}: the rounds lie {percent:.0f} % apart"
        for name, rows in report.spread_percent.items()
        for row, percent in rows.items()
        if row.startswith("cpu_") and percent > _WIDE_PERCENT
    ]
    notes += [f"- {name}: not measured, {_briefly(why)}" for name, why in report.not_measured.items()]
    return "\n".join(notes)


def _briefly(why: str) -> str:
    # The first line says what happened; the last is usually what the program itself said of it.
    lines = why.strip().splitlines()
    return lines[0] if len(lines) < 2 else f"{lines[0]} {lines[-1]}"


def _aligned(table: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    # The first column is names; the others are figures, which line up on the right.
    lines = [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in table
    ]
    return "\n".join(line.rstrip() for line in lines)


def _piped(table: Sequence[Sequence[str]]) -> str:
    rows = ["| " + " | ".join(line) + " |" for line in table]
    return "\n".join([rows[0], "|---" * len(table[0]) + "|", *rows[1:]])
