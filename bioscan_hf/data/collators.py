"""Batches for the training objectives.

A collator takes all its chance from one seed per barcode, so that a barcode is masked in the same way whatever else is
in its batch, and whichever process makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bioscan_hf.tokenization.kmer import KmerEncoder

IGNORED_LABEL = -100


@dataclass(frozen=True)
class BarcodeAugmentation:
    """Turns barcodes into tokens, with the changes that training makes to them.

    Attributes:
        encoder: Tokenizes the barcodes.
        random_offset: Whether a barcode starts at a random letter, 0 to k - 1, so that the model sees it in every
            reading frame of the k-mers, as in the reference.
        mask_probability: Chance of each k-mer of A, C, G and T to be replaced by `[MASK]`; others, and padding, never
            are.
        span_length: K-mers that are masked together; 1 masks each on its own, as in the reference.
        max_crop: Letters that a barcode loses at most at each end, each end with a chance of one half; not in the
            reference. Barcodes of real life begin and end at different places.
    """

    encoder: KmerEncoder
    random_offset: bool = True
    mask_probability: float = 0.0
    span_length: int = 1
    max_crop: int = 0

    def __post_init__(self) -> None:
        if self.max_crop < 0:
            raise ValueError(f"`max_crop` must be at least 0; got {self.max_crop}.")
        if not 0 <= self.mask_probability < 1:
            raise ValueError(f"The chance of masking must be at least 0 and below 1; got {self.mask_probability}.")
        if self.span_length < 1:
            raise ValueError(f"`span_length` must be at least 1; got {self.span_length}.")

    def __call__(
        self, barcodes: Sequence[str], seeds: Sequence[int] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Encode and mask N barcodes.

        Args:
            barcodes: Letters.
            seeds: One for each; by default they are drawn from torch's default generator.

        Returns:
            Ids before masking, attention mask, and which ids are to be masked (bool), each (N, tokens).
        """
        if seeds is None:
            seeds = torch.randint(2**63 - 1, (len(barcodes),)).tolist()
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        cut = [self._cut(barcode, generator) for barcode, generator in zip(barcodes, generators, strict=True)]
        ids, mask = (torch.from_numpy(array) for array in self.encoder(cut))
        first = self.encoder.first_kmer_id
        hidden = (ids >= first) & (ids < first + 4**self.encoder.k)
        if self.mask_probability:
            drawn = torch.stack([self._spans(generator) for generator in generators])
            hidden &= drawn[:, : ids.shape[1]]
        else:
            hidden = torch.zeros_like(hidden)
        return ids, mask, hidden

    def _cut(self, barcode: str, generator: torch.Generator) -> str:
        """Leave out letters at the ends, but never so many that no k-mer is left."""
        start = int(torch.randint(self.encoder.k, (), generator=generator)) if self.random_offset else 0
        end = 0
        if self.max_crop:
            front, back = torch.randint(self.max_crop + 1, (2,), generator=generator).tolist()
            crops_front, crops_back = (torch.rand(2, generator=generator) < 0.5).tolist()
            room = max(len(barcode) - start - 2 * self.encoder.k, 0)
            start += min(front * crops_front, room // 2)
            end = min(back * crops_back, room // 2)
        return barcode[start : len(barcode) - end]

    def _spans(self, generator: torch.Generator) -> torch.Tensor:
        """Which places fall into a masked span: spans lie side by side, from a random place on."""
        span, width = self.span_length, self.encoder.max_tokens
        phase = int(torch.randint(span, (), generator=generator))
        drawn = torch.rand((width + phase) // span + 1, generator=generator) < self.mask_probability
        return drawn.repeat_interleave(span)[phase : phase + width]


@dataclass(frozen=True)
class MaskedKmerCollator:
    """Turn barcodes into a batch for masked language modelling.

    Attributes:
        encoder: Tokenizes the barcodes.
        mlm_probability: Chance of each k-mer of A, C, G and T to be replaced by `[MASK]`. 0.5 is BarcodeBERT's (paper
            and code); all masked k-mers become `[MASK]`, none a random one.
        label_visible: Whether visible k-mers are predicted too, as in BarcodeBERT's code, or the masked ones only.
        span_length: K-mers that are masked together; BarcodeBERT masks each on its own.
        random_offset: Whether barcodes start at a random letter, 0 to k - 1, as in BarcodeBERT.
    """

    encoder: KmerEncoder
    mlm_probability: float = 0.5
    label_visible: bool = True
    span_length: int = 1
    random_offset: bool = True

    def __post_init__(self) -> None:
        if self.encoder.vocabulary == "acgnt":
            raise ValueError("With the vocabulary 'acgnt' k-mers cannot be predicted; take another one.")

    def __call__(self, barcodes: Sequence[str], seeds: Sequence[int] | None = None) -> dict[str, torch.Tensor]:
        """Encode and mask N barcodes.

        Args:
            barcodes: Letters.
            seeds: One for each, see `BarcodeAugmentation`.

        Returns:
            `input_ids`, `attention_mask` and `labels`, each (N, tokens).
        """
        augment = BarcodeAugmentation(self.encoder, self.random_offset, self.mlm_probability, self.span_length)
        ids, mask, masked = augment(barcodes, seeds)
        first = self.encoder.first_kmer_id
        labelled = (ids >= first) & (ids < first + 4**self.encoder.k) if self.label_visible else masked
        return {
            "input_ids": ids.masked_fill(masked, self.encoder.mask_id),
            "attention_mask": mask,
            "labels": ids.masked_fill(~labelled, IGNORED_LABEL),
        }


@dataclass(frozen=True)
class LabelledKmerCollator:
    """Turn barcodes and the indices of their taxa into a batch for a classifier.

    Attributes:
        augmentation: Tokenizes the barcodes.
    """

    augmentation: BarcodeAugmentation

    def __call__(
        self, barcodes: Sequence[str], labels: Sequence[int] | Sequence[Sequence[int]], seeds: Sequence[int] | None
    ) -> dict[str, torch.Tensor]:
        """Encode N barcodes.

        Args:
            barcodes: Letters.
            labels: Index of the taxon, or one for each rank; -1 for none.
            seeds: One for each, see `BarcodeAugmentation`.

        Returns:
            `input_ids` and `attention_mask`, (N, tokens), and `labels`, (N,) or (N, ranks).
        """
        ids, mask, masked = self.augmentation(barcodes, seeds)
        return {
            "input_ids": ids.masked_fill(masked, self.augmentation.encoder.mask_id),
            "attention_mask": mask,
            "labels": torch.tensor(labels),
        }
