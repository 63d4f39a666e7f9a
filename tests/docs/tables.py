"""The parts of the pages that the code can write, as Markdown."""

import argparse
from collections.abc import Callable, Iterable, Sequence

import click

from switchgear.bench import command as bench_command
from switchgear.cli.main import cli
from switchgear.config.kinds import KINDS
from switchgear.core.errors import SwitchgearError, UpstreamRejected
from switchgear.formats import ollama, tgi, tgi_prompt
from switchgear.providers.compat import KINDS as COMPATIBLE
from tests.docs.facts import CODE, error_classes, metrics, refusals

_OWN_DOCS = {
    "ollama": "https://docs.ollama.com/api",
    "tgi": "https://huggingface.github.io/text-generation-inference",
    "custom": "custom-provider.md",
}


def errors_table() -> str:
    """Every error a client can be answered with."""
    return _table(("error", "status", "type", "code", "next target", "when"), map(_error_row, error_classes()))


def _error_row(kind: type[SwitchgearError]) -> list[str]:
    own = kind is UpstreamRejected
    status = "the provider's" if own else str(kind.status)
    types = f"the provider's, or `{kind.type}`" if own else f"`{kind.type}`"
    code = "the provider's, or none" if own else f"`{kind.code}`" if kind.code else "a word of its own, below"
    moves_on = "for some statuses" if own else "yes" if kind.retryable else "no"
    return [f"`{kind.__name__}`", status, types, code, moves_on, _sentence(kind)]


def _sentence(kind: type[SwitchgearError]) -> str:
    said = " ".join((kind.__doc__ or "").split()).removeprefix(f"{kind.status}: ").replace("``", "`")
    return _capital(said)


def metrics_table() -> str:
    """Every metric: name as scraped, type, labels, meaning."""
    rows = []
    for one in metrics():
        suffix = "_total" if one._type == "counter" else ""
        rows.append([f"`{one._name}{suffix}`", str(one._type), _codes(one._labelnames) or "none", one._documentation])
    return _table(("metric", "type", "labels", "meaning"), rows)


def commands() -> str:
    """Every command with its options."""
    context = click.Context(cli, info_name="switchgear")
    parts = [_command(name, cli.get_command(context, name)) for name in cli.list_commands(context)]
    return "\n\n".join(parts)


def _command(name: str, command: click.Command | None) -> str:
    assert command is not None
    about = " ".join((command.help or "").split())
    if name == "bench":
        about, rows = "Measure this gateway, and others beside it.", _argparse_rows(bench_command._parser())
    else:
        rows = [_option_row(one) for one in command.params if isinstance(one, click.Option)]
    parts = [f"### `switchgear {name}`", about]
    return "\n\n".join([*parts, _table(("option", "meaning"), rows)] if rows else parts)


def _option_row(option: click.Option) -> list[str]:
    value = "" if option.is_flag else f" {_value_name(option)}"
    default = f" Default: `{option.default}`." if option.show_default else ""
    return [f"`{', '.join(sorted(option.opts, key=len))}{value}`", f"{option.help}{default}"]


def _value_name(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return "/".join(option.type.choices)
    return option.metavar or {"integer": "NUMBER", "text": "TEXT"}[option.type.name]


def _argparse_rows(parser: argparse.ArgumentParser) -> list[list[str]]:
    rows = []
    for action in parser._actions:
        if action.dest != "help":
            value = "" if action.nargs == 0 else f" {action.metavar or 'NUMBER'}"
            rows.append([f"`{action.option_strings[0]}{value}`", f"{(action.help or '').capitalize()}."])
    return rows


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def kinds_table() -> str:
    """Every kind of provider: where it is, which variable holds its key, how its models are found."""
    rows = []
    for name, kind in KINDS.items():
        row = COMPATIBLE.get(name)
        docs = row.docs if row else _OWN_DOCS[name]
        listed = "in the settings" if row is not None and not row.models_path else "discovered"
        rows.append([f"`{name}`", _address(name), _codes(kind.key_variables), listed, f"[docs]({docs})"])
    return _table(("kind", "address", "key variable", "models", ""), rows)


def readme_kinds_table() -> str:
    """The same, shorter."""
    rows = [[f"`{name}`", _address(name), _codes(kind.key_variables)] for name, kind in KINDS.items()]
    return _table(("kind", "address", "key from"), rows)


def _address(name: str) -> str:
    kind = KINDS[name]
    if kind.needs_path:
        return "a Python file of yours"
    if name == "llamacpp":
        return "started by Switchgear, or `base_url`"
    return "`base_url`" if kind.needs_base_url else f"`{kind.base_url}`"


def prefixes_table() -> str:
    """Which model names mean which vendor."""
    return _table(("names", "kind"), [[_codes(kind.prefixes), f"`{n}`"] for n, kind in KINDS.items() if kind.prefixes])


def ollama_options() -> str:
    """How the settings of a request are called in Ollama's options."""
    return _table(("OpenAI", "Ollama"), [[f"`{ours}`", f"`options.{theirs}`"] for ours, theirs in _ollama_options()])


def _ollama_options() -> list[tuple[str, str]]:
    return [*ollama.OPTIONS.items(), ("stop", "stop")]


def ollama_think() -> str:
    """What a reasoning effort becomes."""
    rows = [[f"`{effort}`", f"`{str(think).lower()}`"] for effort, think in ollama.THINK.items()]
    return _table(("`reasoning_effort`", "`think`"), rows)


def tgi_templates() -> str:
    """The chat templates there are."""
    rows = [[f"`{name}`", _first_sentence(one)] for name, one in tgi_prompt.CHAT_TEMPLATES.items()]
    return _table(("`chat_template`", "for"), rows)


def _first_sentence(function: Callable[..., object]) -> str:
    said = " ".join((function.__doc__ or "").split())
    return said if said.endswith(".") and ". " not in said else said.partition(". ")[0] + "."


def _dropped(what: dict[str, str]) -> str:
    return _table(("field", "why that harms nobody"), [[f"`{name}`", why] for name, why in what.items()])


def _refused(module: str) -> str:
    rows = [[f"`{field}`", why] for field, why in refusals(module)]
    return _table(("field", "because"), rows)


def _carried(names: Iterable[str]) -> str:
    return _codes(names) + "."


def _file(path: str) -> str:
    return f"```python\n{(CODE.parent / path).read_text(encoding='utf-8')}```"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines)


PARTS: dict[str, Callable[[], str]] = {
    "errors": errors_table,
    "metrics": metrics_table,
    "commands": commands,
    "kinds": kinds_table,
    "kinds in short": readme_kinds_table,
    "prefixes": prefixes_table,
    "ollama options": ollama_options,
    "ollama think": ollama_think,
    "ollama carried": lambda: _carried([*ollama.CARRIED_EXTRA, "options"]),
    "ollama dropped": lambda: _dropped(ollama.DROPPED),
    "ollama refused": lambda: _refused("ollama"),
    "tgi templates": tgi_templates,
    "tgi carried": lambda: _carried(tgi.CARRIED_EXTRA),
    "tgi dropped": lambda: _dropped(tgi.DROPPED),
    "tgi refused": lambda: _refused("tgi"),
    "file docs/examples/my_provider.py": lambda: _file("docs/examples/my_provider.py"),
}
