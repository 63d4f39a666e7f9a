"""The banner says what is on offer, where, for whom, and how to try it."""

import io

import pytest

import switchgear
from switchgear.cli.banner import banner, is_colourful
from switchgear.config import Loaded, settings_from

TEXT = """
server: {port: 4711}
providers: {ollama: {base_url: "http://127.0.0.1:11434"}, vllm-1: {kind: vllm}}
models: {fast: {targets: [vllm-1/llama]}}
keys: [{key: sk-canary, name: alice}]
"""


def loaded(text: str = TEXT, warnings: tuple[str, ...] = ()) -> Loaded:
    return Loaded(settings_from(text, {}), "c.yaml", {"alice": "GATEWAY_KEY"}, list(warnings))


def test_the_whole_of_it() -> None:
    assert banner(loaded(warnings=("mind the gap",)), colour=False) == (
        f"switchgear {switchgear.__version__}  http://127.0.0.1:4711/v1\n"
        """
  providers  ollama  http://127.0.0.1:11434
             vllm-1  http://127.0.0.1:8000/v1
  models     fast  vllm-1/llama
  keys       alice  $GATEWAY_KEY
  from       c.yaml
  warning    mind the gap

  curl http://127.0.0.1:4711/v1/chat/completions -H "Authorization: Bearer $GATEWAY_KEY" """
        """-H 'Content-Type: application/json' """
        """-d '{"model": "fast", "messages": [{"role": "user", "content": "Say hello."}]}'

"""
    )


def test_an_open_gateway_needs_no_key() -> None:
    text = banner(loaded("providers: {ollama: }"), colour=False)
    assert "  keys       none needed\n" in text
    assert "  models     ask /v1/models\n" in text
    assert "Authorization" not in text


def test_a_long_list_is_cut() -> None:
    models = "\n".join(f"  m{number}: {{targets: [ollama]}}" for number in range(40))
    text = banner(loaded(f"providers: {{ollama: }}\nmodels:\n{models}"), colour=False)
    assert "… and 29 more" in text
    assert len(text.splitlines()) < 25


def test_colour_changes_nothing_else() -> None:
    plain = banner(loaded(), colour=True)
    for mark in ("\x1b[1m", "\x1b[2m", "\x1b[0m"):
        assert mark in plain
        plain = plain.replace(mark, "")
    assert plain == banner(loaded(), colour=False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "colourful"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colour_is_for_terminals(stream: io.StringIO, environ: dict[str, str], colourful: bool) -> None:
    assert is_colourful(stream, environ) is colourful
