"""What is found is a function of the environment and of what looking around found."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from switchgear.config import load, settings_from
from switchgear.config.detection import Found, detected, look_around, ollama_url
from switchgear.config.kinds import KINDS
from switchgear.core.settings import Secret

OLLAMA = "http://127.0.0.1:11434"


class Answer(BaseHTTPRequestHandler):
    status = 200
    wait_s = 0.0

    def do_GET(self) -> None:
        time.sleep(self.wait_s)
        self.send_response(self.status if self.path == "/api/version" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), type("Once", (Answer,), {})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def address(server: HTTPServer) -> str:
    return f"127.0.0.1:{server.server_port}"


def test_nothing_makes_nothing() -> None:
    assert detected({}, Found()) == {"providers": {}, "models": {}}
    assert load(None, {}, look=lambda environ: Found()).settings.providers == {}


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.needs_key])
def test_each_vendor_is_found_by_each_of_its_variables(name: str) -> None:
    for variable in KINDS[name].key_variables:
        tree = detected({variable: "sk-x"}, Found())
        assert tree["default_provider"] == name
        settings = settings_from(tree, {})
        assert settings.providers[name].api_key == Secret("sk-x")


def test_the_preferred_variable_wins_and_an_empty_one_is_none() -> None:
    both = detected({"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"}, Found())
    assert both["providers"]["gemini"]["api_key"] == "a"
    assert detected({"OPENAI_API_KEY": ""}, Found())["providers"] == {}


def test_a_key_of_a_local_server_starts_nothing() -> None:
    assert detected({"VLLM_API_KEY": "x"}, Found())["providers"] == {}


def test_everything_at_once_has_no_default() -> None:
    tree = detected({"OPENAI_API_KEY": "a", "GROQ_API_KEY": "b"}, Found(OLLAMA, "smollm2-135m-instruct"))
    assert list(tree["providers"]) == ["local", "ollama", "openai", "groq"]
    assert "default_provider" not in tree


def test_the_local_model_has_a_public_name_and_takes_no_other() -> None:
    tree = detected({}, Found(local_model="smollm2-135m-instruct"))
    assert tree == {
        "providers": {"local": {"kind": "llamacpp"}},
        "models": {"smollm2": {"targets": ["local/smollm2-135m-instruct"]}},
    }
    assert detected({}, Found(OLLAMA, "m"))["default_provider"] == "ollama"


def test_detection_can_be_overridden() -> None:
    found = load(None, {"SWITCHGEAR__PROVIDERS__OLLAMA__QUEUE_SIZE": "7"}, look=lambda environ: Found(OLLAMA))
    assert found.settings.providers["ollama"].queue_size == 7
    assert found.settings.providers["ollama"].base_url == OLLAMA


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", OLLAMA),
        ("10.0.0.2", "http://10.0.0.2:11434"),
        ("10.0.0.2:1234", "http://10.0.0.2:1234"),
        (":1234", "http://127.0.0.1:1234"),
        ("0.0.0.0", OLLAMA),
        ("[::]:1234", "http://[::1]:1234"),
        ("http://gpu", "http://gpu:80"),
        ("https://gpu", "https://gpu:443"),
        ("https://gpu:8443/", "https://gpu:8443"),
        ("gpu:nonsense", None),
        ("ftp://gpu", None),
        ("http://u:p@gpu", None),
    ],
)
def test_ollama_host(host: str, url: str | None) -> None:
    assert ollama_url(host) == url


def test_an_ollama_that_answers_is_found(server: HTTPServer) -> None:
    assert look_around({"OLLAMA_HOST": address(server)}).ollama_url == f"http://{address(server)}"


def test_one_that_answers_otherwise_is_none(server: HTTPServer) -> None:
    server.RequestHandlerClass.status = 404  # type: ignore[attr-defined]  # the handler of this file
    assert look_around({"OLLAMA_HOST": address(server)}).ollama_url is None


def test_one_that_does_not_answer_in_time_is_none(server: HTTPServer) -> None:
    server.RequestHandlerClass.wait_s = 2.0  # type: ignore[attr-defined]  # the handler of this file
    began_s = time.monotonic()
    assert look_around({"OLLAMA_HOST": address(server)}).ollama_url is None
    assert time.monotonic() - began_s < 1.5, "the probe waits 0.2 s, not for the answer"
