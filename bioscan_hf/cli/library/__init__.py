"""`bioscan library`: reference specimens, made into what queries are compared with."""

import typer

from bioscan_hf.cli.library.add import add
from bioscan_hf.cli.library.build import build
from bioscan_hf.cli.library.info import info
from bioscan_hf.cli.library.push import push

library = typer.Typer(help="Make, enlarge, show and publish a library of reference specimens.")


@library.callback(invoke_without_command=True)
def show_help(context: typer.Context) -> None:
    """Show the help where no command is given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for command in (build, add, info, push):
    library.command()(command)
