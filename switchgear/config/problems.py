"""The mistakes found in a configuration: each with its path, none with a secret, all of them kept."""

import difflib
import re
from collections.abc import Iterable

from msgspec import Struct

_WORTH_HIDING = 6  # shorter ones are words such as `on` and `ollama`, and no secrets
LOOKS_LIKE_A_SETTING = re.compile(r"[a-z][a-z0-9_]{0,30}")

_PLAIN_NAME = re.compile(r"[\w\-*/:@+]+")


class Problem(Struct, frozen=True):
    """One mistake: where it is, what is wrong, what was expected."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


class Problems:
    """Collects mistakes in the order they are found."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self._misspelt: set[str] = set()
        self._hidden: dict[str, str] = {}

    def add(self, path: str, text: str) -> None:
        """Note a mistake at ``path``."""
        self.found.append(Problem(path, text))

    def add_unknown(self, table: str, path: str, text: str) -> None:
        """Note what makes ``table`` unreadable, or a name it does not have: either may be why it seems to lack one."""
        self._misspelt.add(table)
        self.add(path, text)

    def explain(self, table: str, name: str) -> bool:
        """Whether a mistake noted already may be why ``name`` is missing from ``table``."""
        return table in self._misspelt or self.touch(join(table, name))

    def touch(self, path: str) -> bool:
        """Whether something at ``path`` or below it is wrong already, so that what follows from it is not news."""
        return any(problem.path == path or _is_below(problem.path, path) for problem in self.found)

    def hide(self, value: str, source: str) -> None:
        """From now on say ``source`` wherever a message would say ``value``, because it may be a secret."""
        if len(value) >= _WORTH_HIDING:
            self._hidden[value] = source

    def lines(self) -> list[str]:
        """Every mistake once, a line each."""
        return list(dict.fromkeys(self._without_secrets(str(problem)) for problem in self.found))

    def _without_secrets(self, line: str) -> str:
        for value in sorted(self._hidden, key=len, reverse=True):
            line = line.replace(value, self._hidden[value])
        return line


def _is_below(path: str, parent: str) -> bool:
    return path.startswith((f"{parent}.", f"{parent}["))


def join(path: str, name: object) -> str:
    """The path of ``name`` under ``path``: a number is a place in a list, an odd name is quoted."""
    if isinstance(name, int):
        return f"{path}[{name}]"
    text = str(name)
    shown = text if _PLAIN_NAME.fullmatch(text) else f'"{text}"'
    return f"{path}.{shown}" if path else shown


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """``; did you mean 'x'?`` for the nearest of ``known``, or nothing where none is near.

    ``cutoff`` is how alike they must be, 0 to 1.
    """
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""
