"""Settings of a run: fields of dataclasses, given as flags, in a YAML file, or both."""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from bioscan_hf.training.plain_yaml import LARGEST_FILE, read_plain_yaml

_Settings = TypeVar("_Settings")
PRESETS = ("clibd", "clibd-lora")
"""Recipes of papers that come with the package."""

# More than any setting can mean, and fits into 64 bits.
_LARGEST = 1e18
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def setting(
    help: str,  # as in typer and argparse
    default: Any = dataclasses.MISSING,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    advanced: bool = False,
) -> Any:
    """A field of a dataclass of settings.

    Args:
        help: What it is, with its unit.
        default: Its value if it is not given; without one it must be.
        minimum: The smallest number that makes sense.
        above: A number that it must be above.
        maximum: The largest number that makes sense.
        below: A number that it must be below.
        advanced: Whether it may differ when a run is resumed: it does not change what is trained.
    """
    bounds = {"at least": minimum, "above": above, "at most": maximum, "below": below}
    return dataclasses.field(
        default=default,
        kw_only=True,
        metadata={"help": help, "bounds": {k: v for k, v in bounds.items() if v is not None}, "advanced": advanced},
    )


class SettingType(NamedTuple):
    """The type of a setting.

    Attributes:
        kind: `int`, `float`, `bool`, `str` or `Path`.
        choices: The values that it may have; empty for any.
        optional: Whether it may be None.
    """

    kind: type
    choices: tuple[str, ...]
    optional: bool


def setting_types(cls: type) -> dict[str, SettingType]:
    """Type of each field of a dataclass of settings."""
    hints = get_type_hints(cls)
    return {field.name: _setting_type(hints[field.name]) for field in dataclasses.fields(cls)}


def _setting_type(hint: Any) -> SettingType:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    (kind,) = (option for option in options if option is not type(None))
    if get_origin(kind) is Literal:
        return SettingType(str, get_args(kind), len(options) > 1)
    return SettingType(kind, (), len(options) > 1)


def check_settings(settings: Any) -> None:
    """Refuse values that make no sense; for `__post_init__` of a dataclass of settings.

    Raises:
        ValueError: If a value is of another type, is none of the choices, or is out of bounds; the message names it.
    """
    for name, kind in setting_types(type(settings)).items():
        field = type(settings).__dataclass_fields__[name]
        value = getattr(settings, name)
        if value is None and kind.optional:
            continue
        expected = _why_wrong(value, kind, field.metadata["bounds"])
        if expected:
            raise ValueError(f"`{name}` must be {expected}; got {value!r:.100}. {field.metadata['help']}")


def _why_wrong(value: Any, kind: SettingType, bounds: Mapping[str, float]) -> str | None:
    if kind.choices:
        return None if value in kind.choices else f"one of {list(kind.choices)}"
    accepted = (int, float) if kind.kind is float else kind.kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind.kind is not bool):
        return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind.kind, "text")
    holds = {
        "at least": lambda bound: value >= bound,
        "above": lambda bound: value > bound,
        "at most": lambda bound: value <= bound,
        "below": lambda bound: value < bound,
    }
    if all(holds[word](bound) for word, bound in bounds.items()):
        # No limit is above or below what is no number.
        if kind.kind in (int, float) and not (holds["above"](-_LARGEST) and holds["below"](_LARGEST)):
            return f"a number below {_LARGEST:.0e}"
        return None
    return " and ".join(f"{word} {bound}" for word, bound in bounds.items())


class MissingSettingError(ValueError):
    """A setting without a default was not given."""


def make_settings(cls: type[_Settings], flags: Mapping[str, Any], config: Path | None = None) -> _Settings:
    """Make settings of flags and a file; a flag wins over the file.

    Args:
        cls: A dataclass whose fields are made by `setting`.
        flags: Value of each field; None for one that was not given.
        config: YAML file of names, with hyphens or underscores, and values; or one of `PRESETS`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no such YAML, a name is not known, a value makes no sense, or one is missing.
    """
    given = {} if config is None else _read(config, cls)
    given |= {name: value for name, value in flags.items() if value is not None}
    required = [
        field.name
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if field.default is dataclasses.MISSING and field.name not in given
    ]
    if required:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in required)
        raise MissingSettingError(f"{names} must be given{'' if config is None else f', here or in {config}'}.")
    return cls(**given)


def _read(config: Path, cls: type) -> dict[str, Any]:
    try:
        content = read_plain_yaml(_content(config)) or {}
    except ValueError as error:
        raise ValueError(f"'{config}' is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"'{config}' must hold names and values, such as `max_steps: 1000`; got {content!r:.60}.")
    kinds, found = setting_types(cls), {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in kinds:
            close = difflib.get_close_matches(name, kinds, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known are {sorted(kinds)}."
            raise ValueError(f"'{config}': there is no setting {key!r}.{hint}")
        if name in found:
            raise ValueError(f"'{config}': `{name}` is given more than once.")
        found[name] = _from_yaml(value, kinds[name])
    return found


def _content(config: Path) -> str:
    """Text of a file, or of a recipe that comes with the package."""
    if config.is_file():
        with config.open(encoding="utf-8") as file:
            return file.read(LARGEST_FILE + 1)
    if str(config) in PRESETS:
        return (files("bioscan_hf.training") / "presets" / f"{config}.yaml").read_text(encoding="utf-8")
    raise FileNotFoundError(
        f"No such file: '{config}'; expected YAML with settings such as `max_steps: 1000`, or one of the recipes "
        f"{', '.join(PRESETS)}."
    )


def _from_yaml(value: Any, kind: SettingType) -> Any:
    """Put right what YAML takes for another type; what does not fit is left for `check_settings`."""
    if kind.kind is str and isinstance(value, bool):
        # `mixed_precision: no` is False in YAML.
        return next((word for word in kind.choices if _WORDS.get(word) is value), value)
    if kind.kind is str and isinstance(value, list):
        return ",".join(map(str, value))
    if kind.kind is float and isinstance(value, str):
        # YAML 1.1 takes `1e-4`, without a point, for text.
        try:
            return float(value)
        except ValueError:
            return value
    return Path(value) if kind.kind is Path and isinstance(value, str) else value
