"""Models no larger than their weights: a configuration may ask for any size, and a class makes what it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch
from torch.nn.modules import module as hooks

# Ten times as many as encoders of billions of numbers have.
_MODULES = 20_000
# Each number is counted when it is described, when it is read, and perhaps when layers are tied.
_COUNTED = 4


def most_numbers() -> int:
    """Numbers of float32 that fit into the memory: a bound where the weights are not known."""
    return int(psutil.virtual_memory().total) // torch.float32.itemsize // _COUNTED


@contextmanager
def bounded(numbers: int) -> Iterator[None]:
    """Let models be made that are no larger than their weights; not for several threads at once.

    Args:
        numbers: Of the weights, at least.

    Raises:
        ValueError: If parameters and buffers have far more numbers, or there are far too many modules.
    """
    counts = [0, 0]

    def count_tensor(_: torch.nn.Module, name: str, tensor: torch.Tensor | None) -> None:
        counts[0] += 0 if tensor is None else tensor.numel()
        if counts[0] > _COUNTED * numbers:
            raise ValueError(f"its configuration describes a model that is larger than its weights (`{name}`)")

    def count_module(*_: object) -> None:
        counts[1] += 1
        if counts[1] > _MODULES:
            raise ValueError(f"its configuration describes a model of more than {_MODULES:,} parts")

    registered = (
        hooks.register_module_parameter_registration_hook(count_tensor),
        hooks.register_module_buffer_registration_hook(count_tensor),
        hooks.register_module_module_registration_hook(count_module),
    )
    try:
        yield
    finally:
        for handle in registered:
            handle.remove()
