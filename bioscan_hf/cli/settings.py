"""Dataclasses of settings as options of a command."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bioscan_hf.cli import completion
from bioscan_hf.training.settings import MissingSettingError, make_settings, setting_types

# What the shell offers behind an option of this name.
_COMPLETIONS = {
    "data": completion.sources,
    "model": completion.models,
    "dna_model": completion.models,
    "rank": completion.ranks,
    "train_split": completion.splits,
    "eval_split": completion.splits,
}


def command_of(cls: type, function: Callable[[Any], None]) -> Callable[..., None]:
    """Make a command whose options are the fields of a dataclass.

    Each may also come from a YAML file, `--config`; an option wins over the file.

    Args:
        cls: Its fields are made by `bioscan_hf.training.settings.setting`.
        function: Called with an instance; its docstring is the help.
    """

    def command(**flags: Any) -> None:
        config = flags.pop("config")
        try:
            settings: Any = make_settings(cls, flags, config)
        except MissingSettingError as error:
            raise typer.BadParameter(str(error)) from error
        function(settings)

    fields = {field.name: field for field in dataclasses.fields(cls)}
    # Required ones first, then those of the command itself.
    names = sorted(fields, key=lambda name: (_required(fields[name]), _home(cls, name) is cls), reverse=True)
    kinds = setting_types(cls)
    parameters = [_parameter(name, kinds[name], fields[name], _home(cls, name).panel) for name in names]
    file = typer.Option(help="YAML file with any of these settings, by name; options win over it.", show_default=False)
    config = inspect.Parameter(
        "config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, file]
    )
    command.__signature__ = inspect.Signature([*parameters, config])  # type: ignore[attr-defined]
    command.__doc__, command.__name__ = function.__doc__, function.__name__
    return command


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING


def _home(cls: type, name: str) -> Any:
    """The class that has the field, of those that `cls` inherits from."""
    return next(base for base in cls.__mro__ if name in inspect.get_annotations(base))


def _parameter(name: str, kind: Any, field: dataclasses.Field[Any], panel: str) -> inspect.Parameter:
    annotation: Any = Literal[kind.choices] if kind.choices else kind.kind
    bounds = field.metadata["bounds"]
    required = _required(field)
    default = ""
    if not required and field.default is not None:
        shown = ("yes" if field.default else "no") if kind.kind is bool else field.default
        default = f" (default: {shown})"
    option = typer.Option(
        # typer would show that the default is None: that it was not given.
        help=field.metadata["help"] + default,
        show_default=False,
        min=bounds.get("at least"),
        max=bounds.get("at most"),
        autocompletion=_COMPLETIONS.get(name),
        rich_help_panel="Required" if required else panel,
    )
    # None stands for "not given", so that the file can say it.
    annotated = Annotated[annotation | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotated)
