"""The budget this gateway is held to, and whether a run stayed within it."""

from collections.abc import Mapping

import msgspec

from switchgear.bench.figures import Figures


class Limit(msgspec.Struct, frozen=True):
    """One line of the budget: bounds for a row, as a multiple of `against`'s figure or, if None, plainly."""

    row: str
    against: str | None
    must: float
    aim: float


LIMITS = (
    Limit("cpu_request_us", "rolter", must=0.75, aim=0.5),
    Limit("cpu_stream_us", "rolter", must=0.5, aim=0.33),
    Limit("cpu_paced_us", "rolter", must=0.95, aim=0.8),
    Limit("cpu_request_us", "litellm", must=0.01, aim=0.006),
    Limit("p50_ms", "nginx", must=2.5, aim=1.7),
    Limit("start_s", None, must=1.5, aim=0.8),
    Limit("rss_idle_mb", None, must=110, aim=80),
    Limit("rss_loaded_mb", None, must=120, aim=85),
    Limit("open_stream_kb", None, must=60, aim=30),
    Limit("installed_mb", None, must=120, aim=70),
)


class Verdict(msgspec.Struct, frozen=True):
    """How one line came out; where a figure was missing `why` says which."""

    limit: Limit
    # One of: aim, pass, FAIL, not measured.
    word: str
    measured: float | None = None
    why: str = ""


def judge(own: Figures, others: Mapping[str, Figures]) -> list[Verdict]:
    """Hold one gateway's figures against every line of the budget."""
    return [_judge(limit, own, others) for limit in LIMITS]


def _judge(limit: Limit, own: Figures, others: Mapping[str, Figures]) -> Verdict:
    mine = own.value(limit.row)
    if mine is None:
        return _unknown(limit, own.faults.get(limit.row, f"no figure for {own.name}"))
    if limit.against is None:
        return Verdict(limit, _word(limit, mine), mine)
    other = others.get(limit.against)
    theirs = other.value(limit.row) if other else None
    if not theirs:
        return _unknown(limit, f"{limit.against} was not measured in this run")
    return Verdict(limit, _word(limit, mine / theirs), mine / theirs)


def _unknown(limit: Limit, why: str) -> Verdict:
    return Verdict(limit, "not measured", why=why)


def _word(limit: Limit, measured: float) -> str:
    if measured <= limit.aim:
        return "aim"
    return "pass" if measured <= limit.must else "FAIL"
