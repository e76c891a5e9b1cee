"""Checkpoints of the reference code (bioscan-ml/BarcodeBERT, BarcodeMAE) as models of this package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedModel

from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.barcodebert.convert_config import Described, check_given, describe
from bioscan_hf.models.barcodebert.modeling_barcodebert import (
    BarcodeBertForMaskedLM,
    BarcodeBertForSequenceClassification,
    BarcodeBertModel,
)
from bioscan_hf.models.exact_loading import listed, load_exactly, without_ddp
from bioscan_hf.models.legacy_checkpoints import checked_tensors, read_checkpoint

CONFIG_FILE, WEIGHT_FILES = "config.json", ("model.safetensors", "pytorch_model.bin")
_DECODER = "the decoder, which BarcodeMAE drops after pretraining, and second names of its tensors"


@dataclass(frozen=True)
class _Layout:
    """How the tensors of a kind of checkpoint are named.

    Attributes:
        name: In words.
        marks: A checkpoint is of the first layout of which it has a tensor for each of these prefixes.
        encoder: Prefix of the encoder's tensors.
        model: What it becomes.
        head: Prefixes of the head's tensors, and ours.
        left_out: Prefixes of tensors that are not needed, and why.
        mlm_head: Kind of the pretraining head.
        mae: Whether it is BarcodeMAE's.
    """

    name: str
    marks: tuple[str, ...]
    encoder: str
    model: type[PreTrainedModel] = BarcodeBertModel
    head: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    mlm_head: Literal["linear", "transform"] = "linear"
    mae: bool = False


_KMER_HEAD = {"classifier.": "classifier."}
_CLASS_HEAD = {"classifier.": "score."}
_LAYOUTS = (
    _Layout(
        "pretraining model of 2023 (BertForMaskedLM)",
        ("cls.predictions.",),
        "bert.",
        BarcodeBertForMaskedLM,
        {"cls.predictions.transform.": "transform.", "cls.predictions.decoder.": "classifier."},
        mlm_head="transform",
    ),
    _Layout(
        "fine-tuned classifier",
        ("base_model.bert.", "classifier."),
        "base_model.bert.",
        BarcodeBertForSequenceClassification,
        _CLASS_HEAD,
    ),
    _Layout(
        "fine-tuned classifier of BarcodeMAE",
        ("base_model.embeddings.", "classifier."),
        "base_model.",
        BarcodeBertForSequenceClassification,
        _CLASS_HEAD,
        mae=True,
    ),
    _Layout(
        "pretraining model (BertForTokenClassification)",
        ("bert.", "classifier."),
        "bert.",
        BarcodeBertForMaskedLM,
        _KMER_HEAD,
    ),
    _Layout("encoder of a pretraining model", ("bert.",), "bert."),
    _Layout(
        "pretraining model of BarcodeMAE",
        ("encoder.embeddings.",),
        "encoder.",
        left_out={
            "decoder.": _DECODER,
            "projection_layer.": _DECODER,
            "encoder_embedding.": _DECODER,
            "encoder_position_embeddings.": _DECODER,
            "decoder_embedding.": _DECODER,
        },
        mae=True,
    ),
    _Layout("encoder of BarcodeMAE", ("embeddings.",), "", mae=True),
)


@dataclass(frozen=True)
class Conversion:
    """A converted checkpoint.

    Attributes:
        model: With the weights of the checkpoint, in float32, ready for use.
        layout: Kind of the checkpoint, in words.
        found: What its configuration follows from: generation of the code, and where each field was read.
        left_out: Tensors that the model does not have, in words.
        mae: Whether it is a BarcodeMAE.
    """

    model: PreTrainedModel
    layout: str
    found: Described
    left_out: list[str]
    mae: bool


def convert_barcodebert(source: Path, given: Mapping[str, Any] | None = None) -> Conversion:
    """Turn a checkpoint of the reference into a model of this package.

    Args:
        source: A file (`.pt`, `.pth`, `.safetensors`), or a folder with config.json and weights as transformers writes
            them for a BERT.
        given: What the checkpoint does not tell: fields of `BarcodeBertConfig`; `generation` (1, 2 or 3) of the
            reference's code.

    Returns:
        The model, and what was found, assumed and left out.

    Raises:
        ValueError: If it is no checkpoint of BarcodeBERT, has missing or surplus tensors or such of a wrong shape,
            contradicts itself or `given`, does not tell enough, or asks for code to be run.
        OSError: If it cannot be read.
    """
    given = dict(given or {})
    check_given(given)
    content = _read_folder(source) if source.is_dir() else read_checkpoint(source)
    whole = isinstance(content.get("model"), Mapping)
    tensors = checked_tensors(content["model"] if whole else content, source)
    try:
        return _convert(tensors, content if whole else {}, given)
    except (ValueError, StrictDataclassError) as error:
        reason = str(error.__cause__ or error) if isinstance(error, StrictDataclassError) else str(error)
        raise ValueError(f"'{source}' cannot be converted: {reason.removesuffix('.')}.") from error


def weights_in(folder: Path) -> Path:
    """The file with the weights in a folder of transformers.

    Raises:
        ValueError: If there is none.
    """
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"'{folder}' holds no weights: neither {' nor '.join(WEIGHT_FILES)}.")


def _read_folder(folder: Path) -> dict[str, Any]:
    if not (folder / CONFIG_FILE).is_file():
        raise ValueError(f"'{folder}' holds no {CONFIG_FILE}; give a checkpoint file, or a folder that has one.")
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{folder / CONFIG_FILE}' is no JSON file ({error}).") from error
    if not isinstance(config, dict):
        raise ValueError(f"'{folder / CONFIG_FILE}' must hold a JSON object.")
    if config.get("model_type") == BarcodeBertConfig.model_type:
        raise ValueError(f"'{folder}' needs no conversion: AutoModel.from_pretrained('{folder}') loads it.")
    return {"model": read_checkpoint(weights_in(folder)), "bert_config": config}


def _convert(tensors: dict[str, torch.Tensor], content: Mapping[str, Any], given: dict[str, Any]) -> Conversion:
    tensors = without_ddp(tensors)
    layout = _layout(tensors)
    encoder, head, left_out = _sorted_out(tensors, layout)
    classes = layout.model is BarcodeBertForSequenceClassification
    found = describe(
        encoder,
        mlm_head=layout.mlm_head,
        fine_tuned=classes,
        bert_config=_plain(content.get("bert_config")),
        arguments=_plain(content.get("config")),
        given=given,
    )
    model_class = layout.model
    if found.fields["vocabulary"] == "acgnt" and model_class is BarcodeBertForMaskedLM:
        model_class, head = BarcodeBertModel, {}
        left_out.append("the pretraining head: which k-mers its outputs mean in this vocabulary is unknown")
    if classes:
        _name_classes(found, head)
    prefix = "" if model_class is BarcodeBertModel else "bert."
    weights = {**{prefix + name: tensor for name, tensor in encoder.items()}, **head}
    model = load_exactly(model_class, BarcodeBertConfig(**found.fields), weights, "a BarcodeBERT")
    return Conversion(model, layout.name, found, left_out, layout.mae)


def _layout(tensors: Mapping[str, torch.Tensor]) -> _Layout:
    for layout in _LAYOUTS:
        if all(any(name.startswith(mark) for name in tensors) for mark in layout.marks):
            return layout
    raise ValueError(f"its tensors are not named as those of a BarcodeBERT: {listed(tensors)}")


def _sorted_out(
    tensors: Mapping[str, torch.Tensor], layout: _Layout
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], list[str]]:
    """The encoder's tensors under BERT's names, the head's under ours, and why others are left out."""
    encoder, head, left_out, surplus = {}, {}, [], []
    for name, tensor in tensors.items():
        ours = next((ours + name.removeprefix(old) for old, ours in layout.head.items() if name.startswith(old)), None)
        if reason := _why_not_needed(name, layout):
            left_out.append(reason)
        elif ours is not None:
            head[ours] = tensor
        elif name.startswith(layout.encoder):
            encoder[name.removeprefix(layout.encoder)] = tensor
        else:
            surplus.append(name)
    if layout.mlm_head == "transform":
        surplus = [name for name in surplus if name != "cls.predictions.bias"]
        _complete_head(head, tensors)
    if surplus:
        raise ValueError(f"it has tensors that a BarcodeBERT does not have: {listed(surplus)}")
    return encoder, head, list(dict.fromkeys(left_out))


def _why_not_needed(name: str, layout: _Layout) -> str | None:
    if name.endswith("embeddings.position_ids"):
        return "position_ids, a constant of old versions of transformers"
    if name.startswith(f"{layout.encoder}pooler."):
        return "the pooler, which BarcodeBERT does not use"
    return next((reason for prefix, reason in layout.left_out.items() if name.startswith(prefix)), None)


def _complete_head(head: dict[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> None:
    """BERT's decoder shares its matrix with the token embeddings, and its bias has two names."""
    words, bias = tensors.get("bert.embeddings.word_embeddings.weight"), tensors.get("cls.predictions.bias")
    if words is not None:
        head.setdefault("classifier.weight", words)
        if head["classifier.weight"].data_ptr() == words.data_ptr():
            head["classifier.weight"] = words.clone()
    if bias is not None and not torch.equal(head.setdefault("classifier.bias", bias), bias):
        raise ValueError("`cls.predictions.bias` and `cls.predictions.decoder.bias` should be one tensor, but differ")


def _name_classes(found: Described, head: Mapping[str, torch.Tensor]) -> None:
    count = len(head.get("score.weight", ()))
    if "id2label" not in found.fields:
        found.fields["id2label"] = {str(i): f"LABEL_{i}" for i in range(count)}
        found.assumed.append("the classes are called LABEL_0, LABEL_1, ...: `id2label` was not given")
    names = found.fields["id2label"]
    if not isinstance(names, dict) or set(names) != set(map(str, range(count))):
        raise ValueError(f'`id2label` must name its {count:,} classes by their numbers, from "0" on')
    found.fields["id2label"] = {int(i): name for i, name in names.items()}
    found.fields["label2id"] = {name: int(i) for i, name in names.items()}


def _plain(mapping: object) -> dict[str, Any]:
    """Settings in a checkpoint: its numbers and words."""
    items = mapping.items() if isinstance(mapping, Mapping) else ()
    return {name: value for name, value in items if isinstance(value, str | int | float)}
