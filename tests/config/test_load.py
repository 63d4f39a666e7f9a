"""Settings come from the command line, overrides, a file, LLM_BACKEND and what is found, in that order."""

from pathlib import Path

import pytest

from switchgear.config import load, load_settings, settings_from
from switchgear.config.detection import Found
from switchgear.core.errors import ConfigError
from switchgear.core.settings import Secret, Settings

CONTRACT = """
server: {host: 127.0.0.1, port: 4000, workers: 1, cors_origins: ["*"], max_body_bytes: 33554432, drain_timeout_s: 600}
default_provider: openai            # for a model name that nothing else claims
include_extensions: true            # the x_gateway object
providers:
  openai: {api_key: "${OPENAI_API_KEY}"}            # a known name needs no kind
  vllm-1: {kind: openai_compatible, base_url: "http://127.0.0.1:8001/v1", api_key: "${VLLM_KEY:-}"}
  ollama: {base_url: "http://127.0.0.1:11434"}
  tgi:    {kind: tgi, base_url: "http://127.0.0.1:8080"}
  mine:   {kind: custom, path: ./my_provider.py}
models:
  fast: {targets: [vllm-1/llama-3.1-8b, openai/gpt-4o-mini]}
  gpt-*: {targets: [openai]}         # a prefix rule
keys:
  - {key: "${GATEWAY_KEY}", name: user1, models: ["*"], limits: {requests_per_minute: 60}}
timeouts: {connect_s: 5, first_byte_s: 120, between_chunks_s: 60, total_s: 600}
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_contract_of_the_issue_is_read(elsewhere: Path) -> None:
    (elsewhere / "my_provider.py").touch()
    settings = settings_from(CONTRACT, {"OPENAI_API_KEY": "sk-o", "GATEWAY_KEY": "sk-g"})
    assert settings.providers["openai"].api_key == Secret("sk-o")
    assert settings.providers["openai"].kind == "openai"
    assert settings.providers["vllm-1"].api_key is None
    assert settings.providers["mine"].path == str(elsewhere / "my_provider.py")
    assert settings.models["fast"].targets == ("vllm-1/llama-3.1-8b", "openai/gpt-4o-mini")
    assert settings.keys[0].key == Secret("sk-g")
    assert settings.keys[0].limits.requests_per_minute == 60
    assert settings.timeouts.connect_s == 5.0


def test_an_empty_file_is_all_defaults() -> None:
    assert settings_from("", {}) == Settings()
    assert settings_from("server:\nproviders:\nkeys:\n", {}) == Settings()
    assert settings_from({}, {}) == Settings()


def test_a_mapping_is_read_like_a_file() -> None:
    assert settings_from({"server": {"port": 1}}, {}) == settings_from("server: {port: 1}", {})


def test_the_order_of_precedence(elsewhere: Path) -> None:
    file = elsewhere / "switchgear.yaml"
    environ = {"LLM_BACKEND": "vllm", "LLM_BACKEND_URL": "http://env:1/v1", "MAX_CONCURRENT": "3"}

    def base_url() -> str:
        return load(None, environ).settings.providers["vllm"].base_url

    assert base_url() == "http://env:1/v1"
    file.write_text("providers: {vllm: {base_url: 'http://file:1/v1'}}")
    assert base_url() == "http://file:1/v1"
    assert load(None, environ).settings.providers["vllm"].max_concurrency == 3, "what the file leaves open is filled"
    environ["SWITCHGEAR__PROVIDERS__VLLM__BASE_URL"] = "http://override:1/v1"
    assert base_url() == "http://override:1/v1"


def test_the_command_line_wins_over_everything() -> None:
    environ = {"SWITCHGEAR__SERVER__PORT": "5000", "LLM_BACKEND": "ollama"}
    assert load(None, environ, {"port": 6000}).settings.server.port == 6000


def test_the_command_line_is_checked_like_the_rest() -> None:
    with pytest.raises(ConfigError, match=r"server\.port: expected a whole number from 0 to 65535, got 70000"):
        load(None, {"LLM_BACKEND": "ollama"}, {"port": 70000})
    with pytest.raises(ConfigError, match="there are no keys"):
        load(None, {"LLM_BACKEND": "ollama"}, {"host": "0.0.0.0"})


def test_detection_is_the_last_resort(elsewhere: Path) -> None:
    looked = []

    def look(environ: object) -> Found:
        looked.append(environ)
        return Found(ollama_url="http://127.0.0.1:11434")

    assert list(load(None, {}, look=look).settings.providers) == ["ollama"]
    assert load(None, {}, look=look).source == "what was detected"
    looked.clear()
    load(None, {"LLM_BACKEND": "ollama"}, look=look)
    (elsewhere / "switchgear.yaml").write_text("server: {port: 1}")
    assert load(None, {}, look=look).settings.server.port == 1
    assert looked == [], "nobody looks around where something is configured"


def test_a_file_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file or directory"):
        load_settings(tmp_path / "none.yaml", {})


def test_a_file_that_is_no_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"c.yaml: not a text in UTF-8"):
        load_settings(tmp_path / "c.yaml", {})


def test_files_are_found_from_the_folder_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    (tmp_path / "c.yaml").write_text("providers: {mine: {kind: custom, path: ./mine.py}}")
    assert load_settings(tmp_path / "c.yaml", {}).providers["mine"].path == str(tmp_path / "mine.py")


def test_a_vendors_own_variable_gives_the_key_that_is_left_out() -> None:
    settings = settings_from("providers: {openai: , work: {kind: openai}}", {"OPENAI_API_KEY": "sk-o"})
    assert settings.providers["openai"].api_key == Secret("sk-o")
    assert settings.providers["work"].api_key == Secret("sk-o")


def test_a_vendors_key_does_not_follow_another_address() -> None:
    there = "providers: {openai: {base_url: 'https://elsewhere.example/v1'}}"
    environ = {"OPENAI_API_KEY": "sk-o"}
    assert settings_from(there, environ).providers["openai"].api_key is None
    assert settings_from(there, environ | {"LLM_BACKEND": "openai"}).providers["openai"].api_key is None


def test_the_variable_behind_a_client_key_is_known(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        """
        keys:
          - {key: "${GATEWAY_KEY}", name: a}
          - {key: literal, name: b}
          - {key: "pre-${GATEWAY_KEY}", name: c}
          - {key: "${OTHER:-fallback}", name: d}
        """
    )
    assert load(tmp_path / "c.yaml", {"GATEWAY_KEY": "sk-g"}).key_variables == {"a": "GATEWAY_KEY"}
