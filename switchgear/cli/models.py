"""`switchgear models`: the names a client may ask for."""

import asyncio
import os
from pathlib import Path

import click

from switchgear.cli.options import config_option
from switchgear.config import load
from switchgear.config.kinds import KINDS
from switchgear.core.settings import Settings
from switchgear.core.types import ModelInfo
from switchgear.library import Gateway


@click.command()
@config_option
@click.option("--kinds", is_flag=True, help="List the kinds of provider instead.")
def command(config: Path | None, kinds: bool) -> None:
    """List the models on offer: those configured, and those the providers say they have."""
    if kinds:
        width = max(len(name) for name in KINDS)
        for name, kind in KINDS.items():
            click.echo(f"{name:<{width}}  {kind.about}")
        return
    for model in asyncio.run(_models(load(config, os.environ).settings)):
        click.echo(model.id)


async def _models(settings: Settings) -> list[ModelInfo]:
    async with Gateway(settings) as gateway:
        return await gateway.models()
