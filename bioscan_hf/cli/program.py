"""The program `bioscan`: its commands, and how it fails."""

from __future__ import annotations

import logging
import os
import platform
import sys
import time
import warnings
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from bioscan_hf import __version__
from bioscan_hf.cli import train
from bioscan_hf.cli.app import app_command
from bioscan_hf.cli.benchmark import benchmark
from bioscan_hf.cli.convert import convert
from bioscan_hf.cli.data import data
from bioscan_hf.cli.demo import demo
from bioscan_hf.cli.embed import embed
from bioscan_hf.cli.help import Program, deferred, show_help
from bioscan_hf.cli.identify import IdentifyCommand, identify
from bioscan_hf.cli.library import library
from bioscan_hf.cli.screen import get_level, say, set_level

INTERRUPTED = 130  # as shells, and typer, count a program ended by Ctrl-C

_LIBRARIES = ("torch", "transformers", "datasets", "huggingface_hub")
# Options that may stand anywhere.
_ANYWHERE = {"--debug": "debug", "--quiet": "quiet", "-q": "quiet", "--verbose": "verbose", "-v": "verbose"}

app = Program(
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Machine learning with BIOSCAN-5M: DNA barcodes, images and taxonomy of insects.

    Examples:
        # a small model of the embedded sample that names specimens: a minute
        bioscan demo
        # a library of the sample's specimens, and names for barcodes of your own
        bioscan library build sample --output my-library
        bioscan identify my_barcodes.fasta --library my-library
    """,
)
app.command(rich_help_panel="Start")(demo)
app.command("app", rich_help_panel="Start")(app_command)
app.add_typer(data, name="data", rich_help_panel="Data")
app.command("pretrain", cls=deferred(train.make_pretrain), rich_help_panel="Models")(train.pretrain)
app.command("finetune", cls=deferred(train.make_finetune), rich_help_panel="Models")(train.finetune)
app.command("align", cls=deferred(train.make_align), rich_help_panel="Models")(train.align)
app.command(rich_help_panel="Models")(embed)
app.add_typer(convert, name="convert", rich_help_panel="Models")
app.add_typer(library, name="library", rich_help_panel="Identification")
app.command(cls=IdentifyCommand, rich_help_panel="Identification")(identify)
app.add_typer(benchmark, name="benchmark", rich_help_panel="Benchmarks")


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    versions: Annotated[
        bool, typer.Option("--version", help="Show the version, with those of Python and torch, and leave.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show results and errors only; may stand anywhere.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the libraries' messages with times; may stand anywhere.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    """Answer what needs no command; `main` takes care of the options that may stand anywhere."""
    if versions:
        typer.echo(f"bioscan {__version__}\npython {platform.python_version()}")
        typer.echo("\n".join(f"{name} {version(name)}" for name in _LIBRARIES))
        raise typer.Exit
    show_help(context)


def main() -> None:
    """Run the program.

    Exit codes: 0 done; 1 failed; 2 wrong usage; 130 interrupted. An error is one line on stderr, or a traceback with
    `--debug`; a warning is one line, too. If nobody reads stdout any more, as after `| head`, it ends silently with 1.
    """
    given, words = _parted(sys.argv[1:])
    if {"quiet", "verbose"} <= given:
        _fail("--quiet and --verbose contradict each other; give one of them.", 2)
    set_level("quiet" if "quiet" in given else "verbose" if "verbose" in given else "normal")
    log, start = logging.getLogger("bioscan_hf"), time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code = app(words, prog_name="bioscan", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer would fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise SystemExit(1) from None
    except TyperException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "bioscan")
        _fail(f"{error.format_message()} See `{path} --help`.", error.exit_code)
    except Exception as error:
        if "debug" in given:
            raise
        _fail((str(error).strip() or type(error).__name__).splitlines()[0], 1)
    if code == INTERRUPTED:
        _fail("interrupted; nothing half-written was left behind.", INTERRUPTED)
    if code:
        raise SystemExit(code)
    log.info("done in %.1f s", time.perf_counter() - start)


def _parted(words: list[str]) -> tuple[set[str], list[str]]:
    """Take out the options that may stand anywhere; after `--` there are none."""
    end = words.index("--") if "--" in words else len(words)
    given = {_ANYWHERE[word] for word in words[:end] if word in _ANYWHERE}
    return given, [word for word in words[:end] if word not in _ANYWHERE] + words[end:]


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """Show a warning without the line of code that gave it."""
    if get_level() != "quiet":
        say(f"bioscan: warning: {str(message).strip()}", "yellow")


def _fail(message: str, code: int) -> None:
    say(f"bioscan: {message}", "red")
    raise SystemExit(code)
