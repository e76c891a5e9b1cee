"""Where a model comes from: arguments, versions, state of the code, revision of the data."""

from __future__ import annotations

import dataclasses
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from bioscan_hf import __version__
from bioscan_hf.training.arguments import OutputArguments, SizeArguments, TrainingArguments

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "peft", "tokenizers", "safetensors", "numpy")


def describe_run(
    arguments: TrainingArguments, *, command: str, data: tuple[str, str], processes: int, examples_per_step: int
) -> dict[str, Any]:
    """All that made a model, fit for JSON.

    Args:
        arguments: Of the run.
        command: The command line.
        data: Name and revision of the data.
        processes: How many train together.
        examples_per_step: Over all processes.
    """
    return {
        "command": command,
        "arguments": plain_arguments(arguments),
        "data": {"name": data[0], "revision": data[1]},
        "processes": processes,
        "examples_per_step": examples_per_step,
        "bioscan_hf": __version__,
        "git": git_state(Path(__file__).parent),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
    }


def plain_arguments(arguments: TrainingArguments) -> dict[str, Any]:
    """Arguments by name, paths as text."""
    values = dataclasses.asdict(arguments)
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def shown_arguments(arguments: TrainingArguments) -> dict[str, Any]:
    """Arguments for a card: without places on this machine, and without those that were not used."""
    hidden = {field.name for field in dataclasses.fields(OutputArguments)} | {"data", "splits", "model", "compare"}
    if getattr(arguments, "model", None) is not None:
        hidden |= {field.name for field in dataclasses.fields(SizeArguments)} - {"reading_frames"}
    return {name: value for name, value in plain_arguments(arguments).items() if name not in hidden}


def differences(before: Mapping[str, Any], now: Mapping[str, Any], arguments: TrainingArguments) -> list[str]:
    """What differs between two runs and changes what is trained, in words."""
    advanced = {field.name for field in dataclasses.fields(arguments) if field.metadata.get("advanced")}
    ignored = advanced | {"data", "splits"}
    if not now["arguments"].get("streaming"):
        # How examples are spread over processes and forward passes does not matter, as long as a step has as many.
        ignored |= {"batch_size", "gradient_accumulation_steps"}
    found = [
        f"`{name}` was {before['arguments'].get(name)!r}, is {value!r}"
        for name, value in now["arguments"].items()
        if name not in ignored and before["arguments"].get(name) != value
    ]
    if before["data"]["revision"] != now["data"]["revision"]:
        found.append(f"the data were {before['data']}, are {now['data']}")
    if before["examples_per_step"] != now["examples_per_step"]:
        found.append(f"a step took {before['examples_per_step']} examples, takes {now['examples_per_step']}")
    if now["arguments"].get("streaming") and before["processes"] != now["processes"]:
        found.append(f"{before['processes']} processes read the stream, now {now['processes']}")
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the code and whether it was changed since; None if it is not in a repository."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--", str(folder)))}
    except (OSError, subprocess.SubprocessError):  # installed from a wheel, or no git
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
