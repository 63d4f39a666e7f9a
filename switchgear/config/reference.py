"""docs/configuration.md, written from the settings themselves: `python -m switchgear.config.reference`."""

import ast
import inspect
import sys
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec
from msgspec import NODEFAULT
from msgspec.structs import FieldInfo, fields

from switchgear.config.kinds import KINDS
from switchgear.config.ranges import RANGES
from switchgear.config.tree import is_table, optional, words
from switchgear.core import settings as settings_module
from switchgear.core.settings import Settings, Table

_HEAD = """\
# Configuration

<!-- Written by `python -m switchgear.config.reference`; a test fails when it is not current. -->

Switchgear reads `switchgear.yaml` from the folder it is started in, or the file after `--config`.
`switchgear check` prints every mistake in it at once, each with its path, and what it would serve.
`switchgear.example.yaml` is a file to start from.

## Where values come from

Earlier ones win:

1. the options of `switchgear serve` (`--host`, `--port`, `--workers`);
2. `SWITCHGEAR__…` variables, one value each;
3. the file;
4. `LLM_BACKEND`, `LLM_BACKEND_URL`, `MAX_CONCURRENT` and `API_KEYS_JSON`: they fill what the file leaves open (an
   empty list or table is open);
5. with neither a file nor `LLM_BACKEND`: what is found on the machine.

### References: `${NAME}`

| in a text of the file | means |
|---|---|
| `${NAME}` | the environment variable, which must be set and not empty |
| `${NAME:-default}` | the variable, or the default where it is unset or empty; the default may be empty |
| `$${` | the characters `${` |

References are filled in after the YAML is read, so no character of a value can break the file. Names (keys of a
table) are not filled in. No message ever shows what came out of the environment.

### Overrides: `SWITCHGEAR__SERVER__PORT=8080`

The words between double underscores are names of settings, or of providers and models that exist already, in any
case, with every character but letters and digits written as `_` (`SWITCHGEAR__PROVIDERS__VLLM_1__BASE_URL` for
`providers.vllm-1.base_url`); in a list they are places, from 0. A list or table takes YAML or JSON. An empty variable
counts as unset, and a name that leads nowhere is a mistake.

### Without a file

| variable | means |
|---|---|
| `LLM_BACKEND` | a kind of provider (below); every model name goes to it |
| `LLM_BACKEND_URL` | its address; `/v1` is added for OpenAI-compatible kinds where there is no path |
| `MAX_CONCURRENT` | its `max_concurrency` |
| `API_KEYS_JSON` | client keys, a JSON object of each key and what is known of it |

An entry of `API_KEYS_JSON` is `"sk-…": {"name": "alice", "models": ["*"], "requests_per_minute": 60}`; `rate_limit`
means the same as `requests_per_minute`, and whatever else is said becomes the key's `metadata`. A bare name or `null`
will do for an entry.

The key of a vendor comes from the variable its own tools use (below), if the settings give neither `api_key` nor
`base_url`: a key found that way goes to the vendor's own address only.

With none of these, Switchgear offers each vendor whose variable is set, an Ollama that answers on `OLLAMA_HOST`
(127.0.0.1:11434), and the model of the `local` extra under the name `smollm2`. If that makes just one provider
besides the local model, it is the default one.

## Kinds of provider

A provider named like a kind needs no `kind`.
"""


def render() -> str:
    """The whole page, as Markdown."""
    return "\n".join([_HEAD, *_kinds(), "", "## Settings", "", *_tables(Settings, ""), ""])


def _kinds() -> Iterator[str]:
    yield "| kind | what it is | address | key variable | model names |"
    yield "|---|---|---|---|---|"
    for name, kind in KINDS.items():
        address = f"`{kind.base_url}`" if kind.base_url else "`base_url` needed" if kind.needs_base_url else ""
        about = "OpenAI-compatible" if kind.about.endswith("(OpenAI-compatible)") else kind.about
        yield f"| `{name}` | {about} | {address} | {_codes(kind.key_variables)} | {_codes(kind.prefixes)} |"


def _tables(table: type[Table], path: str) -> Iterator[str]:
    """One section for a table, then one for each table in it."""
    docs = _docstrings()[table.__name__]
    yield f"### `{path}`" if path else "### The file"
    yield ""
    yield inspect.cleandoc(table.__doc__ or "")
    yield ""
    yield "| setting | type | default | |"
    yield "|---|---|---|---|"
    for field in fields(table):
        limits = RANGES.get(table, {}).get(field.name)
        yield f"| `{field.name}` | {words(field.type, limits)} | {_default(field)} | {docs[field.name]} |"
    for field in fields(table):
        inner, below = _inner(field.type, f"{path}.{field.name}" if path else field.name)
        if inner:
            yield ""
            yield from _tables(inner, below)


def _inner(kind: Any, path: str) -> tuple[type[Table] | None, str]:
    """The table a field holds one or several of, and the path it stands at."""
    kind = optional(kind)[0]
    if get_origin(kind) is dict:
        kind, path = get_args(kind)[1], f"{path}.<name>"
    elif get_origin(kind) is tuple:
        kind, path = get_args(kind)[0], f"{path}[]"
    return (kind if is_table(kind) else None), path


def _default(field: FieldInfo) -> str:
    if field.required:
        return "needed"
    value = field.default_factory() if field.default is NODEFAULT else field.default
    if value is None or value == "" or is_table(type(value)):
        return ""
    return f"`{msgspec.json.encode(value).decode()}`"


def _docstrings() -> dict[str, dict[str, str]]:
    """Per class of the settings module, the text below each of its fields."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(settings_module)).body:
        if isinstance(node, ast.ClassDef):
            pairs = zip(node.body, node.body[1:], strict=False)
            found[node.name] = {name: text for one, two in pairs for name, text in _documented(one, two)}
    return found


def _documented(one: ast.stmt, two: ast.stmt) -> Iterator[tuple[str, str]]:
    """A field's name and the text below it, if that is what the two statements are."""
    match one, two:
        case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
            yield name, " ".join(text.split())


def _codes(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    sys.stdout.write(render())
