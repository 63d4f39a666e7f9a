"""What is allowed and may not be meant is said."""

import pytest

from switchgear.config import settings_from
from switchgear.config.warnings import warnings_about

CLOSED = "\nkeys: [{key: k, name: n, limits: {requests_per_minute: 1}}]"


def about(text: str) -> list[str]:
    return warnings_about(settings_from(text, {}))


def test_good_settings_have_none() -> None:
    assert about("providers: {openai: {api_key: k}, ollama: {base_url: 'http://h:1'}}" + CLOSED) == []


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("server: {}" + CLOSED, "there are no providers, so nothing can be answered"),
        (
            "providers: {openai: }" + CLOSED,
            "providers.openai: no api_key and no OPENAI_API_KEY, so openai will refuse every call",
        ),
        (
            "providers: {vllm: {base_url: 'http://h:1'}}" + CLOSED,
            "providers.vllm: base_url has no path; OpenAI-compatible servers mostly want it to end with /v1",
        ),
        (
            "providers: {ollama: {options: {a: 1}}}" + CLOSED,
            "providers.ollama: options is for kind custom and tgi and does nothing here",
        ),
        (
            "server: {workers: 2}\nproviders: {ollama: }" + CLOSED,
            "limits are kept per process: 2 workers allow as many times the rate",
        ),
        (
            "providers: {ollama: }",
            "open: there are no keys, so every program on this machine can call, "
            "and so can any web page you visit (server.cors_origins is '*')",
        ),
        (
            "server: {cors_origins: []}\nproviders: {ollama: }",
            "open: there are no keys, so every program on this machine can call",
        ),
    ],
)
def test_a_warning(text: str, warning: str) -> None:
    assert about(text) == [warning]


def test_a_key_in_a_header_of_ones_own_will_do() -> None:
    assert about("providers: {openai: {headers: {Authorization: Bearer k}}}" + CLOSED) == []


def test_an_address_that_has_no_path_by_nature_is_fine() -> None:
    assert about("providers: {deepseek: {base_url: 'https://api.deepseek.com', api_key: k}}" + CLOSED) == []
