"""The program `bioscan`: its commands, and how it fails."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from bioscan_hf import __version__
from bioscan_hf.cli.benchmark import benchmark
from bioscan_hf.cli.convert import convert
from bioscan_hf.cli.data import data
from bioscan_hf.cli.demo import demo
from bioscan_hf.cli.embed import embed
from bioscan_hf.cli.identify import identify
from bioscan_hf.cli.library import library
from bioscan_hf.cli.train import align, finetune, pretrain

INTERRUPTED = 130  # as shells, and typer, count a program ended by Ctrl-C

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # paragraphs are filled, whatever their lines in the code
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Machine learning with BIOSCAN-5M: DNA barcodes, images and taxonomy of insects.",
)
app.command()(demo)
app.add_typer(data, name="data")
app.add_typer(convert, name="convert")
app.command("pretrain")(pretrain)
app.command("finetune")(finetune)
app.command("align")(align)
app.command()(embed)
app.add_typer(library, name="library")
app.command()(identify)
app.add_typer(benchmark, name="benchmark")


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Answer what needs no command; `main` takes care of `--debug`."""
    if version:
        typer.echo(f"bioscan {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the program.

    Exit codes: 0 done; 1 failed; 2 wrong usage; 130 interrupted. An error is one line on stderr, or a traceback with
    `--debug`, which may stand anywhere; a warning is one line, too.
    """
    debug = "--debug" in sys.argv
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code = app([word for word in sys.argv[1:] if word != "--debug"], prog_name="bioscan", standalone_mode=False)
    except TyperException as error:
        _fail(f"{error.format_message()} See `bioscan --help`.", error.exit_code)
    except Exception as error:
        if debug:
            raise
        _fail((str(error).strip() or type(error).__name__).splitlines()[0], 1)
    if code == INTERRUPTED:
        _fail("interrupted; nothing half-written was left behind.", INTERRUPTED)


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """Show a warning without the line of code that gave it."""
    typer.secho(f"bioscan: warning: {str(message).strip()}", err=True, fg=typer.colors.YELLOW)


def _fail(message: str, code: int) -> None:
    typer.secho(f"bioscan: {message}", err=True, fg=typer.colors.RED)
    raise SystemExit(code)
