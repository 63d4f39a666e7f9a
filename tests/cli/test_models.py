"""`switchgear models` lists names to ask for."""

from pathlib import Path

from click.testing import CliRunner

from switchgear.cli.main import cli
from switchgear.config.kinds import KINDS


def test_configured_models_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("providers: {ollama: {models: [llama3]}}\nmodels: {fast: {targets: [ollama/llama3]}}")
    result = CliRunner().invoke(cli, ["models", "-c", str(file)])
    assert result.exit_code == 0
    assert {"fast", "ollama/llama3"} <= set(result.output.split())


def test_a_provider_that_is_down_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("providers: {vllm: {base_url: 'http://127.0.0.1:1/v1'}}\nmodels: {fast: {targets: [vllm/x]}}")
    result = CliRunner().invoke(cli, ["models", "-c", str(file)])
    assert result.exit_code == 0
    assert result.stdout.split() == ["fast"]


def test_kinds_need_no_configuration() -> None:
    result = CliRunner().invoke(cli, ["models", "--kinds"])
    assert [line.split()[0] for line in result.output.splitlines()] == list(KINDS)
