"""`switchgear version`."""

import click

import switchgear


@click.command()
def command() -> None:
    """Print the version."""
    click.echo(f"switchgear {switchgear.__version__}")
