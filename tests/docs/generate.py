"""`python -m tests.docs.generate` writes the generated parts of README.md and docs/ anew.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``; NAME is one of ``tables.PARTS``.
docs/configuration.md is generated as a whole.
"""

import re
from pathlib import Path

from switchgear.config import reference
from tests.docs.facts import ROOT
from tests.docs.tables import PARTS

CONFIGURATION = ROOT / "docs" / "configuration.md"

_PART = re.compile(r"(<!-- generated: (?P<name>[^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """README.md, CHANGELOG.md and all of docs/."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def renewed(text: str) -> str:
    """A page with its generated parts as the code has them now. Raises KeyError for a part that nothing makes."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found['name']]()}\n\n{found[3]}", text)


def parts_of(text: str) -> list[str]:
    """The names of a page's generated parts."""
    return [found["name"] for found in _PART.finditer(text)]


def main() -> None:
    """Write what has changed."""
    CONFIGURATION.write_text(reference.render(), encoding="utf-8")
    for page in pages():
        text = page.read_text(encoding="utf-8")
        new = renewed(text)
        if new != text:
            page.write_text(new, encoding="utf-8")
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
