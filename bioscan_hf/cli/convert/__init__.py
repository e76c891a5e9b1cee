"""`bioscan convert`: models from and for other programs."""

import typer

from bioscan_hf.cli.convert.barcodebert import barcodebert
from bioscan_hf.cli.convert.clibd import clibd
from bioscan_hf.cli.convert.onnx import onnx

convert = typer.Typer(help="Convert models: from checkpoints of the reference code, and to ONNX.")


@convert.callback(invoke_without_command=True)
def show_help(context: typer.Context) -> None:
    """Show the help where no command is given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for command in (barcodebert, clibd, onnx):
    convert.command()(command)
