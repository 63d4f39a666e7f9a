"""What `switchgear serve` says at start: what is on offer, where, for whom, and one line to try it with."""

from collections.abc import Iterable, Mapping
from typing import TextIO

import switchgear
from switchgear.cli.offers import offers_of
from switchgear.config import Loaded

_BOLD, _DIM, _END = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_MOST_ROWS = 12
_WIDEST_NAME = 28


def is_colourful(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether to use colour: on a terminal, unless NO_COLOR says otherwise (https://no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def banner(loaded: Loaded, colour: bool) -> str:
    """The banner, several lines, with its own line end."""
    offers = offers_of(loaded)
    bold, dim, end = (_BOLD, _DIM, _END) if colour else ("", "", "")
    rows = [
        *_section("providers", offers.providers),
        *_section("models", offers.models or [("ask /v1/models", "")]),
        *_section("keys", offers.keys or [("none needed", "")]),
        *_section("from", [(loaded.source, "")]),
    ]
    lines = [f"{bold}switchgear {switchgear.__version__}{end}  {offers.url}/v1", ""]
    lines += [f"  {dim}{title:<11}{end}{text}".rstrip() for title, text in rows]
    lines += [f"  {dim}{'warning':<11}{end}{warning}" for warning in loaded.warnings]
    lines += ["", f"  {bold}{offers.curl}{end}"]
    lines += [f"  {dim}({offers.hint}){end}"] if offers.hint else []
    return "\n".join([*lines, "", ""])


def _section(title: str, rows: list[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """The rows, their first columns aligned; the title stands in front of the first one."""
    shown = rows if len(rows) <= _MOST_ROWS else rows[: _MOST_ROWS - 1]
    width = min(_WIDEST_NAME, max(len(name) for name, _ in shown))
    for place, (name, text) in enumerate(shown):
        yield ("" if place else title), f"{name:<{width}}  {text}"
    if len(shown) < len(rows):
        yield "", f"… and {len(rows) - len(shown)} more"
