"""Pages of the commands of `bioscan`, made of their help."""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer

FOLDER = "reference/commands"
_ARGUMENTS, _MAIN_PANEL = "Arguments", "Options"
_HELP = "--help"
_RANGE, _LIST = re.compile(r"<(\w+) range>"), re.compile(r"<list\[(\w+)\]>")
_HEADER = "| command | what it does |\n| --- | --- |"


def command_pages(app: typer.Typer) -> dict[str, str]:
    """Write a page for each command and group of an app.

    Returns:
        Markdown by path, relative to docs/; the first is that of the program.
    """
    program: Any = typer.main.get_command(app)
    context = program.make_context("bioscan", [], resilient_parsing=True)
    pages = {f"{FOLDER}/index.md": _program_page(program, context)}
    for name, command in program.commands.items():
        if not command.hidden:
            pages[f"{FOLDER}/{name}.md"] = "\n".join(_section(command, _context(command, name, context), level=1))
    return pages


def _context(command: Any, name: str, parent: Any) -> Any:
    return command.make_context(name, [], parent=parent, resilient_parsing=True)


def _program_page(program: Any, context: Any) -> str:
    panels: dict[str, list[str]] = {}
    for name, command in program.commands.items():
        if not command.hidden:
            panel = command.rich_help_panel if isinstance(command.rich_help_panel, str) else "Commands"
            row = f"| [`bioscan {name}`]({name}.md) | {_cell(command.get_short_help_str(limit=1000))} |"
            panels.setdefault(panel, []).append(row)
    return "\n".join(
        [
            "# The command line",
            "",
            _text(program),
            "",
            *(line for panel, rows in panels.items() for line in (f"## {panel}", "", _HEADER, *rows, "")),
            "## For all commands",
            "",
            *_options(program, context),
        ]
    )


def _section(command: Any, context: Any, level: int) -> Iterator[str]:
    path = context.command_path
    yield f"{'#' * level} `{path}`"
    yield ""
    yield _text(command)
    yield ""
    subcommands = getattr(command, "commands", {})
    if not subcommands:
        yield f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```"
        yield ""
        yield from _options(command, context)
    for name, own in subcommands.items():
        if not own.hidden:
            yield from _section(own, _context(own, name, context), level + 1)


def _options(command: Any, context: Any) -> Iterator[str]:
    """Tables of arguments and options, one for each panel of the help."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = None if parameter.hidden else parameter.get_help_record(context)
        if record is None or _HELP in parameter.opts:
            continue
        panel = getattr(parameter, "rich_help_panel", None)
        default = _ARGUMENTS if parameter.param_type_name == "argument" else _MAIN_PANEL
        panels.setdefault(panel if isinstance(panel, str) else default, []).append(record)
    for panel, records in panels.items():
        # A heading of each command's own would stand many times in the table of contents.
        yield f"**{panel}**\n"
        yield f"| {'argument' if panel == _ARGUMENTS else 'option'} | meaning |"
        yield "| --- | --- |"
        for names, text in records:
            yield f"| {_names(names)} | {_cell(text)} |"
        yield ""


def _names(names: str) -> str:
    """`--output <path>` as code; HTML, as a table knows no `|` in code."""
    names = _RANGE.sub(r"<\1>", _LIST.sub(lambda of: f"<{of[1].lower()}> ...", names))  # the meaning has the bounds
    escaped = (html.escape(name.strip()).replace("|", "&#124;") for name in names.split(" / "))
    return "<br>".join(f"<code>{name}</code>" for name in escaped)


def _cell(text: str) -> str:
    """Text of a help as a cell: options become code, and what would mean something in Markdown or HTML is text."""
    text = re.sub(r"(?<![`\w-])(--[a-z][a-z0-9-]*)", r"`\1`", " ".join(text.split()))
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [re.sub(r"([*_])", r"\\\1", html.escape(part, quote=False)) for part in parts[::2]]
    return "`".join(parts)


def _text(command: Any) -> str:
    """Help and examples, which are Markdown."""
    parts = (inspect.cleandoc(part) for part in (command.help, command.epilog) if part)
    return "\n\n".join(parts)
