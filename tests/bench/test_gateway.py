"""How a gateway's files, command and environment are made."""

from pathlib import Path

import pytest

from switchgear.bench import gateway

PLACE = gateway.Place(folder=Path("here"), port=4000, upstream_port=5000, installed=Path("there"))


def test_the_marks_of_a_template_are_replaced() -> None:
    assert PLACE.fill("@DIR@ @INSTALLED@ @PORT@ @UPSTREAM@") == "here there 4000 127.0.0.1:5000"


def test_each_free_port_is_a_port_of_its_own() -> None:
    first, second = PLACE.fill("@FREE_PORT@ @FREE_PORT@").split()
    assert int(first) > 0
    assert int(second) > 0


def test_our_own_command_serves_the_configuration_it_wrote(tmp_path: Path) -> None:
    place = gateway.Place(folder=tmp_path, port=4000, upstream_port=5000)
    command = gateway.own("1").argv(place)
    text = (tmp_path / "bench.yaml").read_text()
    assert command[1:] == [
        "-m",
        "switchgear",
        "serve",
        "--config",
        f"{tmp_path}/bench.yaml",
        "--port",
        "4000",
    ]
    assert 'base_url: "http://127.0.0.1:5000/v1"' in text
    assert "{host: 127.0.0.1, port: 4000}" in text


def test_no_key_or_proxy_of_the_user_reaches_a_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    monkeypatch.setenv("LANG", "C")
    environment = gateway.own("1").environment(PLACE)
    assert "OPENAI_API_KEY" not in environment
    assert "HTTPS_PROXY" not in environment
    assert environment["LANG"] == "C"
