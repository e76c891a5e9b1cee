"""The folder of a run: what may be there before it, and what is written at its end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from bioscan_hf.data.whole_files import NoSpaceError, alone, write_json
from bioscan_hf.training import checkpoints
from bioscan_hf.training.arguments import TrainingArguments
from bioscan_hf.training.provenance import differences

RUN = "run.json"
LOCK = ".run.lock"
_FINISHED = "finished"
_MODEL_FILES = ("config.json", "adapter_config.json", checkpoints.MODEL)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder: two would write over each other.

    Raises:
        OSError: If another process trains there.
    """
    with alone(folder / LOCK, f"trains in '{folder}'"):
        yield


class RunFinished(Exception):
    """The run that is to be resumed is finished already; nothing is to be done."""


def open_folder(folder: Path, *, resume: bool) -> None:
    """Make the folder of a run, and see that it does not hold another one.

    Raises:
        RunFinished: If the run to be resumed is finished.
        ValueError: If there is something of another run, and `resume` does not say that it is this one.
        OSError: If the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"Results cannot be written to '{folder}' ({error.strerror}); choose another folder.") from error
    found = [path.name for path in checkpoints.find_checkpoints(folder)]
    found += [name for name in _MODEL_FILES if (folder / name).exists()]
    if found and not resume:
        raise ValueError(
            f"'{folder}' holds a run already ({found[-1]}). Go on with it by --resume, or choose another --output."
        )
    if resume and read_run(folder).get(_FINISHED):
        (folder / LOCK).unlink(missing_ok=True)  # of a process that was killed as the last thing it did
        raise RunFinished(f"The run in '{folder}' is finished; there is nothing to go on with.")


def read_run(folder: Path) -> dict[str, Any]:
    """What `begin` wrote; empty if nothing.

    Raises:
        ValueError: If it is damaged.
    """
    path = folder / RUN
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"'{path}' is damaged ({error}). Without it, --resume goes on from the last checkpoint, and does not see "
            "whether the arguments are the same; or choose another --output."
        ) from error


def begin(folder: Path, description: Mapping[str, Any], arguments: TrainingArguments, *, resumes: bool) -> None:
    """Write what the run is, or see that it is the one that is to be resumed.

    Raises:
        ValueError: If it is another one; the message names what differs.
    """
    before = read_run(folder)
    if resumes and before:
        changed = differences(before, description, arguments)
        if changed:
            raise ValueError(
                f"By '{folder / RUN}' the run was another one: {'; '.join(changed)}. Resume with its arguments, or "
                "choose another --output."
            )
    checkpoints.remove_leftovers(folder)
    write_json(folder / RUN, description)


def finish(folder: Path, description: Mapping[str, Any]) -> None:
    """Take note that the model is complete."""
    write_json(folder / RUN, {**description, _FINISHED: True})


def check_space(folder: Path, model: nn.Module, arguments: TrainingArguments) -> None:
    """See whether the checkpoints that are kept and the final model fit on the disk.

    Raises:
        NoSpaceError: If they do not.
    """
    whole = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    # Two moments of Adam; with an average, it and the weights beside it.
    checkpoint = whole + 2 * trained + (0 if arguments.ema_decay is None else whole + trained)
    # A new one is written before an old one is deleted.
    kept = 2 if arguments.save_total_limit is None else arguments.save_total_limit + 1
    needed = kept * checkpoint + whole
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoSpaceError(
            f"There is no space for the checkpoints in '{folder}': {needed / 1e9:.3g} GB are needed for {kept} of them "
            f"and the model, {free / 1e9:.3g} GB are free. Free some, choose another --output, or lower "
            "--save-total-limit."
        )
