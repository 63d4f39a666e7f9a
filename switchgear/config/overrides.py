"""`SWITCHGEAR__SERVER__PORT=8080`: one environment variable replaces one value of the settings.

The words between double underscores are names of settings, or of providers and models that exist, in any case and
with every other character written as ``_``; in a list they are places, from 0. Lists and tables take YAML or JSON.
An empty variable counts as unset.
"""

import re
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from msgspec.structs import fields

from switchgear.config.document import FromEnvironment
from switchgear.config.problems import Problems, did_you_mean
from switchgear.config.tree import is_table, optional
from switchgear.core.settings import Settings

PREFIX = "SWITCHGEAR__"


def override(tree: dict[str, Any], environ: Mapping[str, str], problems: Problems) -> None:
    """Write every such variable into ``tree``; a name that leads nowhere is a mistake."""
    for variable in sorted(name for name in environ if name.upper().startswith(PREFIX) and environ[name]):
        words = variable[len(PREFIX) :].split("__")
        value = FromEnvironment(environ[variable], f"${variable}", variable)
        trouble = _write(tree, Settings, words, value)
        if trouble:
            problems.add(variable, trouble)


def _write(tree: Any, kind: Any, words: list[str], value: FromEnvironment) -> str:
    """Put ``value`` where ``words`` lead; what is in the way, or nothing."""
    word, rest = words[0], words[1:]
    kind = optional(kind)[0]
    if is_table(kind):
        kinds = {field.name: field.type for field in fields(kind)}
        return _enter(tree, {_normal(name): [name] for name in kinds}, kinds, word, rest, value)
    if get_origin(kind) is dict:
        names = dict[str, list[Any]]()
        for name in tree:
            names.setdefault(_normal(str(name)), []).append(name)
        return _enter(tree, names, dict.fromkeys(tree, get_args(kind)[1]), word, rest, value)
    places = {str(place): [place] for place in range(len(tree))}
    return _enter(tree, places, dict.fromkeys(range(len(tree)), get_args(kind)[0]), word, rest, value)


def _enter(
    tree: Any, names: dict[str, list[Any]], kinds: dict[Any, Any], word: str, rest: list[str], value: FromEnvironment
) -> str:
    matching = names.get(_normal(word), [])
    if len(matching) > 1:
        return f"{word} may be {' or '.join(repr(name) for name in matching)}"
    if not matching:
        near = did_you_mean(word, [name.upper() for name in names])
        known = ", ".join(str(name) for found in names.values() for name in found)
        return f"there is no {word}{near or f'; known here: {known}' if known else '; nothing exists here yet'}"
    name = matching[0]
    if not rest:
        tree[name] = value
        return ""
    inner = optional(kinds[name])[0]
    if not is_table(inner) and get_origin(inner) not in (dict, tuple):
        return f"{word} is a single value, there is nothing below it"
    below = tree[name] if isinstance(name, int) else tree.get(name)
    if isinstance(below, FromEnvironment):
        return f"{below.source} gives the whole of {word} already"
    shape: type = list if get_origin(inner) is tuple else dict
    if below is None:
        tree[name] = below = shape()
    # Of the wrong shape: whoever reads the tree says so.
    return _write(below, kinds[name], rest, value) if isinstance(below, shape) else ""


def _normal(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())
