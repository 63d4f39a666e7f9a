"""`switchgear bench`: hands everything on to the benchmark, which has its own options."""

import click

from switchgear.bench.command import main


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Measure this gateway, and others beside it; `switchgear bench --help` lists the options."""
    ctx.exit(main(arguments))
