"""Targets in the order they were configured: the first that can serve, serves."""

from collections.abc import Sequence

from switchgear.core.types import Target


def order(targets: Sequence[Target]) -> Sequence[Target]:
    """As configured."""
    return targets
