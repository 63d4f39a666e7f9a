"""A YAML text as a tree of dicts, lists and scalars, refusing what PyYAML lets pass, with `${NAME}` filled in."""

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from switchgear.config.problems import LOOKS_LIKE_A_SETTING, Problems, did_you_mean, join
from switchgear.core.errors import ConfigError

MOST_VALUES = 100_000

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}|\$\{")
_NAME_AND_DEFAULT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:-)(.*))?", re.DOTALL)
_QUOTED_WORDS = re.compile(r" '(?!<)[^'\s]{2,}'(?!\S)")


class FromEnvironment(str):
    """Text that came out of the environment: it may be a secret wherever it stands, so it is never shown.

    ``source`` says where it came from, as a shell would write it. ``variable`` is the variable whose value this is
    exactly; empty where it is only part of the text, or the text part of its value.
    """

    __slots__ = ("source", "variable")
    source: str
    variable: str

    def __new__(cls, text: str, source: str, variable: str = "") -> "FromEnvironment":
        """``text`` as it is to be used."""
        value = super().__new__(cls, text)
        value.source = source
        value.variable = variable
        return value

    def __repr__(self) -> str:
        return f"<the value of {self.source}>"


class Missing:
    """Stands where a value could not be had; the mistake is noted already, so nobody complains about it again."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()


def parse(text: str, origin: str) -> Any:
    """The tree a YAML text holds. ``origin`` is what messages call it.

    Raises ConfigError for a syntax error or a name given twice, with line and column.
    """
    try:
        return yaml.load(text, _StrictLoader)  # noqa: S506  a SafeLoader, stricter
    except _Twice as twice:
        raise ConfigError([f"{origin}: {line}" for line in twice.lines]) from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError([f"{origin}: {_place(error.problem_mark)}: {_wording(error)}"]) from None
    except yaml.YAMLError:
        raise ConfigError([f"{origin}: not YAML: it holds a character that text files do not"]) from None
    except (RecursionError, ValueError):
        # ValueError: a date like 2024-13-45. RecursionError: thousands of open brackets.
        raise ConfigError([f"{origin}: not YAML that can be used; quote dates, and nest less deeply"]) from None


def interpolate(tree: Any, environ: Mapping[str, str], problems: Problems) -> Any:
    """``tree`` with the references in its texts replaced; keys are left alone.

    ``${NAME}`` must be set and not empty, ``${NAME:-default}`` may be either, ``$${`` stands for ``${``.
    """
    return _Interpolation(environ, problems).walk(tree, "", 0)


class _Twice(Exception):
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines


class _StrictLoader(yaml.SafeLoader):
    """PyYAML silently keeps the last of two equal names; then half of a merge goes unnoticed."""

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        if node is None:
            return None
        twice = list(_names_given_twice(node, set()))
        if twice:
            raise _Twice(twice)
        return self.construct_document(node)


def _names_given_twice(node: yaml.Node, seen: set[int]) -> list[str]:
    if id(node) in seen:  # an alias
        return []
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        return [line for child in node.value for line in _names_given_twice(child, seen)]
    if not isinstance(node, yaml.MappingNode):
        return []
    lines, first = [], dict[str, yaml.Mark]()
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in first:
                # Some write client keys as names, so only what can be the name of a setting is repeated.
                name = repr(key.value) if LOOKS_LIKE_A_SETTING.fullmatch(key.value) else "a name"
                line = first[key.value].line + 1
                lines.append(f"{_place(key.start_mark)}: {name} is given twice, first in line {line}; keep one")
            first.setdefault(key.value, key.start_mark)
        lines += _names_given_twice(value, seen)
    return lines


def _place(mark: yaml.Mark | None) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"


def _wording(error: yaml.MarkedYAMLError) -> str:
    # A quoted word may be a piece of a secret, as in `api_key: *sk-…`; tokens in angle brackets are the parser's own.
    said = _QUOTED_WORDS.sub("", error.problem or "not YAML")
    return f"{said}{f' ({error.context})' if error.context and not error.context.count(chr(39)) else ''}"


class _Interpolation:
    def __init__(self, environ: Mapping[str, str], problems: Problems) -> None:
        self._environ = environ
        self._problems = problems
        self._values = 0

    def walk(self, tree: Any, path: str, depth: int) -> Any:
        self._values += 1
        if self._values > MOST_VALUES or depth > 50:
            # Aliases of aliases make a short text endlessly large.
            raise ConfigError([f"{path or 'the document'}: too large or nested too deeply to be a configuration"])
        if isinstance(tree, dict):
            return {name: self.walk(value, join(path, name), depth + 1) for name, value in tree.items()}
        if isinstance(tree, list | tuple):
            return [self.walk(value, join(path, place), depth + 1) for place, value in enumerate(tree)]
        if isinstance(tree, str) and "${" in tree:
            return self._fill(tree, path)
        return tree

    def _fill(self, text: str, path: str) -> str | Missing:
        pieces, sources, end, whole = list[str](), list[str](), 0, True
        for found in _REFERENCE.finditer(text):
            pieces.append(text[end : found.start()])
            end = found.end()
            if found[0] == "$${":
                pieces.append("${")
                continue
            value = self._look_up(found, path)
            whole = whole and value is not None
            pieces.append(value or "")
            if isinstance(value, FromEnvironment):
                sources.append(value.source)
        filled = "".join([*pieces, text[end:]])
        if not whole:
            return MISSING
        if not sources:
            return filled
        alone = text.startswith("${") and text.find("}") == len(text) - 1
        return FromEnvironment(filled, " and ".join(sources), sources[0][2:-1] if alone else "")

    def _look_up(self, found: re.Match[str], path: str) -> str | None:
        parts = _NAME_AND_DEFAULT.fullmatch(found[1]) if found[1] is not None else None
        if parts is None:
            self._problems.add(
                path, "expected ${NAME} or ${NAME:-default} after '${'; write $${ for the characters themselves"
            )
            return None
        name, has_default, default = parts.groups()
        value = self._environ.get(name, "")
        if value:
            self._problems.hide(value, f"${{{name}}}")
            return FromEnvironment(value, f"${{{name}}}")
        if has_default:
            return str(default)
        state = "empty" if name in self._environ else "not set"
        hint = (
            did_you_mean(name, self._environ.keys() - {name}, cutoff=0.85)
            or f"; set it, or write ${{{name}:-}} where it may be absent"
        )
        self._problems.add(path, f"the environment variable {name} is {state}{hint}")
        return None
