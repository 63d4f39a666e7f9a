"""LLM_BACKEND and its family start a usable gateway with no file."""

import json
from pathlib import Path

import pytest

from switchgear.config import load, settings_from
from switchgear.config.detection import Found
from switchgear.config.environment import read_environment
from switchgear.config.problems import Problems
from switchgear.core.errors import ConfigError
from switchgear.core.settings import Secret, Settings


def started(**environ: str) -> Settings:
    return load(None, environ).settings


@pytest.fixture(autouse=True)
def _no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("backend", "url", "provider", "base_url"),
    [
        ("ollama", "", "ollama", ""),
        ("ollama", "http://gpu:11434", "ollama", "http://gpu:11434"),
        ("Ollama", "http://gpu:11434/v1/", "ollama", "http://gpu:11434"),
        ("vllm", "http://gpu:8000", "vllm", "http://gpu:8000/v1"),
        ("vLLM", "http://gpu:8000/", "vllm", "http://gpu:8000/v1"),
        ("vllm", "http://gpu:8000/api/v2", "vllm", "http://gpu:8000/api/v2"),
        ("tgi", "http://gpu:8080", "tgi", "http://gpu:8080"),
        ("openai", "", "openai", ""),
        ("openai-compatible", "http://gpu:1", "openai_compatible", "http://gpu:1/v1"),
        ("LM Studio", "", "lmstudio", ""),
        ("deepseek", "https://mirror.example", "deepseek", "https://mirror.example"),
        ("gemini", "https://mirror.example", "gemini", "https://mirror.example/v1beta/openai"),
    ],
)
def test_a_backend_is_the_default_provider(backend: str, url: str, provider: str, base_url: str) -> None:
    settings = started(LLM_BACKEND=backend, LLM_BACKEND_URL=url)
    assert settings.default_provider == provider
    assert settings.providers[provider].kind == provider
    assert settings.providers[provider].base_url == base_url


def test_the_vendors_own_variable_is_its_key() -> None:
    settings = started(LLM_BACKEND="gemini", GOOGLE_API_KEY="sk-g")
    assert settings.providers["gemini"].api_key == Secret("sk-g")
    behind_a_proxy = started(LLM_BACKEND="openai", LLM_BACKEND_URL="http://proxy/v1", OPENAI_API_KEY="sk-o")
    assert behind_a_proxy.providers["openai"].api_key == Secret("sk-o")


def test_max_concurrent_is_the_backends() -> None:
    assert started(LLM_BACKEND="ollama", MAX_CONCURRENT="4").providers["ollama"].max_concurrency == 4


def test_keys_come_with_what_is_known_of_them() -> None:
    said = {
        "sk-a": {"name": "alice", "models": ["fast", "gpt-*"], "rate_limit": 60, "team": "red", "seats": 3, "x": None},
        "sk-b": {"requests_per_minute": 5, "models": "a, b", "address": {"city": "Rome", "tags": [1]}},
        "sk-c": "carol",
        "sk-d": None,
        "sk-e": {"limits": {"requests_per_minute": 7}},
    }
    keys = started(LLM_BACKEND="ollama", API_KEYS_JSON=json.dumps(said)).keys
    assert [key.name for key in keys] == ["alice", "key-2", "carol", "key-4", "key-5"]
    assert [key.key for key in keys] == [Secret(key) for key in said]
    assert [key.limits.requests_per_minute for key in keys] == [60, 5, None, None, 7]
    assert [key.models for key in keys][:3] == [("fast", "gpt-*"), ("a", "b"), ("*",)]
    assert keys[0].metadata == {"team": "red", "seats": "3"}
    assert keys[1].metadata == {"address": '{"city": "Rome", "tags": [1]}'}


def test_a_files_keys_are_the_only_ones() -> None:
    environ = {"API_KEYS_JSON": '{"sk-env": "env"}'}
    assert [key.name for key in settings_from("keys: [{key: k, name: file}]", environ).keys] == ["file"]
    assert [key.name for key in settings_from("keys: []", environ).keys] == ["env"], "an empty list leaves no door open"


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"LLM_BACKEND": "olama"}, "LLM_BACKEND: not a kind of provider Switchgear knows; did you mean 'ollama'?"),
        ({"LLM_BACKEND": "custom"}, "LLM_BACKEND: a custom provider needs a configuration file that says its path"),
        ({"API_KEYS_JSON": '{"a": 1'}, "API_KEYS_JSON: not JSON: expecting ',' delimiter at character 8"),
        (
            {"API_KEYS_JSON": '{"a": 1}'},
            'API_KEYS_JSON entry 1: expected an object such as {"name": "alice"}, or a name',
        ),
        (
            {"API_KEYS_JSON": "[1]"},
            'API_KEYS_JSON: expected a JSON object of keys and what is known of them: {"sk-…": {"name": "…"}}',
        ),
        ({"API_KEYS_JSON": "[" * 100_000}, "API_KEYS_JSON: not JSON: nested too deeply"),
    ],
)
def test_mistakes(environ: dict[str, str], line: str) -> None:
    problems = Problems()
    read_environment(environ, problems)
    assert problems.lines() == [line]


def test_a_key_given_twice_is_not_kept_in_silence() -> None:
    with pytest.raises(ConfigError, match=r"keys\[1\]\.key: the same key as keys\[0\]"):
        settings_from("", {"API_KEYS_JSON": '{"k": {"name": "a"}, "k": {"name": "b"}}'})


def test_what_does_nothing_is_said() -> None:
    loaded = load(None, {"SWITCHGEAR__SERVER__PORT": "1", "MAX_CONCURRENT": "3"}, look=lambda environ: Found())
    assert "MAX_CONCURRENT is set and ignored, because LLM_BACKEND is not set" in loaded.warnings
