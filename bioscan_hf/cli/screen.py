"""Where a command writes: what it was asked for to stdout; words and progress beside it, or to stderr."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import Progress, ProgressColumn
from rich.segment import Segment
from rich.text import Text

Level = Literal["quiet", "normal", "verbose"]

Json = typer.Option("--json", help="Print one JSON document and nothing else; progress goes to stderr.")
"""The option of commands whose answers machines read."""

# What terminals take for commands, and names in files may hold.
_CONTROL = dict.fromkeys([*range(10), *range(11, 32), *range(127, 160)])
_IN_JSON = {code: f"\\u{code:04x}" for code in range(127, 160)}  # `json` writes the others so

_level: Level = "normal"


def set_level(level: Level) -> None:
    """Say how much is told, once for the program."""
    global _level
    _level = level


def get_level() -> Level:
    """How much is told."""
    return _level


class _Console(Console):
    """A console that leaves out control characters of texts; rich does so with some, and counts none as wide."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else text.translate(_CONTROL), style, control)


@dataclass(frozen=True)
class Screen:
    """The two consoles of a command.

    Attributes:
        answers: For what was asked for, on stdout; silent if that is a JSON document.
        words: For progress and remarks: on stdout, or on stderr if the answer is a JSON document; silent with
            `--quiet`. Its lines are not broken, so that paths stay whole.
        as_json: Whether the answer is a JSON document.
    """

    answers: Console
    words: Console
    as_json: bool

    @classmethod
    def open(cls, as_json: bool = False) -> Screen:
        """Make both; names in texts may hold brackets, which mean nothing here."""
        return cls(
            _Console(highlight=False, markup=False, quiet=as_json),
            _Console(highlight=False, markup=False, soft_wrap=True, stderr=as_json, quiet=_level == "quiet"),
            as_json,
        )

    def document(self, document: Any) -> None:
        """Print the answer as one line of JSON, if it was asked for so."""
        if self.as_json:
            typer.echo(json.dumps(document, ensure_ascii=False, default=_as_text).translate(_IN_JSON))


def bars(console: Console, *columns: ProgressColumn) -> Progress:
    """Bars that are drawn on terminals only, and vanish when all is done."""
    # Not `console.is_terminal`: with FORCE_COLOR that is said of files, too.
    return Progress(*columns, console=console, transient=True, disable=console.quiet or not console.file.isatty())


def say(message: str, style: str) -> None:
    """Write a line to stderr: an error or a warning."""
    _Console(stderr=True, highlight=False).print(Text(message, style=style), soft_wrap=True)


def _as_text(value: Any) -> str:
    if isinstance(value, Path | os.PathLike):
        return str(value)
    raise TypeError(f"A document of JSON holds no {type(value).__name__}.")
