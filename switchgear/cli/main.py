"""The command `switchgear` and its subcommands, each imported only when it is asked for."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

import switchgear
from switchgear.core.errors import ConfigError, SwitchgearError

FAILED, MISCONFIGURED, INTERRUPTED = 1, 2, 130

# Name: what it does, and the module whose `command` it is. Help needs none of the modules.
_COMMANDS: Mapping[str, tuple[str, str]] = {
    "serve": ("Start the gateway.", "switchgear.cli.serve"),
    "check": ("Check a configuration and say what it would serve.", "switchgear.cli.check"),
    "models": ("List the models on offer, or the kinds of provider.", "switchgear.cli.models"),
    "bench": ("Measure this gateway, and others beside it.", "switchgear.cli.bench"),
}


class LazyGroup(click.Group):
    """A group that imports a subcommand's module by name when it runs, and says our errors without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The subcommands, in the order they are shown."""
        return [*_COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand, imported now; None for a name that is none."""
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        command: click.Command = import_module(_COMMANDS[cmd_name][1]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of subcommands in the help."""
        with formatter.section("Commands"):
            here = [(name, command.get_short_help_str()) for name, command in self.commands.items()]
            formatter.write_dl([*((name, about) for name, (about, _) in _COMMANDS.items()), *here])

    def invoke(self, ctx: click.Context) -> Any:
        """Run; our own errors become lines on standard error and an exit code."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            _say(error.problems)
            ctx.exit(MISCONFIGURED)
        except SwitchgearError as error:
            _say([error.message])
            ctx.exit(FAILED)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(switchgear.__version__, prog_name="switchgear", message="%(prog)s %(version)s")
def cli() -> None:
    """One door in front of every model."""


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(f"switchgear {switchgear.__version__}")


def main() -> None:
    """Run the command line and exit: 0 fine, 1 failed, 2 a mistake in options or settings, 130 interrupted."""
    cli(prog_name="switchgear")


def _say(lines: tuple[str, ...] | list[str]) -> None:
    for line in lines:
        click.echo(f"error: {line}", err=True)
