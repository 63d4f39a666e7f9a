"""One environment variable replaces one value, wherever it leads."""

import pytest

from switchgear.config import settings_from
from switchgear.core.errors import ConfigError
from switchgear.core.settings import Secret, Settings

FILE = """
server: {port: 1}
providers:
  vllm-1: {kind: vllm, headers: {X-Team: red}}
  ollama:
models: {gpt-4.1: {targets: [ollama/x]}}
keys: [{key: k, name: n}]
"""


def overridden(name: str, value: str) -> Settings:
    return settings_from(FILE, {name: value})


def test_leaves_of_every_depth() -> None:
    assert overridden("SWITCHGEAR__SERVER__PORT", "8080").server.port == 8080
    assert overridden("SWITCHGEAR__DEFAULT_PROVIDER", "ollama").default_provider == "ollama"
    assert overridden("SWITCHGEAR__TIMEOUTS__CONNECT_S", "0.5").timeouts.connect_s == 0.5
    vllm = overridden("SWITCHGEAR__PROVIDERS__VLLM_1__API_KEY", "sk-x").providers["vllm-1"]
    assert vllm.api_key == Secret("sk-x")
    vllm = overridden("SWITCHGEAR__PROVIDERS__VLLM_1__TIMEOUTS__TOTAL_S", "9").providers["vllm-1"]
    assert vllm.timeouts is not None
    assert vllm.timeouts.total_s == 9
    vllm = overridden("SWITCHGEAR__PROVIDERS__VLLM_1__HEADERS__X_TEAM", "blue").providers["vllm-1"]
    assert vllm.headers == {"X-Team": Secret("blue")}
    assert overridden("SWITCHGEAR__KEYS__0__LIMITS__REQUESTS_PER_MINUTE", "5").keys[0].limits.requests_per_minute == 5
    assert overridden("SWITCHGEAR__PROVIDERS__OLLAMA__QUEUE_SIZE", "5").providers["ollama"].queue_size == 5


def test_case_and_punctuation_of_names_do_not_matter() -> None:
    assert overridden("switchgear__server__port", "8080").server.port == 8080
    models = overridden("SWITCHGEAR__MODELS__GPT_4_1__TARGETS", "[vllm-1]").models
    assert models["gpt-4.1"].targets == ("vllm-1",)


def test_lists_and_tables_take_yaml_and_json() -> None:
    origins = overridden("SWITCHGEAR__SERVER__CORS_ORIGINS", '["https://a.example", "https://b.example"]')
    assert origins.server.cors_origins == ("https://a.example", "https://b.example")
    providers = overridden(
        "SWITCHGEAR__PROVIDERS", '{"ollama": {"queue_size": 3}, "vllm-1": {"kind": "vllm"}}'
    ).providers
    assert providers["ollama"].queue_size == 3
    keys = overridden("SWITCHGEAR__KEYS", "[{key: a, name: b}]").keys
    assert keys[0].key == Secret("a")


def test_a_text_is_taken_as_it_is() -> None:
    key = overridden("SWITCHGEAR__KEYS__0__KEY", "${NOT_FILLED_IN}[1]").keys[0].key
    assert key.reveal() == "${NOT_FILLED_IN}[1]"


def test_an_empty_variable_counts_as_unset() -> None:
    assert overridden("SWITCHGEAR__SERVER__PORT", "").server.port == 1
    assert overridden("SWITCHGEAR__NONSENSE", "") == overridden("OTHER", "1")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("SWITCHGEAR__SERVER__PROT", "there is no PROT; did you mean 'PORT'?"),
        ("SWITCHGEAR__PROVIDERS__VLLM__API_KEY", "there is no VLLM; did you mean 'VLLM_1'?"),
        ("SWITCHGEAR__PROVIDERS__ZZZ", "there is no ZZZ; known here: vllm-1, ollama"),
        ("SWITCHGEAR__KEYS__1__KEY", "there is no 1; known here: 0"),
        ("SWITCHGEAR__SERVER__PORT__X", "PORT is a single value, there is nothing below it"),
        ("SWITCHGEAR__KEYS__0__NAME__X", "NAME is a single value, there is nothing below it"),
    ],
)
def test_a_name_that_leads_nowhere_is_a_mistake(name: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        overridden(name, "1")
    assert caught.value.problems == (f"{name}: {line}",)


def test_a_wrong_value_names_the_variable() -> None:
    with pytest.raises(ConfigError) as caught:
        overridden("SWITCHGEAR__SERVER__PORT", "abc")
    assert caught.value.problems == (
        "server.port: expected a whole number from 0 to 65535, got the value of $SWITCHGEAR__SERVER__PORT",
    )


def test_names_that_are_written_alike_are_told_apart_by_nobody() -> None:
    with pytest.raises(ConfigError, match="VLLM_1 may be 'vllm-1' or 'vllm_1'"):
        settings_from(
            "providers: {vllm-1: {kind: vllm}, vllm_1: {kind: vllm}}",
            {"SWITCHGEAR__PROVIDERS__VLLM_1__QUEUE_SIZE": "1"},
        )


def test_the_whole_and_a_part_do_not_go_together() -> None:
    with pytest.raises(ConfigError, match=r"\$SWITCHGEAR__SERVER gives the whole of SERVER already"):
        settings_from("", {"SWITCHGEAR__SERVER": "{port: 1}", "SWITCHGEAR__SERVER__PORT": "2"})


def test_the_wrong_shape_is_one_mistake() -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from("server: []", {"SWITCHGEAR__SERVER__PORT": "2"})
    assert caught.value.problems == ("server: expected a table of settings, got a list",)


def test_a_table_that_is_left_open_is_made() -> None:
    settings = settings_from("server: ", {"SWITCHGEAR__SERVER__PORT": "2"})
    assert settings.server.port == 2
