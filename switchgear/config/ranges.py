"""What numbers each numeric setting may be."""

import math

from msgspec import Struct

from switchgear.core.settings import LimitSettings, ProviderSettings, ServerSettings, Table, TimeoutSettings


class Range(Struct, frozen=True):
    """From ``least`` to ``most``, both allowed unless ``above`` says that ``least`` itself is not."""

    least: float
    most: float = math.inf
    above: bool = False

    def has(self, number: float) -> bool:
        """Whether ``number`` is in it; infinity and NaN are in none."""
        enough = number > self.least if self.above else number >= self.least
        return math.isfinite(number) and enough and number <= self.most

    def __str__(self) -> str:
        if self.most != math.inf:
            return f"from {self.least:g} to {self.most:g}"
        return f"above {self.least:g}" if self.above else f"of at least {self.least:g}"


_POSITIVE = Range(0, above=True)
_COUNT = Range(1)
_NONE_OR_MORE = Range(0)

RANGES: dict[type[Table], dict[str, Range]] = {
    ServerSettings: {
        "port": Range(0, 65535),
        "workers": _COUNT,
        "max_body_bytes": _COUNT,
        "body_timeout_s": _POSITIVE,
        "drain_timeout_s": _NONE_OR_MORE,
        "pre_drain_s": _NONE_OR_MORE,
        "keepalive_s": _POSITIVE,
    },
    TimeoutSettings: {
        "connect_s": _POSITIVE,
        "first_byte_s": _POSITIVE,
        "between_chunks_s": _POSITIVE,
        "total_s": _POSITIVE,
    },
    ProviderSettings: {
        "max_concurrency": _NONE_OR_MORE,
        "queue_size": _NONE_OR_MORE,
        "queue_timeout_s": _POSITIVE,
        "max_connections": _COUNT,
    },
    LimitSettings: {"requests_per_minute": _COUNT},
}
