"""`switchgear serve`: settings, banner, local models, and the server in front of it all."""

import logging
import os
import sys
import tempfile
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from switchgear.cli.banner import banner, is_colourful
from switchgear.cli.listening import with_address
from switchgear.cli.options import config_option
from switchgear.config import load
from switchgear.core.errors import ConfigError
from switchgear.local import llama
from switchgear.local_models import local_models

LOG_LEVELS = ("debug", "info", "warning", "error")


@click.command()
@config_option
@click.option("--host", help="Address to listen on, instead of server.host.")
@click.option("--port", type=int, help="TCP port, instead of server.port; 0 picks a free one.")
@click.option("--workers", type=int, help="Processes that serve, instead of server.workers.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True, help="What to log.")
def command(config: Path | None, host: str | None, port: int | None, workers: int | None, log_level: str) -> None:
    """Start the gateway. Ctrl-C lets live calls finish; a second one does not."""
    flags: dict[str, Any] = {"host": host, "port": port, "workers": workers}
    loaded = load(config, os.environ, {name: value for name, value in flags.items() if value is not None})
    if not loaded.settings.providers:
        raise ConfigError([_nothing_to_serve()])
    server = with_address(loaded.settings.server)
    loaded = replace(loaded, settings=replace(loaded.settings, server=server))
    log_to_stderr(log_level)
    with ExitStack() as stack:
        if server.workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="switchgear-metrics-"))
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        # Imported only now: prometheus_client looks at its import whether several processes share its metrics.
        serving = import_module("switchgear.cli.serving")
        settings = stack.enter_context(local_models(loaded.settings))
        click.echo(banner(loaded, is_colourful(sys.stderr, os.environ)), err=True, nl=False)
        serving.serve(settings, log_level)


def log_to_stderr(level: str) -> None:
    """Send our own log records of this level and above to standard error."""
    logger = logging.getLogger("switchgear")
    logger.setLevel(level.upper())
    logger.propagate = False
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)


def _nothing_to_serve() -> str:
    return (
        "there are no providers. Write a switchgear.yaml, set OPENAI_API_KEY or another provider's key, "
        f"set LLM_BACKEND, start Ollama, or get a small model of your own: {llama.INSTALL_HINT}"
    )
