"""`switchgear serve` refuses what it cannot do, and says why."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIG = "providers: {vllm: {base_url: 'http://127.0.0.1:1/v1', models: [m]}}\n"
STEERING = ("LLM_", "SWITCHGEAR__", "OLLAMA_HOST", "API_KEYS_JSON", "MAX_CONCURRENT", "HF_TOKEN")


def command(config: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "switchgear", "serve", "--config", str(config), *words]


def environment() -> dict[str, str]:
    return {n: v for n, v in os.environ.items() if not n.startswith(STEERING) and not n.endswith("_API_KEY")}


def refused(config: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        command(config, *words), capture_output=True, text=True, timeout=30, env=environment(), check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "c.yaml"
    file.write_text(CONFIG)
    return file


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_in_use_is_one_line_and_code_one(config: Path, taken: int) -> None:
    assert refused(config, "--port", str(taken)) == (
        1,
        f"error: 127.0.0.1 port {taken} is in use by another program; stop it, or choose another port with --port\n",
    )


def test_an_open_door_to_the_network_is_refused_with_the_reason(config: Path) -> None:
    code, said = refused(config, "--host", "0.0.0.0", "--port", "0")
    assert code == 2
    assert said == (
        "error: server.host: '0.0.0.0' can be reached from other machines and there are no keys, so anyone could use "
        "your providers; add keys, or listen on 127.0.0.1\n"
    )


def test_mistakes_are_all_said_and_the_code_is_two(config: Path) -> None:
    config.write_text("server: {prot: 1}\nproviders: {opena: }")
    code, said = refused(config)
    assert code == 2
    assert said.count("error: ") == 2
    assert "Traceback" not in said


def test_nothing_to_serve_is_a_mistake(config: Path) -> None:
    config.write_text("")
    code, said = refused(config)
    assert code == 2
    assert said.startswith("error: there are no providers. Write a switchgear.yaml, set OPENAI_API_KEY")


def test_it_says_where_it_is_answers_and_stops_at_one_signal(config: Path) -> None:
    process = subprocess.Popen(
        command(config, "--port", "0", "--log-level", "warning"), stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        url = first.split()[-1].removesuffix("/v1")
        assert url.startswith("http://127.0.0.1:")
        assert _health(url) == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def _health(url: str) -> int:
    for _ in range(200):
        try:
            return int(urllib.request.urlopen(f"{url}/health", timeout=5).status)
        except OSError:
            time.sleep(0.05)
    return 0
