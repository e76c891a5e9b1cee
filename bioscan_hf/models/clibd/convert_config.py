"""The configuration of a CLIBD of the reference code: what its tensors tell, and what has to be assumed."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from transformers import BertConfig, ViTConfig

from bioscan_hf.models.barcodebert.convert_config import Described
from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig, ClibdDnaConfig

CONFIGS: dict[str, type[BertConfig | ViTConfig]] = {
    "vision_config": ViTConfig,
    "dna_config": ClibdDnaConfig,
    "text_config": BertConfig,
}
"""Configurations of the towers, and their classes."""

_TOWERS = {"vision_config": "image", "dna_config": "dna", "text_config": "text"}
_ENCODERS = {"vision_config": "vision_model.", "dna_config": "dna_model.", "text_config": "text_model."}
_HEADS = {"image": "vision_projection.", "dna": "dna_projection.", "text": "text_projection."}
# All published towers, and timm's and BERT's models in the sizes that the reference names.
_HEAD_WIDTH = 64
_SPECIAL_TOKENS, _LARGEST_K = 3, 10
# The outputs of the reference's branch 33, `dna_output_pipeline`: of the logits, or of the last hidden states.
_DNA_POOLINGS = {
    "head_softmax_mean": "logits_softmax_mean",
    "head_mean": "logits_mean",
    "mean": "hidden_state_mean",
    "cls": "cls_token",
}


def check_given(given: Mapping[str, Any]) -> None:
    """Refuse what is no field of a configuration.

    Args:
        given: Content of the file for `--config`.

    Raises:
        ValueError: If a name is unknown; the message says which one may be meant.
    """
    _refuse_unknown(given, {"dna_pooling", *CONFIGS}, "the configuration")
    for name, config_class in CONFIGS.items():
        own = given.get(name, {})
        if not isinstance(own, Mapping):
            raise ValueError(f"`{name}` must be an object of fields, as {{'num_attention_heads': 12}}; got {own!r}.")
        _refuse_unknown(own, {entry.name for entry in fields(config_class)}, f"`{name}`")
    pooling = given.get("dna_pooling", "head_softmax_mean")
    if not isinstance(pooling, str) or pooling not in _DNA_POOLINGS:
        meanings = ", ".join(f"'{ours}' ({theirs})" for ours, theirs in _DNA_POOLINGS.items())
        raise ValueError(f"`dna_pooling` must be what the reference has: {meanings}; got {pooling!r}.")


def describe(weights: Mapping[str, torch.Tensor], given: Mapping[str, Any]) -> Described:
    """Find the configuration of a checkpoint.

    Args:
        weights: By the names of `ClibdModel`.
        given: What the user adds: `dna_pooling`, and fields of the towers' configurations.

    Returns:
        Fields of `ClibdConfig`; those of a tower are named with a dot, as `text_config.hidden_size`.

    Raises:
        ValueError: If it has fewer than two towers, if tensors contradict each other or `given`, or if something is to
            be given.
    """
    found = Described()
    there = [name for name, prefix in _ENCODERS.items() if any(own.startswith(prefix) for own in weights)]
    found.fields["modalities"] = [_TOWERS[name] for name in there]
    if len(there) < 2:
        raise ValueError(f"a CLIBD has towers for two or three of image, dna and text; it has {len(there)}")
    if absent := [name for name in CONFIGS if given.get(name) and name not in there]:
        raise ValueError(f"`{absent[0]}` is given, but it has no tower for {_TOWERS[absent[0]]}")
    pooling = given.get("dna_pooling")
    has_dna = "dna_config" in there
    if pooling is not None and not has_dna:
        raise ValueError("`dna_pooling` is given, but it has no tower for dna")
    for name in there:
        told = _vision(weights) if name == "vision_config" else _bert(weights, name)
        found.add("tensors", {f"{name}.{field}": value for field, value in told.items()})
        found.add("--config", {f"{name}.{field}": value for field, value in given.get(name, {}).items()})
        _suppose_heads(found, name)
    if has_dna:
        found.suppose("dna_config.max_nucleotides", 660, "as in all scripts of the reference")
        found.add("--config", {} if pooling is None else {"dna_pooling": pooling})
        found.suppose("dna_pooling", "head_softmax_mean", "as in all published checkpoints")
        found.fields["dna_head"] = "mlm" if found.fields["dna_pooling"].startswith("head_") else "none"
    found.assumed.append("activation, layer norm and dropout are those of timm's ViT and of BERT")
    for tower, prefix in _HEADS.items():
        if tower in found.fields["modalities"] and (tower != "dna" or found.fields["dna_head"] != "none"):
            found.add(f"tower for {tower}", {"projection_dim": _shape(weights, f"{prefix}weight", 2)[0]})
    _add_the_rest(found, weights)
    return found


def config_of(found: Described) -> ClibdConfig:
    """The configuration that was found.

    Raises:
        ValueError: If values are of a wrong type, or do not fit together.
    """
    nested: dict[str, Any] = {}
    for name, value in found.fields.items():
        whole, dot, field = name.partition(".")
        if dot:
            nested.setdefault(whole, {})[field] = value
        else:
            nested[name] = value
    config = ClibdConfig(**nested)
    for name in CONFIGS:
        tower: Any = getattr(config, name)
        if tower is not None and (tower.num_attention_heads < 1 or tower.hidden_size % tower.num_attention_heads):
            raise ValueError(
                f"`{name}.num_attention_heads` must divide the hidden size, {tower.hidden_size}; got "
                f"{tower.num_attention_heads}"
            )
    dna: Any = config.dna_config
    if dna is not None and dna.max_tokens > dna.max_position_embeddings:
        raise ValueError(
            f"its tower for DNA has {dna.max_position_embeddings} positions, too few for {dna.max_tokens} tokens; give "
            '{"dna_config": {"max_nucleotides": ...}} in a JSON file by --config'
        )
    return config


def _refuse_unknown(given: Mapping[str, Any], known: set[str], whole: str) -> None:
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"known are, for instance, {sorted(known)[:4]}."
            raise ValueError(f"`{name}` is no field of {whole} that can be given; {hint}")


def _shape(weights: Mapping[str, torch.Tensor], name: str, dimensions: int) -> torch.Size:
    if name not in weights or weights[name].ndim != dimensions:
        raise ValueError(f"it has no '{name}' of {dimensions} dimensions")
    return weights[name].shape


def _layers(weights: Mapping[str, torch.Tensor], prefix: str) -> int:
    pattern = re.compile(rf"{re.escape(prefix)}(\d+)\.")
    return len({match[1] for name in weights if (match := pattern.match(name))})


def _vision(weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    hidden_size, channels, height, width = _shape(
        weights, "vision_model.embeddings.patch_embeddings.projection.weight", 4
    )
    _, positions, _ = _shape(weights, "vision_model.embeddings.position_embeddings", 3)
    side = math.isqrt(positions - 1)
    if height != width or side**2 != positions - 1:
        raise ValueError(
            f"its tower for images has {positions} positions and patches of {height} x {width} pixels; only square "
            "images and patches, and a ViT with one token beside them, can be converted"
        )
    return {
        "model_type": "vit",
        "hidden_size": hidden_size,
        "num_hidden_layers": _layers(weights, "vision_model.layers."),
        "intermediate_size": _shape(weights, "vision_model.layers.0.mlp.fc1.weight", 2)[0],
        "image_size": side * height,
        "patch_size": height,
        "num_channels": channels,
        "qkv_bias": "vision_model.layers.0.attention.q_proj.bias" in weights,
        # timm's; the default of transformers is another.
        "layer_norm_eps": 1e-6,
    }


def _bert(weights: Mapping[str, torch.Tensor], config: str) -> dict[str, Any]:
    prefix = _ENCODERS[config]
    rows, hidden_size = _shape(weights, f"{prefix}embeddings.word_embeddings.weight", 2)
    told = {
        "vocab_size": rows,
        "hidden_size": hidden_size,
        "num_hidden_layers": _layers(weights, f"{prefix}encoder.layer."),
        "intermediate_size": _shape(weights, f"{prefix}encoder.layer.0.intermediate.dense.weight", 2)[0],
        "max_position_embeddings": _shape(weights, f"{prefix}embeddings.position_embeddings.weight", 2)[0],
        "type_vocab_size": _shape(weights, f"{prefix}embeddings.token_type_embeddings.weight", 2)[0],
    }
    if config == "text_config":
        return {"model_type": "bert", **told}
    for k in range(1, _LARGEST_K + 1):
        if rows == 4**k + _SPECIAL_TOKENS:
            return {"kmer_size": k, **told}
    raise ValueError(
        f"its tower for DNA has {rows:,} tokens; published ones have 4**k + 3 (1,027 with k = 5). How the others, of "
        "experiments with later BarcodeBERTs, cut barcodes into tokens is not known, and they cannot be converted"
    )


def _suppose_heads(found: Described, config: str) -> None:
    hidden_size, name = found.fields[f"{config}.hidden_size"], f"{config}.num_attention_heads"
    if hidden_size % _HEAD_WIDTH == 0:
        found.suppose(name, hidden_size // _HEAD_WIDTH, f"the heads of all published towers are {_HEAD_WIDTH} wide")
    if name not in found.fields:
        raise ValueError(
            f"nothing in it tells the number of attention heads of the tower for {_TOWERS[config]}; give "
            f'{{"{config}": {{"num_attention_heads": ...}}}} in a JSON file by --config'
        )


def _add_the_rest(found: Described, weights: Mapping[str, torch.Tensor]) -> None:
    if "text" in found.fields["modalities"]:
        found.fields["text_pooling"] = "mean"
        found.suppose("text_tokens", 20, "as in all scripts of the reference")
    scale = weights.get("logit_scale.log_scale")
    if scale is not None and scale.numel() == 1:
        found.fields["logit_scale_init_value"] = float(scale)
        # The reference has no bound; ours must not change what was learnt.
        bound = ClibdConfig.logit_scale_max
        if bound is not None and float(scale) > math.log(bound):
            found.fields["logit_scale_max"] = None
