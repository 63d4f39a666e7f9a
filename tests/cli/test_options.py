"""Options that several commands share."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from switchgear.cli.options import config_option


@pytest.mark.parametrize(("words", "path"), [([], None), (["-c", "a.yaml"], Path("a.yaml"))])
def test_the_configuration_is_a_path_or_nothing(words: list[str], path: Path | None) -> None:
    given: list[Path | None] = []

    @click.command()
    @config_option
    def command(config: Path | None) -> None:
        given.append(config)

    CliRunner().invoke(command, words)
    assert given == [path]
