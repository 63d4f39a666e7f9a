"""A secret shows up nowhere: not in settings, not in a message, wherever it was put by mistake."""

import json
import pickle

import msgspec
import pytest

from switchgear.cli.banner import banner
from switchgear.cli.check import summary
from switchgear.config import Loaded, load, settings_from
from switchgear.core.errors import ConfigError

CANARY = "sk-canary-5f0c2e"
ENVIRON = {"CANARY": CANARY}

GOOD = """
providers:
  openai: {api_key: "${CANARY}"}
  vllm: {api_key: sk-canary-5f0c2e, base_url: "http://127.0.0.1:1/v1"}
keys:
  - {key: sk-canary-5f0c2e, name: literal}
  - {key: "${CANARY}x", name: composed}
"""

SLIPS = [
    # In place of a table, a list, a number or a name
    "providers: {openai: sk-canary-5f0c2e}",
    "providers: sk-canary-5f0c2e",
    "keys: sk-canary-5f0c2e",
    "keys: [sk-canary-5f0c2e]",
    "keys: {sk-canary-5f0c2e: {name: alice}}",
    "keys: [{sk-canary-5f0c2e: {name: alice}}]",
    "keys: [{key: sk-canary-5f0c2e, nmae: alice}]",
    "keys: [{key: [sk-canary-5f0c2e], name: alice}]",
    "keys: [{key: {value: sk-canary-5f0c2e}, name: alice}]",
    "keys: [{key: sk-canary-5f0c2e, name: a}, {key: sk-canary-5f0c2e, name: b}]",
    "keys: [{key: 'sk-canary-5f0c2e with a space', name: a}]",
    "keys: [{key: k, name: a, metadata: {m: [sk-canary-5f0c2e]}}]",
    "keys: [{key: k, name: a, metadata: sk-canary-5f0c2e}]",
    "providers: {openai: {api_key: ['sk-canary-5f0c2e']}}",
    'providers: {openai: {api_key: "sk-canary-5f0c2e\\n"}}',
    "providers: {vllm: {base_url: 'http://u:sk-canary-5f0c2e@h/v1'}}",
    "providers: {vllm: {base_url: 'http://h/v1?key=sk-canary-5f0c2e'}}",
    "providers: {vllm: {headers: {x-key: [sk-canary-5f0c2e]}}}",
    'providers: {vllm: {headers: {x-key: "sk-canary-5f0c2e\\n"}}}',
    # Out of the environment, in any place at all
    "server: {port: '${CANARY}'}",
    "server: {host: '${CANARY}'}",
    "server: {cors_origins: '${CANARY}'}",
    "server: {cors_origins: ['${CANARY}']}",
    "server: '${CANARY}'",
    "default_provider: '${CANARY}'",
    "providers: {x: {kind: '${CANARY}'}}",
    "providers: {x: {kind: custom, path: '/${CANARY}'}}",
    "providers: {ollama: {timeouts: '${CANARY}'}}",
    "providers: {ollama: {timeouts: {connect_s: '${CANARY}'}}}",
    "models: {m: {targets: ['${CANARY}/x']}}",
    "models: {m: {targets: '${CANARY}'}}",
    # In a text that is no YAML
    "providers: {openai: {api_key: *sk-canary-5f0c2e}}",
    "providers: {openai: {api_key: !sk-canary-5f0c2e x}}",
    "providers: {openai: {api_key: sk-canary-5f0c2e: x}}",
    "providers: {openai: {api_key: 'sk-canary-5f0c2e}}",
    "keys: {sk-canary-5f0c2e: a, sk-canary-5f0c2e: b}",
    "api_key: &sk-canary-5f0c2e",
    "%sk-canary-5f0c2e\na: b",
]

VARIABLES = [
    {"API_KEYS_JSON": CANARY},
    {"API_KEYS_JSON": json.dumps({CANARY: 1})},
    {"API_KEYS_JSON": json.dumps({CANARY: {"name": "a", "rate_limit": "often"}})},
    {"API_KEYS_JSON": json.dumps({CANARY: {"name": "a", "models": 1}})},
    {"API_KEYS_JSON": json.dumps({CANARY: {"name": "a", "limits": CANARY}})},
    {"API_KEYS_JSON": json.dumps([CANARY])},
    {"API_KEYS_JSON": f'{{"{CANARY}": {{"name": "a"}}, "{CANARY}": {{"name": "b"}}}}'},
    {"API_KEYS_JSON": f'{{"{CANARY}": '},
    {"LLM_BACKEND": CANARY},
    {"LLM_BACKEND": "vllm", "LLM_BACKEND_URL": CANARY},
    {"LLM_BACKEND": "vllm", "MAX_CONCURRENT": CANARY},
    {"SWITCHGEAR__SERVER__PORT": CANARY},
    {"SWITCHGEAR__PROVIDERS": json.dumps({"openai": {"api_key": CANARY, "kind": CANARY}})},
    {"SWITCHGEAR__PROVIDERS": CANARY},
    {"SWITCHGEAR__KEYS": json.dumps([{"key": CANARY}])},
    {"SWITCHGEAR__KEYS": f"[{CANARY}"},
]


def _shown(loaded: Loaded) -> str:
    settings = loaded.settings
    keys = [repr(key) for key in settings.keys]
    return "\n".join([repr(settings), str(settings), repr(loaded), *keys, summary(loaded), banner(loaded, True)])


def test_good_settings_do_not_show_their_secrets() -> None:
    environ = ENVIRON | {
        "LLM_BACKEND": "groq",
        "GROQ_API_KEY": CANARY,
        "SWITCHGEAR__PROVIDERS__GROQ__API_KEY": CANARY,
        "API_KEYS_JSON": json.dumps({CANARY: {"name": "alice", "team": "red"}}),
    }
    loaded = load(None, environ)
    assert loaded.settings.keys[0].key.reveal() == CANARY, "else this test proves nothing"
    assert CANARY not in _shown(loaded)
    settings = settings_from(GOOD, ENVIRON)
    assert settings.providers["vllm"].api_key is not None
    assert CANARY not in repr(settings)
    with pytest.raises(TypeError):
        msgspec.json.encode(settings)
    assert pickle.loads(pickle.dumps(settings)) == settings, "a spawned worker is sent them"


@pytest.mark.parametrize("slip", SLIPS)
def test_a_misplaced_secret_is_not_repeated(slip: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from(slip, ENVIRON)
    assert caught.value.problems
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("variables", VARIABLES, ids=str)
def test_a_variable_with_a_mistake_is_not_repeated(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from("", variables)
    assert "canary" not in str(caught.value)
