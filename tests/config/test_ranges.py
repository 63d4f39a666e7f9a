"""Every number of the settings has a range, and every range is of a setting."""

import math
from collections.abc import Iterator
from typing import get_args, get_origin

import pytest
from msgspec.structs import fields

from switchgear.config.ranges import RANGES, Range
from switchgear.config.tree import is_table, optional
from switchgear.core.settings import Settings, Table


def tables(table: type[Table]) -> Iterator[type[Table]]:
    yield table
    for field in fields(table):
        kind = optional(field.type)[0]
        inner = get_args(kind)[{dict: 1, tuple: 0}[origin]] if (origin := get_origin(kind)) in (dict, tuple) else kind
        if is_table(inner):
            yield from tables(inner)


def test_every_number_has_a_range() -> None:
    numbers = {
        (table, field.name)
        for table in tables(Settings)
        for field in fields(table)
        if optional(field.type)[0] in (int, float)
    }
    assert numbers == {(table, name) for table, named in RANGES.items() for name in named}


def test_every_default_is_in_its_range() -> None:
    for table, named in RANGES.items():
        for field in fields(table):
            if field.name in named and field.default is not None:
                assert named[field.name].has(field.default), field.name


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "words"),
    [
        (Range(1), 1, 0, "of at least 1"),
        (Range(0, 9), 9, 10, "from 0 to 9"),
        (Range(0, above=True), 0.1, 0, "above 0"),
        (Range(0), 0, math.inf, "of at least 0"),
        (Range(0), 0, math.nan, "of at least 0"),
    ],
)
def test_a_range(limits: Range, inside: float, outside: float, words: str) -> None:
    assert limits.has(inside)
    assert not limits.has(outside)
    assert str(limits) == words
