"""Checkpoints: folders that are there whole or not at all, and nothing in them is a pickle.

A checkpoint is a model folder that loads like the final one, with what a resume needs beside it: the optimiser's
tensors, the other numbers as JSON, and a list of the files with their digests, which comes last.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from bioscan_hf.data.files import digest
from bioscan_hf.data.whole_files import NoSpaceError, says_when_full, write_json
from bioscan_hf.training.state import TrainingState

NAME = re.compile(r"checkpoint-(\d+)")
MODEL = "model.safetensors"
_MANIFEST, _STATE = "manifest.json", "trainer_state.json"
_OPTIMIZER, _GROUPS = "optimizer.safetensors", "optimizer.json"
# What is trained, where the model's own files do not hold just that: they have its average, an adapter, or the names
# that its layers had in older versions of transformers.
_WEIGHTS = "weights.safetensors"
_PARTIAL, _DOOMED = ".partial-checkpoint-", ".doomed-"
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def model_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """All tensors of a model, on the CPU and whole, also of one that is spread over processes (DDP, FSDP).

    To be called by all processes; the result is complete in the main one.
    """
    weights: Any = get_model_state_dict(model, options=_WHOLE)
    return dict(weights)


def write_checkpoint(folder: Path, step: int, write: Callable[[Path], None]) -> Path:
    """Write `checkpoint-STEP`: under another name first, which it changes when all files are on the disk.

    Args:
        folder: Folder of the run.
        step: Optimiser steps done.
        write: Writes the files into the folder that it is given.

    Raises:
        NoSpaceError: If there is no space; checkpoints that were written before stay.
    """
    partial, final = folder / f"{_PARTIAL}{step}", folder / f"checkpoint-{step}"
    remove_leftovers(folder)
    try:
        with says_when_full(final):
            partial.mkdir(parents=True)
            write(partial)
            names = sorted(path for path in partial.rglob("*") if path.is_file())
            write_json(partial / _MANIFEST, {str(path.relative_to(partial)): digest(path) for path in names})
            if final.exists():  # of a run that was resumed from before it
                shutil.rmtree(final)
            partial.rename(final)
    except NoSpaceError as error:
        raise NoSpaceError(f"{error} With --resume the run goes on from its last checkpoint.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed had not finished to write, or to delete."""
    for pattern in (".partial-*", f"{_DOOMED}*"):
        for leftover in folder.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)


def find_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, the oldest first, broken ones included."""
    found = [path for path in folder.glob("checkpoint-*") if path.is_dir() and NAME.fullmatch(path.name)]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """Optimiser steps that were done when a checkpoint was written."""
    match = NAME.fullmatch(checkpoint.name)
    if match is None:
        raise ValueError(f"'{checkpoint}' is no checkpoint; expected a folder 'checkpoint-N'.")
    return int(match[1])


def last_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that is whole; broken ones after it are named in a warning, and left as they are."""
    for checkpoint in reversed(find_checkpoints(folder)):
        reason = why_broken(checkpoint)
        if reason is None:
            return checkpoint
        warnings.warn(f"'{checkpoint}' is skipped: {reason}. The one before it is used.", stacklevel=2)
    return None


def why_broken(checkpoint: Path) -> str | None:
    """What is wrong with the files of a checkpoint; None if nothing is."""
    try:
        listed: dict[str, str] = json.loads((checkpoint / _MANIFEST).read_text(encoding="utf-8"))
        there = {path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file()}
        for name, expected in listed.items():
            # A manifest of others may name what has no end, such as a device.
            if name not in there:
                return f"{name} is missing"
            if digest(checkpoint / name) != expected:
                return f"{name} is not as it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        return f"it cannot be read ({error})"
    return None


def prune(folder: Path, *, keep: int, step: int, best_step: int | None) -> None:
    """Delete all but the last checkpoints and the best one.

    Args:
        folder: Folder of the run.
        keep: How many of the last ones stay.
        step: Steps done; checkpoints of later ones are broken ones that a resume skipped, and do not count.
        best_step: Step of the best one.
    """
    done = [checkpoint for checkpoint in find_checkpoints(folder) if step_of(checkpoint) <= step]
    for checkpoint in done[:-keep]:
        if step_of(checkpoint) != best_step:
            # Renamed first, so that one that is half deleted is never taken for a checkpoint.
            doomed = checkpoint.rename(checkpoint.with_name(f"{_DOOMED}{checkpoint.name}"))
            shutil.rmtree(doomed, ignore_errors=True)


def save_optimizer(folder: Path, state: Mapping[str, Any]) -> None:
    """Write what `optimizer_state` returns: tensors as safetensors, other numbers as JSON."""
    tensors = {f"{name}/{key}": value for name, own in state["state"].items() for key, value in own.items()}
    save_tensors(folder / _OPTIMIZER, tensors)
    write_json(folder / _GROUPS, state["param_groups"])


def optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """State of an optimiser by names of parameters, whole and on the CPU; to be called by all processes."""
    state: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=_WHOLE)
    return state


def load_optimizer(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the saved state into an optimiser of the same model; to be called by all processes."""
    state: dict[str, Any] = {}
    for name, tensor in read_tensors(folder / _OPTIMIZER).items():
        parameter, _, key = name.rpartition("/")
        state.setdefault(parameter, {})[key] = tensor
    groups = read_json(folder / _GROUPS)
    set_optimizer_state_dict(model, optimizer, {"state": state, "param_groups": groups}, options=_WHOLE)
    for group, saved in zip(optimizer.param_groups, groups, strict=True):
        group["betas"] = tuple(saved["betas"])  # a list in JSON


def save_weights(folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write what is trained, for a checkpoint whose model files hold something else."""
    save_tensors(folder / _WEIGHTS, weights)


def holds_weights(folder: Path, model: nn.Module) -> bool:
    """Whether the model's own file has what is trained, under the names that it has in the model."""
    if not (folder / MODEL).exists():
        return False
    with safe_open(folder / MODEL, framework="pt") as file:
        names = set(file.keys())
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return trained <= names <= model.state_dict().keys()


def load_weights(checkpoint: Path, model: nn.Module) -> None:
    """Put what was trained into a model that is not yet spread over processes.

    Raises:
        ValueError: If the checkpoint is of another model.
    """
    own = checkpoint / _WEIGHTS
    weights = read_tensors(own if own.exists() else checkpoint / MODEL)
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # other shapes
        raise ValueError(f"'{checkpoint}' is of another model: {' '.join(str(error).split())}.") from error
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if unexpected or trained.intersection(missing):
        raise ValueError(f"'{checkpoint}' is of another model: it lacks {missing[:3]}, and has {unexpected[:3]}.")


def save_state(folder: Path, state: TrainingState) -> None:
    """Write counters and records."""
    state.save(folder / _STATE)


def load_state(checkpoint: Path) -> TrainingState:
    """Read counters and records."""
    return TrainingState.load(checkpoint / _STATE)


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors that need not be contiguous."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file."""
    tensors: dict[str, torch.Tensor] = load_file(path)
    return tensors


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
