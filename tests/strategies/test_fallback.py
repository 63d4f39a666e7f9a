"""Targets in the order they were configured."""

from hypothesis import given
from hypothesis import strategies as st

from switchgear.core.types import Target
from switchgear.strategies.fallback import order

TARGETS = st.lists(st.builds(Target, st.text(max_size=3), st.text(max_size=3)))


@given(TARGETS)
def test_targets_are_tried_as_configured(targets: list[Target]) -> None:
    assert list(order(tuple(targets))) == targets
