"""`switchgear check`: every mistake of a configuration, or what it would serve."""

import os
from pathlib import Path

import click

from switchgear.cli.offers import offers_of
from switchgear.cli.options import config_option
from switchgear.config import Loaded, load


@click.command()
@config_option
def command(config: Path | None) -> None:
    """Check a configuration and say what it would serve.

    Every mistake is a line on standard error, and the exit code is 2. Starts nothing and calls no provider.
    """
    click.echo(summary(load(config, os.environ)))


def summary(loaded: Loaded) -> str:
    """What the settings would serve, with warnings; no secrets."""
    offers = offers_of(loaded)
    lines = [f"{loaded.source}: fine", f"listens on {offers.url} with {_count(loaded.settings.server.workers)}"]
    for title, rows in (("providers", offers.providers), ("models", offers.models), ("keys", offers.keys)):
        lines.append(f"{title}: {len(rows) or 'none'}")
        width = max((len(name) for name, _ in rows), default=0)
        lines += [f"  {name:<{width}}  {text}".rstrip() for name, text in rows]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in loaded.warnings)])


def _count(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"
