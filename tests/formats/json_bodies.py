"""JSON objects as the strangest client might write them: any white space, escapes, nesting, names in Unicode."""

import json
from dataclasses import dataclass, replace

from hypothesis import strategies as st

WHITE_SPACE = st.text(" \t\r\n", max_size=3)
NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["model", "messages", "stream_options", "stream", "x", '"model"', "\\", "}", ",", "mod\u00e9l"]),
)


@dataclass(frozen=True)
class Field:
    """One field of an object; ``before`` is all that stands between its name and its value."""

    name: str
    written_name: str
    before: str
    value: str
    after: str

    def __str__(self) -> str:
        return f"{self.written_name}{self.before}{self.value}{self.after}"


@dataclass(frozen=True)
class Body:
    """An object in pieces, so that a test can say what each byte of a changed one must be."""

    head: str
    fields: tuple[Field, ...]
    tail: str

    def __bytes__(self) -> bytes:
        return f"{self.head}{','.join(map(str, self.fields))}{self.tail}".encode()

    def changed(self, name: str, value: str) -> "Body":
        """The same with one value replaced, or a field added right behind the last value."""
        if name in [field.name for field in self.fields]:
            changed = [replace(field, value=value) if field.name == name else field for field in self.fields]
            return replace(self, fields=tuple(changed))
        new = Field(name, f'"{name}"', ":", value, "")
        if not self.fields:
            opening, _, rest = self.head.partition("{")
            return Body(opening + "{", (new,), rest + self.tail)
        *first, last = self.fields
        return Body(self.head, (*first, replace(last, after=""), new), last.after + self.tail)


@st.composite
def strings(draw: st.DrawFn, text: str | None = None) -> str:
    """A string in quotes; each character as itself or as an escape."""
    said = draw(NAMES) if text is None else text
    if not draw(st.booleans()):
        return json.dumps(said, ensure_ascii=draw(st.booleans()))
    escaped = draw(st.sets(st.integers(0, 8), max_size=4))
    pieces = [_escape(char) if place in escaped else _as_is(char) for place, char in enumerate(said)]
    return f'"{"".join(pieces)}"'


def _escape(char: str) -> str:
    return "".join(f"\\u{unit:04x}" for unit in memoryview(char.encode("utf-16-le")).cast("H"))


def _as_is(char: str) -> str:
    return json.dumps(char, ensure_ascii=False)[1:-1]


SCALARS = st.one_of(
    strings(),
    st.sampled_from(["null", "true", "false", "0", "-0", "1.50", "1e400", "12345678901234567890123", "-1.0E-7"]),
)


@st.composite
def _array(draw: st.DrawFn, items: st.SearchStrategy[str]) -> str:
    said = draw(st.lists(items, max_size=3))
    return f"[{','.join(draw(WHITE_SPACE) + item + draw(WHITE_SPACE) for item in said)}]"


@st.composite
def _object(draw: st.DrawFn, items: st.SearchStrategy[str]) -> str:
    said = draw(st.lists(st.tuples(strings(), items), max_size=3))
    pieces = [f"{draw(WHITE_SPACE)}{name}{draw(WHITE_SPACE)}:{item}{draw(WHITE_SPACE)}" for name, item in said]
    return f"{{{','.join(pieces)}}}"


VALUES: st.SearchStrategy[str] = st.recursive(SCALARS, lambda items: _array(items) | _object(items), max_leaves=6)


@st.composite
def fields(draw: st.DrawFn, name: str, value: str | None = None) -> Field:
    """A field of this name, its name spelled in some way."""
    return Field(
        name,
        draw(WHITE_SPACE) + draw(strings(name)),
        draw(WHITE_SPACE) + ":" + draw(WHITE_SPACE),
        draw(VALUES) if value is None else value,
        draw(WHITE_SPACE),
    )


@st.composite
def bodies(draw: st.DrawFn, /, **must_have: str) -> Body:
    """An object with these fields, and others, each once, in any order."""
    others = draw(st.lists(NAMES.filter(lambda name: name not in must_have), max_size=4, unique=True))
    said = [draw(fields(name, value)) for name, value in must_have.items()] + [draw(fields(name)) for name in others]
    return Body(
        draw(WHITE_SPACE) + "{" + draw(WHITE_SPACE), tuple(draw(st.permutations(said))), "}" + draw(WHITE_SPACE)
    )
