"""Weights and outputs of the reference code, from `../shared/parity/barcodebert`, for models of this package."""

import json
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from bioscan_hf import BarcodeBertConfig
from bioscan_hf.models.barcodebert.modeling_barcodebert import BarcodeBertForMaskedLM, BarcodeMAE

# What the reference did until August 2024.
READS_PADDING = {"attend_to_padding": True, "pooling": "mean"}


def small_config(**fields: Any) -> BarcodeBertConfig:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    return BarcodeBertConfig(**{"kmer_size": 4, "decoder_num_hidden_layers": 1, **sizes, **fields})


class Vectors:
    """The files, each read when it is first looked at; token ids are int64, as models want them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        return load_file(self.folder / f"{name}.safetensors")

    @cached_property
    def outputs(self) -> dict[str, torch.Tensor]:
        return self.tensors("small_outputs")

    @cached_property
    def gen1(self) -> dict[str, torch.Tensor]:
        return self.tensors("gen1_outputs")

    @cached_property
    def mae(self) -> dict[str, torch.Tensor]:
        return self.tensors("mae_outputs")

    @cached_property
    def barcodes(self) -> list[str]:
        return [record["seq"] for record in json.loads((self.folder / "inputs.json").read_text())]

    @cached_property
    def meta(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "meta.json").read_text())
        return content

    @property
    def sample_rows(self) -> list[int]:
        rows: list[int] = self.meta["sample_rows"]
        return rows

    @cached_property
    def tokens(self) -> dict[str, torch.Tensor]:
        return self.tensors("tokens")

    def ids(self, variant: str) -> torch.Tensor:
        return self.tokens[f"ids/{variant}"].long()

    def batch(self, variant: str = "gen3_k4") -> tuple[torch.Tensor, torch.Tensor]:
        return self.ids(variant), self.tokens[f"mask/{variant}"].long()

    def masked_lm(self, **fields: Any) -> BarcodeBertForMaskedLM:
        model = BarcodeBertForMaskedLM(small_config(**fields)).eval()
        model.load_state_dict(self.tensors("small_weights"))
        return model

    def masked_lm_with_n(self) -> BarcodeBertForMaskedLM:
        model = BarcodeBertForMaskedLM(small_config(vocabulary="acgt_then_n")).eval()
        model.load_state_dict(recipe(model.state_dict(), self.meta["weight_tags"]["smallN"]))
        return model

    def gen1_masked_lm(self, **fields: Any) -> BarcodeBertForMaskedLM:
        config = small_config(kmer_size=5, vocabulary="acgt_2023", mlm_head="transform", **READS_PADDING, **fields)
        model = BarcodeBertForMaskedLM(config).eval()
        weights = self.tensors("gen1_small_weights")
        del weights["cls.predictions.bias"]  # the same as the decoder's
        names = {key: key.replace("cls.predictions.decoder", "classifier") for key in weights}
        model.load_state_dict({names[key].replace("cls.predictions.", ""): weights[key] for key in weights})
        return model

    def barcode_mae(self) -> BarcodeMAE:
        model = BarcodeMAE(small_config()).eval()
        weights = self.tensors("mae_small_weights")
        # Of the decoder's word embeddings only the row of [MASK] is ever read.
        weights["decoder.bert.embeddings.word_embeddings.weight"] = weights[
            "decoder.bert.embeddings.word_embeddings.weight"
        ][:1]
        names = {"encoder.": "bert.", "decoder.bert.": "decoder.", "decoder.classifier.": "decoder_classifier."}
        names["projection_layer."] = "projection."
        renamed = {
            new + key.removeprefix(old): value
            for key, value in weights.items()
            for old, new in names.items()
            if key.startswith(old) and "pooler" not in key
        }
        model.load_state_dict(renamed)
        return model


def recipe(
    state: dict[str, torch.Tensor], tag: str, *, linear: float = 0.3, table: float = 0.5
) -> dict[str, torch.Tensor]:
    """Weights drawn by the recipe that the README of the vectors states.

    Args:
        state: Names and shapes.
        tag: Decides what is drawn.
        linear: Standard deviation of the weights of linear layers.
        table: That of embedding tables.
    """
    drawn = {}
    for key, old in state.items():
        seed = zlib.crc32(f"{tag}|{key}".encode()) & 0x7FFFFFFF
        z = np.random.RandomState(seed).standard_normal(tuple(old.shape)).astype(np.float32)
        if key.endswith("LayerNorm.weight"):
            z = 1 + np.float32(0.1) * z
        elif key.endswith("bias"):
            z *= np.float32(0.1)
        else:
            z *= np.float32(table if "embeddings" in key else linear)
        if key.endswith("word_embeddings.weight"):
            z[0] = 0
        drawn[key] = torch.from_numpy(z)
    return drawn


def assert_equal(actual: torch.Tensor, reference: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Where the reference is not NaN, which it is for barcodes without k-mers: it divides by their number."""
    defined = ~reference.isnan()
    assert defined.float().mean() > 0.5
    torch.testing.assert_close(actual[defined], reference[defined], atol=tolerance, rtol=0)
