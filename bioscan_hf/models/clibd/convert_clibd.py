"""Checkpoints of the reference code (bioscan-ml/clibd) as models of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError

from bioscan_hf.models.barcodebert.convert_config import Described
from bioscan_hf.models.clibd.convert_config import check_given, config_of, describe
from bioscan_hf.models.clibd.convert_names import LowRank, merge, rename
from bioscan_hf.models.clibd.modeling_clibd import ClibdModel
from bioscan_hf.models.exact_loading import load_exactly, without_ddp
from bioscan_hf.models.legacy_checkpoints import checked_tensors, read_checkpoint

# A checkpoint may hold its tensors below one of these names.
_STATE_DICTS = ("model", "state_dict")
_TOWERS = {"image": "vision_model.", "dna": "dna_model.", "text": "text_model."}
_DNA_HEAD = ("dna_transform.", "dna_projection.")


@dataclass(frozen=True)
class ClibdConversion:
    """A converted checkpoint.

    Attributes:
        model: With the weights of the checkpoint, in float32, ready for use.
        layout: Where it has LoRA, in words.
        found: What its configuration follows from: where each field was read, and what was assumed.
        left_out: Tensors that the model does not have, in words.
        adapter: LoRA's matrices by the name of their layer in the model, if they are not merged.
    """

    model: ClibdModel
    layout: str
    found: Described
    left_out: list[str]
    adapter: dict[str, LowRank] | None = None


def convert_clibd(source: Path, given: Mapping[str, Any] | None = None, *, adapter: bool = False) -> ClibdConversion:
    """Turn a checkpoint of the reference into a model of this package.

    Args:
        source: A file (`.pth`, `.pt`, `.safetensors`).
        given: What the checkpoint does not tell: `dna_pooling` (`head_softmax_mean`, which all published checkpoints
            have, `head_mean`, `mean` or `cls`), and fields of `vision_config`, `dna_config` and `text_config`.
        adapter: Whether the matrices of LoRA stay apart, instead of being added to the weights of their layers.

    Returns:
        The model, and what was found, assumed and left out.

    Raises:
        ValueError: If it is no checkpoint of CLIBD or has OpenCLIP's towers, has missing or surplus tensors or such of
            a wrong shape, contradicts itself or `given`, does not tell enough, or asks for code to be run; or if there
            is no adapter to keep apart.
        OSError: If it cannot be read.
    """
    given = dict(given or {})
    check_given(given)
    content = read_checkpoint(source)
    nested = next((content[name] for name in _STATE_DICTS if isinstance(content.get(name), Mapping)), content)
    tensors = checked_tensors(nested, source)
    try:
        return _convert(without_ddp(tensors), given, adapter=adapter)
    except (ValueError, StrictDataclassError) as error:
        reason = str(error.__cause__ or error) if isinstance(error, StrictDataclassError) else str(error)
        raise ValueError(f"'{source}' cannot be converted: {reason.removesuffix('.')}.") from error


def _convert(tensors: dict[str, torch.Tensor], given: dict[str, Any], *, adapter: bool) -> ClibdConversion:
    weights, lora, left_out = rename(tensors)
    merged = merge(weights, lora)
    found = describe(merged, given)
    if found.fields.get("dna_head") == "none":
        weights, merged = _without_dna_head(weights), _without_dna_head(merged)
        left_out.append(f"the head for DNA, which `dna_pooling` '{found.fields['dna_pooling']}' does not use")
    adapted = [name for name, prefix in _TOWERS.items() if any(layer.startswith(prefix) for layer in lora)]
    if adapter:
        _check_adapter(lora, adapted)
    model = load_exactly(ClibdModel, config_of(found), weights if adapter else merged, "a CLIBD")
    return ClibdConversion(model, _layout(adapted), found, left_out, lora if adapter else None)


def _without_dna_head(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in weights.items() if not name.startswith(_DNA_HEAD)}


def _layout(adapted: list[str]) -> str:
    if not adapted:
        return "without LoRA"
    if adapted == ["image"]:
        return "with LoRA in the tower for images alone, where the reference leaves it in full fine-tuning"
    return f"with LoRA in its towers ({', '.join(adapted)})"


def _check_adapter(lora: Mapping[str, LowRank], adapted: list[str]) -> None:
    if adapted in ([], ["image"]):
        have = "its weights were trained beside the LoRA of its tower for images" if adapted else "it has no LoRA"
        raise ValueError(f"there is no adapter to keep apart: {have}; leave out --adapter")
    ranks = sorted({len(down) for down, _ in lora.values()})
    if len(ranks) > 1:
        raise ValueError(f"an adapter has one rank, but its LoRA matrices have several ({ranks}); leave out --adapter")
