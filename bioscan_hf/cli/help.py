"""Help that ends with examples, and commands whose options are known only when they are asked for."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_SECTION = re.compile(r"\n*^Examples?:\s*\n", re.MULTILINE)


def split_help(text: str | None) -> tuple[str, str]:
    r"""Part a docstring from its last section, `Examples:`.

    Returns:
        The text before it, and the examples: lines of a shell.

    >>> split_help("Do it.\n\nExamples:\n    # all of it\n    bioscan it --all")
    ('Do it.', '# all of it\nbioscan it --all')
    """
    before, *after = _SECTION.split(inspect.cleandoc(text or ""), maxsplit=1)
    return before, inspect.cleandoc("\n" + after[0]) if after else ""


class _Exampled:
    """A command or group that shows examples below its help; `epilog` has them as Markdown, for pages."""

    examples: str
    epilog: str | None

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings["help"], self.examples = split_help(settings.get("help"))
        if self.examples:
            settings["epilog"] = f"```bash\n{self.examples}\n```"
        super().__init__(*args, **settings)

    def example_commands(self) -> list[list[str]]:
        """The examples as words, each without `bioscan`."""
        lines = self.examples.replace("\\\n", " ").splitlines()
        return [words[1:] for line in lines if (words := shlex.split(line, comments=True))]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, then the examples."""
        # Imported here: completion need not wait for it.
        from bioscan_hf.cli.help_text import print_help

        print_help(self, ctx, self.examples)


class Command(_Exampled, TyperCommand):
    """A command with examples, which registers our models before it runs."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        from bioscan_hf.cli.logs import set_up_logs

        self.register(ctx)
        set_up_logs()
        return super().invoke(ctx)

    def register(self, ctx: Any) -> None:
        """Register our models with transformers, whose import takes seconds."""
        import bioscan_hf.registration  # noqa: F401


class ModelFreeCommand(Command):
    """A command that loads no model, and so need not wait for transformers."""

    def register(self, ctx: Any) -> None:
        """Leave it out."""


class Group(_Exampled, TyperGroup):
    """A group of commands with examples."""


def show_help(context: typer.Context) -> None:
    """Show the help where no command is given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


class Program(typer.Typer):
    """A Typer whose commands and groups have examples; a group by itself shows its help."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, rich_markup_mode="markdown", **settings)
        self.callback(invoke_without_command=True)(show_help)

    def command(self, *args: Any, **settings: Any) -> Callable[[Any], Any]:
        """Register a command; arguments are those of `Typer.command`."""
        return super().command(*args, **{"cls": Command, **settings})


def deferred(make: Callable[[], Callable[..., None]]) -> type[Command]:
    """A class of commands that get options, and what they do, from a function that is made when it is needed.

    Args:
        make: Makes the function; it imports what the options need.
    """

    class Deferred(Command):
        def __init__(self, *args: Any, **settings: Any) -> None:
            self._whole: Any = None
            super().__init__(*args, **settings)

        def _command(self) -> Any:
            if self._whole is None:
                app = typer.Typer(add_completion=False)
                app.command(self.name)(make())
                self._whole = typer.main.get_command(app)
            return self._whole

        @property
        def params(self) -> list[Any]:
            parameters: list[Any] = self._command().params
            return parameters

        @params.setter
        def params(self, _: list[Any]) -> None:
            """Those of the placeholder are not used."""

        def invoke(self, ctx: Any) -> Any:
            self.callback = self._command().callback
            return super().invoke(ctx)

    return Deferred
