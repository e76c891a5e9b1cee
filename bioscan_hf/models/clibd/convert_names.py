"""Tensors of CLIBD's reference code (bioscan-ml/clibd) under the names of `ClibdModel`, and its LoRA matrices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch

from bioscan_hf.models.exact_loading import listed

_IMAGE, _DNA = r"image_encoder\.base_image_encoder\.", r"dna_encoder\.base_dna_encoder\."
_TEXT = r"language_encoder\.base_language_encoder\."
# Names of the towers before April 2025; the reference renames them, too (`update_checkpoint_param_names`).
_FORMER = {
    "image_encoder.lora_vit.": "image_encoder.base_image_encoder.",
    "dna_encoder.lora_barcode_bert.": "dna_encoder.base_dna_encoder.",
    "language_encoder.lora_bert.": "language_encoder.base_language_encoder.",
}
_LAYER = rf"{_IMAGE}blocks\.(\d+)\."
# The first that fits counts. A layer with LoRA holds the original inside: `qkv.qkv`, `query.w`.
_NAMES = tuple(
    (re.compile(pattern), ours)
    for pattern, ours in (
        (r"logit_scale", r"logit_scale.log_scale"),
        (rf"{_IMAGE}cls_token", r"vision_model.embeddings.cls_token"),
        (rf"{_IMAGE}pos_embed", r"vision_model.embeddings.position_embeddings"),
        (rf"{_IMAGE}patch_embed\.proj\.(\w+)", r"vision_model.embeddings.patch_embeddings.projection.\1"),
        (rf"{_LAYER}norm1\.(\w+)", r"vision_model.layers.\1.layernorm_before.\2"),
        (rf"{_LAYER}norm2\.(\w+)", r"vision_model.layers.\1.layernorm_after.\2"),
        (rf"{_LAYER}attn\.qkv\.linear_([ab])_([qv])\.weight", r"vision_model.layers.\1.attention.\3_proj.lora_\2"),
        (rf"{_LAYER}attn\.qkv\.(?:qkv\.)?(\w+)", r"vision_model.layers.\1.attention.qkv.\2"),
        (rf"{_LAYER}attn\.proj\.(\w+)", r"vision_model.layers.\1.attention.o_proj.\2"),
        (rf"{_LAYER}mlp\.(fc[12])\.(\w+)", r"vision_model.layers.\1.mlp.\2.\3"),
        (rf"{_IMAGE}norm\.(\w+)", r"vision_model.layernorm.\1"),
        (rf"{_IMAGE}head\.(\w+)", r"vision_projection.\1"),
        (rf"{_DNA}bert\.(.+\.(?:query|value))\.w_([ab])\.weight", r"dna_model.\1.lora_\2"),
        (rf"{_DNA}bert\.(.+\.(?:query|value))\.w\.(\w+)", r"dna_model.\1.\2"),
        (rf"{_DNA}bert\.((?:embeddings|encoder)\..+)", r"dna_model.\1"),
        (rf"{_DNA}cls\.predictions\.transform\.(.+)", r"dna_transform.\1"),
        (rf"{_DNA}cls\.predictions\.decoder\.(\w+)", r"dna_projection.\1"),
        (rf"{_TEXT}(.+\.(?:query|value))\.w_([ab])\.weight", r"text_model.\1.lora_\2"),
        (rf"{_TEXT}(.+\.(?:query|value))\.w\.(\w+)", r"text_model.\1.\2"),
        (rf"{_TEXT}((?:embeddings|encoder)\..+)", r"text_model.\1"),
        (r"language_encoder\.proj\.(\w+)", r"text_projection.\1"),
    )
)
_NOT_NEEDED = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r".+\.embeddings\.position_ids", "position_ids, a constant of old versions of transformers"),
        (rf"{_DNA}cls\.predictions\.bias", "the bias of the k-mer predictions, which CLIBD does not use"),
        (rf"(?:{_DNA}bert\.|{_TEXT})pooler\..+", "BERT's pooler, which CLIBD does not use"),
    )
)
# What other checkpoints hold, and what to do with them.
_OTHERS = (
    (
        r"open_clip_model\..+|.+\.resblocks\..+|dna_projection\..+",
        "its towers are OpenCLIP's (ViT-L/14 or BioCLIP), which are not supported: those of timm's ViT and BERT are",
    ),
    (
        r"(?:base_model\.|bert\.|cls\.predictions\.|encoder\.|embeddings\.).*",
        "it seems to be a BarcodeBERT; `bioscan convert barcodebert` converts such checkpoints",
    ),
    (
        r"(?:image|dna)_encoder\.encoder\.\d+\..+",
        "it has a tower for features that were computed before (MLPEncoder), which is not supported",
    ),
)


class LowRank(NamedTuple):
    """The matrices of a layer with LoRA: `up @ down` is added to its weight.

    Attributes:
        down: (rank, inputs); peft calls it A.
        up: (outputs, rank); peft calls it B.
    """

    down: torch.Tensor
    up: torch.Tensor


class Renamed(NamedTuple):
    """The tensors of a checkpoint.

    Attributes:
        weights: By the names of `ClibdModel`, without LoRA.
        lora: By the name of the layer.
        left_out: Tensors that are not needed, in words.
    """

    weights: dict[str, torch.Tensor]
    lora: dict[str, LowRank]
    left_out: list[str]


def rename(tensors: Mapping[str, torch.Tensor]) -> Renamed:
    """Give the tensors of a checkpoint of the reference the names that they have here.

    Args:
        tensors: By their names there, of today or from before April 2025.

    Raises:
        ValueError: If it is another model's checkpoint, has tensors that a CLIBD does not have, one of them twice, or
            one matrix of a LoRA without the other.
    """
    weights: dict[str, torch.Tensor] = {}
    left_out, surplus = [], []
    for given, tensor in tensors.items():
        name = next((new + given.removeprefix(old) for old, new in _FORMER.items() if given.startswith(old)), given)
        ours = next((found.expand(ours) for pattern, ours in _NAMES if (found := pattern.fullmatch(name))), None)
        reason = next((reason for pattern, reason in _NOT_NEEDED if pattern.fullmatch(name)), None)
        if reason is not None:
            left_out.append(reason)
        elif ours is None:
            surplus.append(given)
        elif ours in weights:
            raise ValueError(f"`{given}` is there twice, once under another name")
        else:
            weights[ours] = tensor
    if surplus:
        _refuse(surplus)
    lora = _take_lora(weights)
    return Renamed(_split_qkv(weights), lora, list(dict.fromkeys(left_out)))


def merge(weights: Mapping[str, torch.Tensor], lora: Mapping[str, LowRank]) -> dict[str, torch.Tensor]:
    """Add LoRA's matrices to the weights of their layers, unscaled as in the reference.

    Raises:
        ValueError: If a layer is not there, or its shape is another.
    """
    merged = dict(weights)
    for layer, (down, up) in lora.items():
        weight = weights.get(f"{layer}.weight")
        if weight is None:
            raise ValueError(f"it has LoRA matrices for `{layer}`, but not its weight")
        if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1] or weight.shape != (len(up), down.shape[1]):
            raise ValueError(
                f"LoRA matrices of `{layer}` of shapes {tuple(down.shape)} and {tuple(up.shape)} do not fit its weight "
                f"of shape {tuple(weight.shape)}"
            )
        merged[f"{layer}.weight"] = weight.float() + up.float() @ down.float()
    return merged


def _refuse(surplus: list[str]) -> None:
    for pattern, message in _OTHERS:
        if any(re.fullmatch(pattern, name) for name in surplus):
            raise ValueError(message)
    raise ValueError(f"it has tensors that a CLIBD does not have: {listed(surplus)}")


def _take_lora(weights: dict[str, torch.Tensor]) -> dict[str, LowRank]:
    """Move LoRA's matrices out of the weights."""
    parts = {name: weights.pop(name) for name in list(weights) if name.endswith((".lora_a", ".lora_b"))}
    layers = sorted({name.rpartition(".")[0] for name in parts})
    for layer in layers:
        for half, other in (("a", "b"), ("b", "a")):
            if f"{layer}.lora_{half}" not in parts:
                raise ValueError(f"`{layer}` has the LoRA matrix {other.upper()}, but not its partner {half.upper()}")
    return {layer: LowRank(parts[f"{layer}.lora_a"], parts[f"{layer}.lora_b"]) for layer in layers}


def _split_qkv(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Timm's one layer for query, key and value as three."""
    split = {}
    for name, tensor in weights.items():
        block, found, part = name.partition(".attention.qkv.")
        if not found:
            split[name] = tensor
            continue
        if tensor.ndim == 0 or len(tensor) % 3:
            raise ValueError(f"`{name}` must be query, key and value, one upon the other; got {tuple(tensor.shape)}")
        for letter, third in zip("qkv", tensor.chunk(3), strict=True):
            split[f"{block}.attention.{letter}_proj.{part}"] = third
    return split
