"""docs/configuration.md says what the code does, and the example file is valid."""

from pathlib import Path

import pytest

from switchgear.config import load_settings
from switchgear.config.kinds import KINDS
from switchgear.config.reference import render

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_current() -> None:
    page = ROOT / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == render(), (
        "run: python -m switchgear.config.reference > docs/configuration.md"
    )


def test_it_has_every_kind_and_every_table() -> None:
    page = render()
    assert all(f"| `{name}` |" in page for name in KINDS)
    for heading in ("server", "providers.<name>", "providers.<name>.timeouts", "models.<name>", "keys[]", "timeouts"):
        assert f"### `{heading}`\n" in page


def test_every_setting_is_described() -> None:
    rows = [line for line in render().split("## Settings")[1].splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert all(row.split("|")[4].strip() for row in rows), "a field of core/settings.py has no text below it"


def test_the_example_file_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(ROOT / "switchgear.example.yaml", {"GATEWAY_KEY": "sk-x"})
    assert settings.keys[0].name == "user1"
