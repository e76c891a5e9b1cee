"""Models in other precisions, for faster inference."""

from __future__ import annotations

import copy
from typing import Literal, TypeVar, get_args

import torch
from torch import nn
from transformers import PreTrainedModel

Precision = Literal["float32", "bfloat16", "int8"]

Model = TypeVar("Model", bound=PreTrainedModel)

# Of 127. A CPU without VNNI adds products of two bytes in pairs into 16 bits, which overflow with larger weights
# (oneDNN, "Nuances of int8 computations").
_LARGEST_WEIGHT = 63
_LARGEST_INPUT = 127
_ZERO_POINT = 128


def in_precision(model: Model, precision: Precision, device: str | torch.device | None = None) -> Model:
    """Give a model another precision.

    Args:
        model: Stays as it is.
        precision: `bfloat16` casts all weights. `int8` replaces the linear layers by `Int8Linear`, for CPUs that are
            slow in bfloat16.
        device: Where the result computes; by default where `model` does.

    Returns:
        The model itself if it is of this precision and there, else a copy.

    Raises:
        ValueError: If the precision is unknown, or `int8` is asked for on another device than the CPU, or where torch
            has no oneDNN.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"`precision` must be one of {list(get_args(Precision))}; got {precision!r}.")
    device = torch.device(device or model.device)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    if precision != "int8" and model.dtype == dtype and torch.empty(0, device=device).device == model.device:
        return model
    if precision == "int8" and (device.type != "cpu" or not torch.backends.mkldnn.is_available()):
        raise ValueError(f"`precision='int8'` needs a CPU and a torch with oneDNN; take 'bfloat16' on {device}.")
    changed = copy.deepcopy(model)
    nn.Module.to(changed, device=device, dtype=dtype)
    if precision == "int8":
        for module in list(changed.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.Linear):
                    setattr(module, name, Int8Linear(child))
    return changed


class Int8Linear(nn.Module):
    """A linear layer that multiplies 8-bit integers, on the CPU.

    Weights have a scale per output, inputs one per row, found anew for each row: so a barcode's vector does not depend
    on the others in its batch. The product is oneDNN's, through the operator that torch's compiler uses for quantised
    models (torch 2.13): `torch.ao.quantization`, and tensors of quantised types with it, are deprecated.
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Quantise a layer.

        Args:
            linear: Stays as it is.
        """
        super().__init__()
        weight = linear.weight.detach().float()
        scales = (weight.abs().amax(dim=1) / _LARGEST_WEIGHT).clamp(min=torch.finfo(torch.float32).tiny)
        bias = torch.zeros(len(weight)) if linear.bias is None else linear.bias.detach().float()
        self.weight: torch.Tensor
        self.scales: torch.Tensor
        self.bias: torch.Tensor
        self.register_buffer("weight", (weight / scales[:, None]).round().to(torch.int8))
        self.register_buffer("scales", scales)
        self.register_buffer("bias", bias)
        self._packed = torch.ops.onednn.qlinear_prepack(self.weight, None)
        self._zero_points = torch.zeros(len(weight), dtype=torch.int8)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute x W' + b.

        Args:
            inputs: float32 (..., inputs of the layer).

        Returns:
            float32 (..., outputs of the layer).
        """
        scales = inputs.abs().amax(dim=-1, keepdim=True) / _LARGEST_INPUT
        scales = scales.clamp(min=torch.finfo(torch.float32).tiny)
        integers = (inputs / scales).round_().add_(_ZERO_POINT).to(torch.uint8)
        product = torch.ops.onednn.qlinear_pointwise(
            integers, 1.0, _ZERO_POINT, self._packed, self.scales, self._zero_points,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return product.mul_(scales).add_(self.bias)
