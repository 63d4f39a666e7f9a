"""`switchgear check` prints every mistake, or what would be served, and never a secret."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from switchgear.cli.main import cli

GOOD = """
server: {port: 4711}
default_provider: ollama
providers:
  openai: {api_key: sk-canary}
  ollama: {base_url: "http://127.0.0.1:11434", models: [llama3]}
models: {fast: {targets: [openai/gpt-4o-mini, ollama/llama3]}}
keys:
  - {key: "${GATEWAY_KEY}", name: alice, limits: {requests_per_minute: 60}}
  - {key: sk-canary-2, name: bob, models: [fast]}
"""


def check(tmp_path: Path, text: str, **environ: str) -> Result:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    return CliRunner(env=dict(environ)).invoke(cli, ["check", "--config", str(file)])


def test_what_would_be_served(tmp_path: Path) -> None:
    result = check(tmp_path, GOOD, GATEWAY_KEY="sk-canary-3")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "canary" not in result.output
    assert (
        result.stdout
        == f"""\
{tmp_path}/c.yaml: fine
listens on http://127.0.0.1:4711 with 1 worker
providers: 2
  openai  https://api.openai.com/v1
  ollama  http://127.0.0.1:11434
models: 4
  fast                openai/gpt-4o-mini, then ollama/llama3
  gpt-* and the like  openai
  ollama/llama3
  any other name      ollama
keys: 2
  alice  $GATEWAY_KEY, 60 requests per minute
  bob    models fast
"""
    )


def test_warnings_are_said(tmp_path: Path) -> None:
    result = check(tmp_path, "providers: {ollama: }")
    assert result.exit_code == 0
    assert "keys: none\n" in result.stdout
    assert "warning: open: there are no keys" in result.stdout


def test_every_mistake_is_a_line_and_the_code_is_two(tmp_path: Path) -> None:
    result = check(tmp_path, "server: {port: abc}\nproviders: {opena: }\nkeys: [sk-canary]")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert (
        result.stderr
        == """\
error: server.port: expected a whole number from 0 to 65535, got 'abc'
error: keys[0]: expected a table of settings, got text
error: providers.opena.kind: missing, and 'opena' is no known provider; did you mean 'openai'?
"""
    )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["check", "-c", str(tmp_path / "none.yaml")])
    assert result.exit_code == 2
    assert result.stderr == f"error: {tmp_path}/none.yaml: cannot be read: No such file or directory\n"


def test_without_a_file_the_environment_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env={"LLM_BACKEND": "ollama"}).invoke(cli, ["check"])
    assert result.exit_code == 0
    assert result.stdout.startswith("LLM_BACKEND: fine\n")
