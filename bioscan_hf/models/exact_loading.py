"""Weights of a checkpoint into a model: all that the model needs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from bioscan_hf.models.bounded import bounded

_NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_DDP = "module."
_LISTED = 6


def without_ddp(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Take the prefix from the names that torch's data parallel training has put before all of them."""
    if all(name.startswith(_DDP) for name in tensors):
        return {name.removeprefix(_DDP): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def load_exactly(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, weights: Mapping[str, torch.Tensor], kind: str
) -> Any:
    """Make a model of weights that are its own, by name, shape and type.

    Args:
        model_class: Class of the model.
        config: Its configuration.
        weights: Tensors by the names of the model's state dict.
        kind: What the model is called in messages, with its article.

    Returns:
        The model in float32, ready for use.

    Raises:
        ValueError: If tensors are missing, surplus, of another shape, or no finite floating point numbers; or if the
            configuration describes a larger model than the weights are.
    """
    with torch.device("meta"), bounded(sum(tensor.numel() for tensor in weights.values())):
        expected = {name: tensor.shape for name, tensor in model_class(config).state_dict().items()}
    if missing := sorted(expected.keys() - weights.keys()):
        raise ValueError(f"tensors are missing in it: {listed(missing)}")
    if surplus := sorted(weights.keys() - expected.keys()):
        raise ValueError(f"it has tensors that {kind} does not have: {listed(surplus)}")
    for name, tensor in weights.items():
        if tensor.shape != expected[name]:
            raise ValueError(f"`{name}` must have the shape {tuple(expected[name])}; got {tuple(tensor.shape)}")
        if tensor.dtype not in _NUMBERS:
            raise ValueError(f"`{name}` must hold floating point numbers; got {tensor.dtype}")
        if not tensor.isfinite().all():
            raise ValueError(f"`{name}` holds numbers that are not finite, so that the model could compute nothing")
    return model_class.from_pretrained(None, config=config, state_dict=dict(weights), dtype=torch.float32)


def listed(names: Iterable[str]) -> str:
    """The first of some names, and how many more there are."""
    names = list(names)
    rest = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + rest
