"""Embeddings of a BarcodeBERT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedConfig, PreTrainedModel

from bioscan_hf.evaluation.encoders.model import ModelEncoder
from bioscan_hf.tokenization.kmer import KmerEncoder

# Every letter, an N, a letter that is none of them, and a rest at the end.
_PROBES = ("ACGTTGCATCAG" * 4, "TTTTTTTTTTTTGGGGGGGGGGGGNNNNNNNNNNNNACGTRCATGCATTTA")


class BarcodeBertEncoder(ModelEncoder):
    """Computes the `pooler_output` of a `BarcodeBertModel`."""

    def __init__(self, model: PreTrainedModel, **options: Any) -> None:
        """Prepare a model.

        Args:
            model: A `BarcodeBertModel`, or a model with a head, whose encoder is taken.
            **options: As `ModelEncoder`.

        Raises:
            ValueError: If the model is no BarcodeBERT, or an option is out of range.
        """
        config = model.config
        if config.model_type != "barcodebert":
            raise ValueError(
                f"Expected a BarcodeBERT; got a model of the type {config.model_type!r}. Other DNA models are for "
                "`load_encoder`, or `HubEncoder(model, tokenizer)`."
            )
        encoder: PreTrainedModel = model.base_model
        super().__init__(encoder, **options)
        self._tokens = KmerEncoder.from_config(config)
        self.dimension = config.hidden_size
        self.min_letters = config.kmer_size
        self.max_letters = config.max_nucleotides + self.reading_frames - 1

    @property
    def description(self) -> dict[str, Any]:  # type: ignore[override]
        """See `BarcodeEncoder`."""
        config = self.model.config
        fields = ["kmer_size", "vocabulary", "max_nucleotides", "cls_token_id", "pooling", "attend_to_padding"]
        if config.embedding_norm != "none":
            fields.append("embedding_norm")
        return {**super().description, **{name: getattr(config, name) for name in fields}}

    def _pooled(self, barcodes: list[str]) -> torch.Tensor:
        ids, mask = self._tokens(barcodes)
        # Without a mask attention is faster, and most barcodes are of the same length.
        attention_mask = None if mask.all() else self._on_device(mask)
        pooled: torch.Tensor = self.model(self._on_device(ids), attention_mask=attention_mask).pooler_output
        return pooled


def check_tokenizer(config: PreTrainedConfig, file: Path) -> None:
    """Refuse a tokenizer that was not made for a model.

    Args:
        config: Of the model.
        file: The tokenizer, `tokenizer.json`.

    Raises:
        ValueError: If it gives other ids than the model was trained with.
    """
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encoder = KmerEncoder.from_config(config)
    for probe in _PROBES:
        probe = probe[: config.max_nucleotides // config.kmer_size * config.kmer_size]
        (expected,), _ = encoder([probe])
        if (found := tokenizer.encode(probe).ids) != expected.tolist():
            raise ValueError(
                f"The tokenizer '{file}' does not belong to the model: k = {config.kmer_size} and the vocabulary "
                f"{config.vocabulary!r} of config.json give {probe[:12]}... the ids {expected[:3].tolist()}... "
                f"({len(expected)}), the tokenizer {found[:3]}... ({len(found)}). Save the folder again with "
                "`bioscan_hf.tokenization.kmer.tokenizer_for(config)`, or correct config.json."
            )
