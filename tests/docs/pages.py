"""The pages as data: their code blocks, tables, links and headings."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.docs.facts import ROOT

_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_GENERATED = re.compile(r"<!-- generated: [^>]+ -->.*?<!-- end -->", re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its page, the line it begins in, its language and text, and whether the generator wrote it."""

    page: Path
    line: int
    language: str
    text: str
    generated: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """README.md, CHANGELOG.md and all of docs/."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def read(name: str) -> str:
    """A page's text, by its path from the root."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(language: str) -> list[Block]:
    """All blocks of one language."""
    return [block for page in pages() for block in _blocks_of(page) if block.language == language]


def _blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    made = [(one.start(), one.end()) for one in _GENERATED.finditer(text)]
    for found in _BLOCK.finditer(text):
        inside = any(start < found.start() < end for start, end in made)
        yield Block(page, text.count("\n", 0, found.start()) + 1, found["language"], found["text"], inside)


def first_column(name: str, *, under: str = "") -> list[str]:
    """What stands in code quotes in the first column of a page's tables, from a heading on if one is given."""
    text = read(name)
    if under:
        text = text[text.index(under) :].partition("\n#")[0]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def links(page: Path) -> list[str]:
    """Where a page's links lead, those to other sites left out."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [found["target"] for found in _LINK.finditer(text) if "://" not in found["target"]]


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}
