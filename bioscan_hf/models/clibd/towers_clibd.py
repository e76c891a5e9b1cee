"""Towers of a CLIBD: new ones, and those that pretrained models become."""

import inspect
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, BertModel, PreTrainedModel

from .configuration_clibd import ClibdDnaConfig

# What the tower for DNA takes over from a BarcodeBERT.
_BARCODEBERT_FIELDS = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size"),
    *("initializer_range", "layer_norm_eps", "pad_token_id", "kmer_size", "max_nucleotides", "vocabulary"),
    *("cls_token_id", "unknown_token_id", "attend_to_padding", "reading_frames"),
)


def new_tower(config: Any, *, pooler: bool = False) -> PreTrainedModel:
    """Make a tower with random weights.

    Args:
        config: Of any model that transformers knows.
        pooler: Whether its pooler is used; otherwise it would be parameters without gradient.
    """
    model_class: Any = AutoModel._model_mapping[type(config)]
    options = {"add_pooling_layer": pooler} if "add_pooling_layer" in inspect.signature(model_class).parameters else {}
    tower: PreTrainedModel = AutoModel.from_config(config, **options)
    return tower


def dna_tower(model: PreTrainedModel) -> tuple[PreTrainedModel, nn.Module | None]:
    """Take the encoder of a BarcodeBERT as a plain BERT.

    Args:
        model: A BarcodeBERT, with or without head, whose layers the tower shares.

    Returns:
        The tower, and the affine map of the embedding (`embedding_norm`); None if there is none.

    Raises:
        ValueError: If it is no BarcodeBERT.
    """
    source: Any = model.config
    if source.model_type != "barcodebert":
        raise ValueError(f"The tower for DNA must be a BarcodeBERT; got a model of the type {source.model_type!r}.")
    config = ClibdDnaConfig(**{name: getattr(source, name) for name in _BARCODEBERT_FIELDS})
    encoder: Any = model.base_model
    config._attn_implementation = source._attn_implementation
    tower = BertModel(config, add_pooling_layer=False)
    tower.embeddings, tower.encoder = encoder.embeddings, encoder.encoder
    parts: Any = tower.modules()
    for part in parts:
        if hasattr(part, "config"):  # the layers' choice of attention must be that of their tower
            part.config = config
    norm = encoder.embedding_norm
    return tower.to(encoder.device), None if isinstance(norm, nn.Identity) else norm


@torch.no_grad()
def fold(norm: nn.Module, projection: nn.Linear) -> None:
    """Put an affine map before a projection into it, in place.

    Args:
        norm: The map, of vectors as wide as the projection takes.
        projection: Is changed.
    """
    norm = norm.eval()
    width = projection.in_features
    shift = norm(torch.zeros(1, width, device=projection.weight.device))
    matrix = norm(torch.eye(width, device=projection.weight.device)) - shift  # rows: what becomes of each unit vector
    projection.bias.add_(projection.weight @ shift[0])
    projection.weight.copy_(projection.weight @ matrix.T)
