"""Batches for the training objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bioscan_hf.tokenization.kmer import KmerEncoder

IGNORED_LABEL = -100


@dataclass(frozen=True)
class MaskedKmerCollator:
    """Turn barcodes into a batch for masked language modelling.

    Attributes:
        encoder: Tokenizes the barcodes.
        mlm_probability: Chance of each k-mer of A, C, G and T to be replaced by `[MASK]`; others and padding never are.
            0.5 is BarcodeBERT's (paper and code); all masked k-mers become `[MASK]`, none a random one.
        label_visible: Whether visible k-mers are predicted too, as in BarcodeBERT's code, or the masked ones only.
    """

    encoder: KmerEncoder
    mlm_probability: float = 0.5
    label_visible: bool = True

    def __post_init__(self) -> None:
        if self.encoder.vocabulary == "acgnt":
            raise ValueError("With the vocabulary 'acgnt' k-mers cannot be predicted; take another one.")

    def __call__(self, barcodes: Sequence[str]) -> dict[str, torch.Tensor]:
        """Encode and mask N barcodes.

        Each barcode starts at a random offset of 0 to k - 1 letters (the reference's augmentation), so that the model
        sees it in every reading frame of the k-mers. Draws come from torch's default generator.

        Returns:
            `input_ids`, `attention_mask` and `labels`, each (N, tokens).
        """
        offsets = torch.randint(self.encoder.k, (len(barcodes),)).tolist()
        ids, mask = (torch.from_numpy(array) for array in self.encoder(barcodes, offsets))
        first = self.encoder.first_kmer_id
        predictable = (ids >= first) & (ids < first + 4**self.encoder.k)
        masked = predictable & (torch.rand(ids.shape) < self.mlm_probability)
        labels = ids.masked_fill(~(predictable if self.label_visible else masked), IGNORED_LABEL)
        return {"input_ids": ids.masked_fill(masked, self.encoder.mask_id), "attention_mask": mask, "labels": labels}
