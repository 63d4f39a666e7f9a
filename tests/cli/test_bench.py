"""`switchgear bench` hands its words on."""

import pytest
from click.testing import CliRunner

from switchgear.cli import bench
from switchgear.cli.main import cli


def test_every_word_and_the_code_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def main(words: tuple[str, ...]) -> int:
        given.extend(words)
        return 3

    monkeypatch.setattr(bench, "main", main)
    result = CliRunner().invoke(cli, ["bench", "--quick", "--peers", "a", "b", "--help"])
    assert given == ["--quick", "--peers", "a", "b", "--help"]
    assert result.exit_code == 3
