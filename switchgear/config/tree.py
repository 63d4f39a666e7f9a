"""A plain tree of dicts, lists and scalars as the frozen settings, with every mistake in it noted at its path."""

import datetime
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT
from msgspec.structs import FieldInfo, fields

from switchgear.config.document import MISSING, FromEnvironment, parse
from switchgear.config.problems import LOOKS_LIKE_A_SETTING, Problems, did_you_mean, join
from switchgear.config.ranges import RANGES, Range
from switchgear.core.errors import ConfigError
from switchgear.core.settings import Secret, Settings, Table

AnyTable = TypeVar("AnyTable", bound=Table)

# Values under these names may be credentials, so they are not repeated in messages.
_HIDDEN = frozenset({"headers", "metadata", "options"})
_WORDS: dict[Any, str] = {str: "text", Secret: "text", int: "a whole number", float: "a number", bool: "true or false"}


def read_settings(tree: Any, problems: Problems) -> Settings:
    """The settings ``tree`` says. What is wrong is noted and takes its default, so that the rest is checked too."""
    return _Reader(problems).table(Settings, tree, "")


def optional(kind: Any) -> tuple[Any, bool]:
    """A type without its ``| None``, and whether it had one."""
    if get_origin(kind) not in (Union, UnionType):
        return kind, False
    return next(one for one in get_args(kind) if one is not NoneType), NoneType in get_args(kind)


def is_table(kind: Any) -> bool:
    """Whether a type is one of the settings' tables."""
    return isinstance(kind, type) and issubclass(kind, Table)


def words(kind: Any, limits: Range | None = None) -> str:
    """What a value of this type is, for people: ``a whole number from 0 to 65535``."""
    kind = optional(kind)[0]
    if is_table(kind):
        return "a table of settings"
    container = {tuple: "a list", dict: "a table of names and values"}.get(get_origin(kind))
    return container or f"{_WORDS.get(kind, 'anything')}{f' {limits}' if limits else ''}"


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def table(self, kind: type[AnyTable], value: Any, path: str) -> AnyTable:
        """One table; a field that is wrong or missing takes its default, or is blank where it has none."""
        known = {field.name: field for field in fields(kind)}
        given = self._opened(value, dict, path or "the document", "a table of settings")
        for name in given:
            if name not in known:
                self._unknown(str(name), known, path)
        return kind(**{name: self._field(kind, field, given, path) for name, field in known.items()})

    def _field(self, kind: type[Table], field: FieldInfo, given: dict[Any, Any], path: str) -> Any:
        at = join(path, field.name)
        limits = RANGES.get(kind, {}).get(field.name)
        value = MISSING
        if field.name in given:
            value = self._value(field.type, given[field.name], at, limits, field.name in _HIDDEN)
        elif field.required and not self._problems.explain(path, field.name):
            self._problems.add(at, f"missing; expected {words(field.type, limits)}")
        if value is not MISSING:
            return value
        if field.default is not NODEFAULT:
            return field.default
        return field.default_factory() if field.default_factory is not NODEFAULT else _blank(field.type)

    def _value(self, kind: Any, value: Any, path: str, limits: Range | None, hidden: bool) -> Any:
        kind, may_be_none = optional(kind)
        if value is MISSING or (may_be_none and (value is None or value == "")):
            return None if value is not MISSING else MISSING
        if is_table(kind):
            return self.table(kind, value, path)
        if kind is Any:
            return _plain(value)
        if get_origin(kind) is tuple:
            items = self._opened(value, list, path, "a list")
            return self._items(get_args(kind)[0], enumerate(items), path, hidden)
        if get_origin(kind) is dict:
            opened = self._opened(value, dict, path, "a table of names and values")
            names = [str(name) for name in opened]
            values = self._items(get_args(kind)[1], zip(names, opened.values(), strict=True), path, hidden, keep=True)
            return {name: one for name, one in zip(names, values, strict=True) if one is not MISSING}
        return self._leaf(kind, value, path, limits, hidden)

    def _items(self, kind: Any, named: Any, path: str, hidden: bool, keep: bool = False) -> tuple[Any, ...]:
        read = (self._value(kind, value, join(path, name), None, hidden) for name, value in named)
        return tuple(value for value in read if keep or value is not MISSING)

    def _leaf(self, kind: Any, value: Any, path: str, limits: Range | None, hidden: bool) -> Any:
        if kind in (str, Secret):
            if isinstance(value, str):
                return kind(str(value))
            self._expected(kind, value, path, None, hidden or kind is Secret)
            return MISSING
        try:
            # Not strict: what comes from the environment is text, "4000" as well as "true".
            number = msgspec.convert(str(value) if isinstance(value, str) else value, kind, strict=False)
        except (msgspec.ValidationError, OverflowError):
            number = MISSING
        if number is MISSING or (limits and not limits.has(number)):
            self._expected(kind, value, path, limits, hidden)
            return MISSING
        return number

    def _opened(self, value: Any, kind: type, path: str, wanted: str) -> Any:
        """A dict or list; empty for nothing, read from YAML or JSON where the environment holds it as a text."""
        if isinstance(value, FromEnvironment):
            try:
                value = self._marked(parse(str(value), path), value.source)
            except ConfigError:
                self._problems.add_unknown(
                    path, path, f"expected {wanted} in YAML or JSON, got {_shown(value, hidden=True)}"
                )
                return kind()
        if value is None or value is MISSING:
            return kind()
        if isinstance(value, kind):
            return value
        # Never the value itself: `openai: sk-…` is an easy slip.
        self._problems.add_unknown(path, path, f"expected {wanted}, got {_shown(value, hidden=True)}")
        return kind()

    def _marked(self, tree: Any, source: str) -> Any:
        """The same tree, its texts marked as coming from the environment like the text they were read from."""
        if isinstance(tree, dict):
            return {name: self._marked(value, source) for name, value in tree.items()}
        if isinstance(tree, list):
            return [self._marked(value, source) for value in tree]
        if not isinstance(tree, str):
            return tree
        self._problems.hide(tree, source)
        return FromEnvironment(tree, source)

    def _unknown(self, name: str, known: dict[str, FieldInfo], path: str) -> None:
        near = did_you_mean(name, known)
        hint = near or f"; known here: {', '.join(known)}"
        if near or LOOKS_LIKE_A_SETTING.fullmatch(name):
            self._problems.add_unknown(path, join(path, name), f"unknown setting{hint}")
        else:
            # `- sk-…: {name: alice}` is a slip too.
            self._problems.add_unknown(path, path or "the document", f"holds a name that is no setting{hint}")

    def _expected(self, kind: Any, value: Any, path: str, limits: Range | None, hidden: bool) -> None:
        quotes = "; put it in quotes" if kind in (str, Secret) and not isinstance(value, dict | list | None) else ""
        self._problems.add(path, f"expected {words(kind, limits)}, got {_shown(value, hidden)}{quotes}")


def _shown(value: Any, hidden: bool) -> str:
    if isinstance(value, FromEnvironment):
        return f"the value of {value.source}"
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, datetime.date):
        return "a date"
    if hidden:
        return {str: "text", bool: "true or false", int: "a number", float: "a number"}.get(
            type(value), "something else"
        )
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value if not isinstance(value, str) or len(value) <= 60 else f"{value[:60]}…")


def _plain(tree: Any) -> Any:
    """The same tree without the marks of where its texts came from, and without what could not be had."""
    if isinstance(tree, dict):
        return {str(name): _plain(value) for name, value in tree.items() if value is not MISSING}
    if isinstance(tree, list):
        return [_plain(value) for value in tree if value is not MISSING]
    return str(tree) if isinstance(tree, str) else tree


def _blank(kind: Any) -> Any:
    return {str: "", Secret: Secret("")}.get(kind, ())
