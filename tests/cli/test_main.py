"""The command line: lazy, and its errors are lines, not tracebacks."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

import switchgear
from switchgear.cli import check
from switchgear.cli.main import cli
from switchgear.core.errors import ConfigError, Unavailable


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    for name in ("serve", "check", "models", "bench", "version"):
        assert f"  {name} " in result.output


@pytest.mark.parametrize("name", ["serve", "check", "models"])
def test_every_command_has_help_and_takes_a_configuration(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert "-c, --config FILE" in result.output


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, arguments).output == f"switchgear {switchgear.__version__}\n"


def test_a_command_that_is_none_is_a_usage_error() -> None:
    result = CliRunner().invoke(cli, ["sevre"])
    assert result.exit_code == 2
    assert "No such command 'sevre'" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError(["a: wrong", "b: wrong"]), 2, "error: a: wrong\nerror: b: wrong\n"),
        (Unavailable("nothing to serve with"), 1, "error: nothing to serve with\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_lines_and_codes(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(check, "load", fail)
    result = CliRunner().invoke(cli, ["check"])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", said)


def test_a_broken_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(check, "load", fail)
    assert isinstance(CliRunner().invoke(cli, ["check"]).exception, ZeroDivisionError)


def test_version_and_help_load_neither_server_nor_gateway() -> None:
    program = (
        "import sys\n"
        "from switchgear.cli.main import cli\n"
        "for words in (['version'], ['--help']):\n"
        "    cli(words, standalone_mode=False)\n"
        "heavy = {'granian', 'asyncio', 'prometheus_client', 'yaml', 'switchgear.app', 'switchgear.config'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), "what is named here was imported"


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "switchgear", "version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"switchgear {switchgear.__version__}\n"
