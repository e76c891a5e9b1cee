"""`bioscan data`: the dataset on a user's disk and on the Hub."""

import typer

from bioscan_hf.cli.data.convert import convert
from bioscan_hf.cli.data.info import info
from bioscan_hf.cli.data.push import push
from bioscan_hf.cli.data.stats import stats
from bioscan_hf.cli.data.verify import verify

data = typer.Typer(help="Show, check, convert and publish BIOSCAN-5M.")


@data.callback(invoke_without_command=True)
def show_help(context: typer.Context) -> None:
    """Show the help where no command is given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for command in (info, stats, verify, convert, push):
    data.command()(command)
