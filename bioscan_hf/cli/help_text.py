"""The help of a command on the screen: names of options are never cut, and examples can be copied."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

PANELS = ("Start", "Data", "Models", "Identification", "Benchmarks")
"""Headings of the program's commands, in this order."""

# Longer names stand on a line of their own.
_NAMES = 25
# Longer lines are hard to read.
_WIDEST = 100


def print_help(command: Any, context: Any, examples: str) -> None:
    """Print usage, text, arguments, options and commands by panels, and examples.

    Args:
        command: A command or group of typer.
        context: Its context.
        examples: Lines of a shell.
    """
    console = Console(highlight=False)
    console.width = min(console.width, _WIDEST)
    with console.capture() as captured:
        _print(command, context, console)
    # Cells are filled with spaces.
    shown = re.sub(r" +$", "", captured.get(), flags=re.MULTILINE)
    console.file.write(shown)
    if examples:
        lines = Text("\n".join(f"  {line}" for line in examples.splitlines()))
        lines.highlight_regex(r"(?m)^  #.*$", "dim")
        lines.highlight_regex(r"(?m)^  bioscan(?: [a-z]+)*", "cyan")
        console.print(Text("Examples", "bold"))
        console.print(lines, soft_wrap=True)


def _print(command: Any, context: Any, console: Console) -> None:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    console.print(Text.assemble(("Usage: ", "bold"), usage), end="\n\n")
    text = re.sub(r"^ +", "", inspect.cleandoc(command.help or ""), flags=re.MULTILINE)
    console.print(Padding(Markdown(text), (0, 0, 1, 2)))
    for name, records in _panels(command, context).items():
        console.print(Text(name, "bold"))
        console.print(Padding(Group(*_rows(records)), (0, 0, 1, 2)))


def _panels(command: Any, context: Any) -> dict[str, list[tuple[str, str]]]:
    """What it takes and what it has, by heading: names and texts."""
    subcommands = getattr(command, "commands", {})
    commands: dict[str, list[tuple[str, str]]] = {name: [] for name in PANELS if subcommands}
    for name, own in subcommands.items():
        if not own.hidden:
            commands.setdefault(_panel(own) or "Commands", []).append((name, own.get_short_help_str(limit=1000)))
    options: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Required": []}
    for parameter in command.get_params(context):
        if (record := None if parameter.hidden else parameter.get_help_record(context)) is None:
            continue
        usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
        if usual == "Options" and parameter.required:
            usual = "Required"
        names, text = record
        text = re.sub(r" *\[required\]|; required(?=\])", "", text)
        options.setdefault(_panel(parameter) or usual, []).append((_plain(names), text))
    # The program's own options are of less interest than its commands.
    return {name: records for name, records in {**commands, **options}.items() if records}


def _panel(own: Any) -> str | None:
    panel = getattr(own, "rich_help_panel", None)
    return panel if isinstance(panel, str) else None


def _plain(names: str) -> str:
    """Names, and types in short: `--output <path>`, `--quiet`, `--nearest <int>`."""
    return re.sub(r"<(?:list\[)?(\w+)(?:\]| range)>", r"<\1>", names.replace(" <bool>", ""))


def _rows(records: list[tuple[str, str]]) -> Iterator[RenderableType]:
    width = min(max(len(names) for names, _ in records), _NAMES)
    for names, text in records:
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=width, no_wrap=True)
        row.add_column(ratio=1)
        if len(names) > width:
            yield Text(names, "cyan")
            names = ""
        row.add_row(Text(names, "cyan"), Text(text))
        yield row
