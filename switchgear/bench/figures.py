"""The rows of the table: what is measured, in which unit, and how rounds become one figure."""

from collections.abc import Iterable, Mapping
from statistics import median

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One measured quantity; `name` is its key everywhere, its unit last."""

    name: str
    title: str
    decimals: int = 0


ROWS = (
    Row("cpu_request_us", "µs CPU / request"),
    Row("cpu_stream_us", "µs CPU / stream"),
    Row("cpu_paced_us", "µs CPU / paced stream"),
    Row("requests_per_s", "req/s"),
    Row("p50_ms", "p50 ms", 2),
    Row("p50_over_nginx_ms", "p50 over nginx ms", 2),
    Row("rss_idle_mb", "RSS idle MB"),
    Row("rss_loaded_mb", "RSS loaded MB"),
    Row("start_s", "start s", 2),
    Row("open_stream_kb", "KB / open stream"),
    Row("installed_mb", "installed MB"),
)
ROW_NAMES = frozenset(row.name for row in ROWS)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured of one gateway; a row in `faults` must not be used."""

    name: str
    version: str
    language: str
    auth: bool
    values: dict[str, float] = {}
    faults: dict[str, str] = {}
    # How many requests `rss_loaded_mb` was read after: a slow peer is not given the time for all of them.
    loaded_requests: int = 0

    def value(self, row: str) -> float | None:
        """Return a row's figure, or None where there is none to be used."""
        return None if row in self.faults else self.values.get(row)


class Sample(msgspec.Struct, frozen=True):
    """What one round gave: a value for each row that went well, and a reason for each that did not."""

    values: dict[str, float] = {}
    faults: dict[str, str] = {}


def combine(samples: Iterable[Sample]) -> Sample:
    """Take the median of each row over the rounds; a row that went wrong in any round is a fault."""
    rounds: dict[str, list[float]] = {}
    faults: dict[str, str] = {}
    for sample in samples:
        faults.update(sample.faults)
        for row, value in sample.values.items():
            rounds.setdefault(row, []).append(value)
    return Sample(values={row: median(values) for row, values in rounds.items()}, faults=faults)


def ratio(of: Figures, to: Figures, row: str) -> float | None:
    """Return one gateway's figure as a multiple of another's, or None where either is missing."""
    mine, other = of.value(row), to.value(row)
    return mine / other if mine is not None and other else None


def spread_percent(samples: Iterable[Sample]) -> Mapping[str, float]:
    """Return how far apart the rounds were, per row: (largest - smallest) / median, in percent."""
    rounds: dict[str, list[float]] = {}
    for sample in samples:
        for row, value in sample.values.items():
            rounds.setdefault(row, []).append(value)
    return {row: 100 * (max(v) - min(v)) / median(v) for row, v in rounds.items() if median(v)}
