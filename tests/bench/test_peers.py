"""The rivals' files: all readable, all pinned."""

import json
from pathlib import Path

import pytest

from switchgear.bench import gateway, peers

FOLDER = Path(__file__).resolve().parents[2] / "bench" / "peers"
NAMES = peers.known(FOLDER)


def test_the_peers_of_the_comparison_are_described() -> None:
    assert {"rolter", "ferrogw", "smg", "litellm", "portkey"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_peer_is_named_after_its_file_and_installed_one_way(name: str) -> None:
    peer = peers.read(FOLDER, name)
    assert peer.name == name
    assert (peer.pip is None) != (peer.npm is None)


@pytest.mark.parametrize("name", NAMES)
def test_every_package_of_a_peer_is_pinned(name: str) -> None:
    peer = peers.read(FOLDER, name)
    if peer.npm:
        lock = json.loads((FOLDER / peer.npm / "package-lock.json").read_text())
        assert all(package.get("integrity") for path, package in lock["packages"].items() if path)
        return
    lines = (FOLDER / str(peer.pip)).read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in line for line in pins)
    assert any(line.startswith(f"{name}=={peer.version}") for line in pins)


@pytest.mark.parametrize("name", NAMES)
def test_no_mark_is_left_when_a_peer_is_started(name: str, tmp_path: Path) -> None:
    row = peers.gateway(peers.read(FOLDER, name), tmp_path)
    place = gateway.Place(folder=tmp_path, port=4000, upstream_port=5000, installed=tmp_path)
    command = row.argv(place)
    written = [path.read_text() for path in tmp_path.iterdir()]
    everything = [*command, *written, *row.environment(place).values(), *row.request_headers(place).values()]
    marks = ("@PORT@", "@UPSTREAM@", "@DIR@", "@INSTALLED@", "@FREE_PORT@", "@KEY@", "@MODEL@")
    assert not [text for text in everything if any(mark in text for mark in marks)]


def test_an_unknown_peer_is_answered_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match="rolter"):
        peers.read(FOLDER, "nobody")
