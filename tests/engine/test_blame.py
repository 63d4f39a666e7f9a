"""Errors name their provider, and hold nothing that only the provider may know."""

from typing import Any

import pytest

from switchgear.core.errors import UpstreamRejected, UpstreamUnavailable
from switchgear.core.settings import ProviderSettings, Secret
from switchgear.engine.blame import blame
from switchgear.providers.compat import CompatProvider

CANARY = "canary-5e1fb0a7d2c94e33"
HEADER_CANARY = "other-canary-77ac0ffee"


def a_provider(**settings: Any) -> CompatProvider:
    usual: dict[str, Any] = {"kind": "openai_compatible", "base_url": "http://up.test/v1", "api_key": Secret(CANARY)}
    return CompatProvider("up", ProviderSettings(**usual | settings))


def test_the_provider_is_named_once() -> None:
    error = UpstreamUnavailable("It broke.")
    for _ in range(2):
        blame(error, a_provider())
    assert (error.provider, error.message, str(error)) == ("up", "up: It broke.", "up: It broke.")


def test_an_error_that_is_another_providers_stays_that() -> None:
    error = UpstreamUnavailable("It broke.")
    error.provider = "first"
    blame(error, a_provider())
    assert (error.provider, error.message) == ("first", "It broke.")


def test_a_key_is_nowhere_in_the_error() -> None:
    error = UpstreamRejected(
        401,
        f"Bad key {CANARY}!",
        retry_after=CANARY,
        upstream_code=f"bad_{CANARY}",
        upstream_type=f"type_{CANARY}",
        param=CANARY,
    )
    blame(error, a_provider())
    assert error.message == "up: Bad key [redacted]!"
    shown = f"{error!r} {error} {vars(error)} {error.headers()}"
    assert CANARY not in shown


@pytest.mark.parametrize("value", [HEADER_CANARY, f"Bearer {HEADER_CANARY}", f"Basic {HEADER_CANARY}"])
def test_a_configured_header_is_as_secret_as_a_key(value: str) -> None:
    error = UpstreamUnavailable(f"I know {HEADER_CANARY}.")
    blame(error, a_provider(headers={"x-auth": Secret(value)}))
    assert error.message == "up: I know [redacted]."


def test_a_word_in_a_configured_header_is_no_secret() -> None:
    error = UpstreamUnavailable("This is true.")
    blame(error, a_provider(headers={"x-flag": Secret("true")}))
    assert error.message == "up: This is true."


def test_a_key_cut_off_at_the_end_of_a_long_message_is_taken_out() -> None:
    error = UpstreamUnavailable(f"Bad key {CANARY[:-3]}")
    blame(error, a_provider())
    assert error.message == "up: Bad key [redacted]"


@pytest.mark.parametrize("key", ["sk-proj-abcdefgh1234", "sk-abc*****wxyz", "gsk_0123456789", "hf_abcdefghijkl"])
def test_what_looks_like_any_providers_key_is_taken_out(key: str) -> None:
    error = UpstreamUnavailable(f"Incorrect API key provided: {key}.")
    blame(error, a_provider(api_key=None))
    assert key[:8] not in error.message
    assert "[redacted]" in error.message


@pytest.mark.parametrize("words", ["Use the key-value store.", "skip this", "No risk-free lunch"])
def test_words_that_only_begin_like_a_key_are_left(words: str) -> None:
    error = UpstreamUnavailable(words)
    blame(error, a_provider(api_key=None))
    assert error.message == f"up: {words}"
