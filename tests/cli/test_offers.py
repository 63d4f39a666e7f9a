"""What settings offer, in rows, and a line that works when it is pasted."""

import json
import shlex

import pytest

from switchgear.cli.offers import offers_of, url_of
from switchgear.config import Loaded, settings_from


def loaded(text: str, **variables: str) -> Loaded:
    return Loaded(settings_from(text, {"OPENAI_API_KEY": "x"}), "test", variables, [])


def curl(text: str, **variables: str) -> list[str]:
    return shlex.split(offers_of(loaded(text, **variables)).curl)


def test_the_first_model_is_asked() -> None:
    words = curl('providers: {ollama: }\nmodels: {gpt-*: {targets: [ollama]}, "it\'s": {targets: [ollama/x]}}')
    assert words[:2] == ["curl", "http://127.0.0.1:4000/v1/chat/completions"]
    assert words[2:4] == ["-H", "Content-Type: application/json"]
    assert json.loads(words[5])["model"] == "it's"


def test_a_model_of_a_provider_will_do() -> None:
    words = curl("providers: {openai: , ollama: {models: [llama3]}}")
    assert json.loads(words[-1])["model"] == "ollama/llama3"


def test_where_no_model_is_known_the_models_are_listed() -> None:
    assert curl("providers: {openai: }") == ["curl", "http://127.0.0.1:4000/v1/models"]


KEYS = """
providers: {ollama: }
models: {slow: {targets: [ollama/s]}, fast: {targets: [ollama/f]}}
keys: [{key: sk-canary-1, name: a, models: [none]}, {key: sk-canary-2, name: b, models: [fa*]}]
"""


def test_the_key_is_one_that_may() -> None:
    offers = offers_of(loaded(KEYS, b="GATEWAY_KEY"))
    assert '-H "Authorization: Bearer $GATEWAY_KEY"' in offers.curl, "for the shell to fill in"
    assert '"model": "fast"' in offers.curl
    assert offers.hint == ""


def test_a_key_without_a_variable_is_a_place_to_fill() -> None:
    offers = offers_of(loaded(KEYS))
    assert '-H "Authorization: Bearer $KEY"' in offers.curl
    assert offers.hint == "KEY stands for the key of b"
    assert "canary" not in repr(offers)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://[::1]:1"),
        ("fd00::1", "http://[fd00::1]:1"),
    ],
)
def test_an_address_that_can_be_called(host: str, url: str) -> None:
    assert url_of(host, 1) == url


def test_where_each_provider_is() -> None:
    text = """
    providers:
      openai:
      local: {kind: llamacpp, base_url: "http://h:1/v1"}
      vllm: {base_url: "http://h:2/v1"}
    """
    assert offers_of(loaded(text)).providers == [
        ("openai", "https://api.openai.com/v1"),
        ("local", "http://h:1/v1"),
        ("vllm", "http://h:2/v1"),
    ]
