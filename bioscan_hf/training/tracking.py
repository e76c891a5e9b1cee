"""Processes, devices, and trackers of losses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, InitProcessGroupKwargs

from bioscan_hf.training.arguments import BarcodeDataArguments, OutputArguments, TrainingArguments

_PROJECT = "bioscan_hf"
# The others wait while one process writes a checkpoint or prepares a cache.
_PATIENCE = timedelta(days=1)


def make_accelerator(arguments: TrainingArguments) -> Accelerator:
    """Join the processes that were started together, each with its device.

    Raises:
        ImportError: If the tracker is not installed.
        ValueError: If fp16 is asked for without a GPU, or probes with a model that is spread over processes.
    """
    tracker = None if arguments.report_to == "none" else arguments.report_to
    if tracker is not None and find_spec(tracker) is None:
        raise ImportError(f"`report_to={tracker!r}` needs {tracker}: `pip install {tracker}`.")
    if arguments.mixed_precision == "fp16" and not torch.cuda.is_available():
        raise ValueError("`mixed_precision='fp16'` needs a GPU; on a CPU use 'bf16' or 'no'.")
    if arguments.deterministic:
        # cuBLAS reads it when it starts; without it, matrix products may vary from run to run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    folder = arguments.output if isinstance(arguments, OutputArguments) else None
    accelerator = Accelerator(
        mixed_precision=arguments.mixed_precision,
        cpu=not alone and not torch.cuda.is_available(),
        log_with=tracker,
        project_dir=None if folder is None else str(folder),
        kwargs_handlers=[] if alone else [InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
    if (
        isinstance(arguments, BarcodeDataArguments)
        and arguments.eval_probe
        and accelerator.distributed_type == DistributedType.FSDP
    ):
        raise ValueError("`eval_probe` needs the whole model in each process: not with FSDP.")
    return accelerator


@contextmanager
def tracked(accelerator: Accelerator, arguments: dict[str, Any]) -> Iterator[None]:
    """Open the trackers, and close them whatever happens."""
    values = {name: value if isinstance(value, int | float | str) else str(value) for name, value in arguments.items()}
    accelerator.init_trackers(_PROJECT, config=values)
    try:
        yield
    finally:
        accelerator.end_training()
