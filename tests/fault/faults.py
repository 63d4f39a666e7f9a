"""What is wrong with the proxy now: one value, replaced as a whole by every order."""

from typing import Literal

import msgspec

Direction = Literal["down", "up", "both"]
CutWay = Literal["close", "reset", "hang"]


class Cut(msgspec.Struct, frozen=True):
    """End a connection when it has carried so many bytes in a direction."""

    after_bytes: int
    how: CutWay = "close"
    direction: Literal["down", "up"] = "down"


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """``down`` is from the target to the client, ``up`` the other way. The defaults are no fault at all."""

    latency_s: float = 0.0
    latency_direction: Direction = "down"
    bytes_per_s: float | None = None
    drip_direction: Direction = "down"
    swallow: bool = False
    frozen: bool = False
    cut: Cut | None = None

    def latency_of(self, direction: Direction) -> float:
        """Seconds to hold back what goes that way."""
        return self.latency_s if self.latency_direction in (direction, "both") else 0.0

    def rate_of(self, direction: Direction) -> float | None:
        """Bytes per second that way; None for no limit."""
        return self.bytes_per_s if self.drip_direction in (direction, "both") else None
