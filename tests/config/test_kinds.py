"""Every kind says what it needs, and people's spellings of a kind find it."""

import pytest

from switchgear.config.kinds import KINDS, kind_named
from switchgear.providers.compat import KINDS as COMPATIBLE


def test_the_kinds_are_the_compatible_ones_and_three_more() -> None:
    assert set(KINDS) == set(COMPATIBLE) | {"ollama", "tgi", "custom"}
    assert all(kind.about for kind in KINDS.values())


@pytest.mark.parametrize(
    ("word", "kind"),
    [("OpenAI", "openai"), ("llama.cpp", "llamacpp"), ("openai-compatible", "openai_compatible"), ("nope", None)],
)
def test_spelling_does_not_matter(word: str, kind: str | None) -> None:
    assert kind_named(word) == kind


def test_a_prefix_means_one_vendor() -> None:
    prefixes = [prefix.rstrip("*") for kind in KINDS.values() for prefix in kind.prefixes]
    clashes = [(a, b) for a in prefixes for b in prefixes if a is not b and a.startswith(b)]
    assert clashes == []
