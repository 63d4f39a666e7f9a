"""Options that several commands share."""

from pathlib import Path

import click

config_option = click.option(
    "--config",
    "-c",
    "config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration; ./switchgear.yaml if there is one, else what the environment offers.",
)
