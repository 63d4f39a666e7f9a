"""YAML read strictly, and references filled in after that."""

import pytest

from switchgear.config import settings_from
from switchgear.config.document import MISSING, FromEnvironment, interpolate, parse
from switchgear.config.problems import Problems
from switchgear.core.errors import ConfigError


def mistakes(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings_from(text, environ or {})
    return list(caught.value.problems)


def test_yaml_anchors_and_merges_are_fine() -> None:
    settings = settings_from(
        """
        providers:
          vllm: &defaults {base_url: "http://a/v1", queue_size: 7}
          sglang: {<<: *defaults, base_url: "http://b/v1"}
        """,
        {},
    )
    assert settings.providers["sglang"].queue_size == 7
    assert settings.providers["sglang"].base_url == "http://b/v1"


def test_aliases_of_aliases_do_not_eat_the_memory() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 10):
        text += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    assert "too large" in mistakes(text)[0]


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${A}", "one"),
        ("x-${A}-${B}", "x-one-two"),
        ("${NONE:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${A:-d}", "one"),
        ("${NONE:-}", ""),
        ("${NONE:-http://h:1/v1}", "http://h:1/v1"),
        ("$${A}", "${A}"),
        ("$A costs 3$", "$A costs 3$"),
        ("$${A}${A}", "${A}one"),
    ],
)
def test_references(text: str, filled: str) -> None:
    problems = Problems()
    assert interpolate({"a": [text]}, {"A": "one", "B": "two", "EMPTY": ""}, problems) == {"a": [filled]}
    assert problems.lines() == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("${NONE}", "a: the environment variable NONE is not set; set it, or write ${NONE:-} where it may be absent"),
        ("${EMPTY}", "a: the environment variable EMPTY is empty; did you mean 'EMPTY_'?"),
        ("${A", "a: expected ${NAME} or ${NAME:-default} after '${'; write $${ for the characters themselves"),
        ("${A:?no}", "a: expected ${NAME} or ${NAME:-default} after '${'; write $${ for the characters themselves"),
    ],
)
def test_references_that_lead_nowhere(text: str, line: str) -> None:
    problems = Problems()
    assert interpolate({"a": text}, {"A": "1", "EMPTY": "", "EMPTY_": "1"}, problems) == {"a": MISSING}
    assert problems.lines() == [line]


def test_a_secret_with_special_characters_cannot_break_the_file() -> None:
    awkward = "a: b\n- #{[\"'&*!"
    tree = interpolate(parse("k: ${K}", "test"), {"K": awkward}, Problems())
    assert tree == {"k": awkward}


def test_what_the_environment_says_can_be_any_type() -> None:
    text = """
    server: {port: "${PORT}", log_requests: "${LOG}", drain_timeout_s: "${DRAIN}", cors_origins: "${ORIGINS}"}
    keys: [{key: k, name: n, limits: {requests_per_minute: "${RPM:-}"}}]
    """
    environ = {"PORT": "5", "LOG": "false", "DRAIN": "1.5", "ORIGINS": '["https://a.example"]'}
    settings = settings_from(text, environ)
    assert settings.server.port == 5
    assert settings.server.log_requests is False
    assert settings.server.drain_timeout_s == 1.5
    assert settings.server.cors_origins == ("https://a.example",)
    assert settings.keys[0].limits.requests_per_minute is None


def test_names_are_not_filled_in() -> None:
    assert interpolate({"${A}": 1}, {"A": "x"}, Problems()) == {"${A}": 1}


def test_a_text_from_the_environment_does_not_show_itself() -> None:
    text = FromEnvironment("sk-canary", "${KEY}")
    assert "sk-canary" not in f"{text!r} {[text]}"
    assert type(str(text)) is str
