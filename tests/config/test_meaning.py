"""Files, addresses and open doors; the table of mistakes is in test_mistakes.py."""

from pathlib import Path

import pytest

from switchgear.config import settings_from
from switchgear.core.errors import ConfigError


def mistakes(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings_from(text, environ or {})
    return list(caught.value.problems)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone.py"
    assert mistakes(f"providers: {{x: {{kind: custom, path: {gone}}}}}") == [
        f"providers.x.path: there is no file {gone}"
    ]
    assert mistakes(f"providers: {{vllm: {{tls_ca_file: {gone}}}}}") == [
        f"providers.vllm.tls_ca_file: there is no file {gone}"
    ]


def test_a_model_file_must_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchgear.config.meaning.find_spec", lambda name: object())
    file = tmp_path / "model.gguf"
    file.write_bytes(b"text")
    (found,) = mistakes(f"providers: {{local: {{kind: llamacpp, model_path: {file}}}}}")
    assert found.startswith(f"providers.local.model_path: {file} is not a GGUF file")


def test_llama_without_its_packages_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchgear.local.llama.unavailable_because", lambda: "xllamacpp not installed: pip install it")
    assert mistakes("providers: {local: {kind: llamacpp}}") == [
        "providers.local: xllamacpp not installed: pip install it; or say base_url, the address of a llama.cpp server"
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    assert settings_from(f"server: {{host: '{host}'}}", {}).server.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com"])
def test_anything_else_does(host: str) -> None:
    assert mistakes(f"server: {{host: '{host}'}}")[0].startswith(f"server.host: '{host}' can be reached")
    settings_from(f"server: {{host: '{host}'}}\nkeys: [{{key: k, name: n}}]", {})


def test_a_file_is_looked_for_once_where_llama_looks_at_it_too(tmp_path: Path) -> None:
    found = mistakes(f"providers: {{local: {{kind: llamacpp, base_url: 'http://h/v1', tls_ca_file: {tmp_path}/gone}}}}")
    assert found == [f"providers.local.tls_ca_file: there is no file {tmp_path}/gone"]
