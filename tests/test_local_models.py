"""Local models run while the gateway does, and the settings say where they are."""

import sys
import urllib.request
from pathlib import Path

import pytest

from switchgear.core.errors import ConfigError, Unavailable
from switchgear.core.settings import ProviderSettings, Settings
from switchgear.local import llama as local_llama
from switchgear.local.llama import LocalModel
from switchgear.local_models import local_models

SERVER = """
import http.server, os, sys, threading
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
LOCAL = ProviderSettings(kind="llamacpp")
OTHER = ProviderSettings(kind="ollama")


@pytest.fixture
def llama(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_llama, "available", lambda: LocalModel("m", Path("m.gguf")))
    monkeypatch.setattr(local_llama, "command", lambda model, port: [sys.executable, "-c", SERVER, str(port)])


@pytest.mark.usefixtures("llama")
def test_each_gets_an_address_that_answers_and_is_gone_afterwards() -> None:
    settings = Settings(providers={"a": LOCAL, "b": LOCAL})
    with local_models(settings) as placed:
        addresses = [placed.providers[name].base_url for name in ("a", "b")]
        assert addresses[0] != addresses[1]
        for address in addresses:
            assert address.endswith("/v1")
            assert urllib.request.urlopen(f"{address}/models", timeout=5).status == 200
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(addresses[0], timeout=5)


def test_what_is_elsewhere_is_left_alone() -> None:
    placed_already = ProviderSettings(kind="llamacpp", base_url="http://h:1/v1")
    settings = Settings(providers={"a": placed_already, "b": OTHER})
    with local_models(settings) as same:
        assert same == settings


def test_one_that_does_not_start_is_fatal_where_there_is_nothing_else(
    llama: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local_llama, "command", lambda model, port: [sys.executable, "-c", "raise SystemExit(78)"])
    with pytest.raises(Unavailable, match="exited with code 78"), local_models(Settings(providers={"a": LOCAL})):
        pass
    with local_models(Settings(providers={"a": LOCAL, "b": OTHER})) as settings:
        assert settings.providers["a"].base_url


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_llama, "available", lambda: None)
    monkeypatch.setattr(local_llama, "unavailable_because", lambda: "x not installed: pip install x")
    with pytest.raises(ConfigError) as caught, local_models(Settings(providers={"a": LOCAL})):
        pass
    assert caught.value.problems == ("providers.a: x not installed: pip install x",)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    provider = ProviderSettings(kind="llamacpp", model_path=str(tmp_path / "none.gguf"))
    settings = Settings(providers={"a": provider})
    with pytest.raises(ConfigError, match=r"providers\.a\.model_path: cannot read"), local_models(settings):
        pass
