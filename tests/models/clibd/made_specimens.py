"""Inputs of `tiny_clibd`."""

from typing import Any

import torch

BARCODES = ["ACGTACGTACGTACGTACGTACGT", "TTTGGGCCCAAA", "ACGTTTACGNNNACGACG", "CCCGGG", "GATTACAGATTACA", "TTTTTTTTT"]
TEXTS = [f"Aptera {name}" for name in ("Aus bus", "Aus bus", "Cus dus", "Cus eus", "Cus", "Cus")]


def made_batch(count: int = 6, **changes: Any) -> dict[str, Any]:
    """Specimens with all modalities, whose barcodes and texts have different lengths.

    Args:
        count: How many.
        **changes: Entries instead of those made, or None to leave them out.
    """
    draw = torch.Generator().manual_seed(0)

    def ragged(width: int, lowest: int, highest: int) -> tuple[torch.Tensor, torch.Tensor]:
        mask = torch.arange(width) < torch.randint(2, width + 1, (count, 1), generator=draw)
        return torch.randint(lowest, highest, (count, width), generator=draw).where(mask, 0), mask.long()

    kmers, kmer_mask = ragged(8, 3, 67)
    words, word_mask = ragged(5, 4, 12)
    batch = {
        "pixel_values": torch.rand(count, 3, 8, 8, generator=draw),
        "dna_input_ids": kmers.where(kmer_mask.bool(), 2),
        "dna_attention_mask": kmer_mask,
        "input_ids": words,
        "attention_mask": word_mask,
        **changes,
    }
    return {name: value for name, value in batch.items() if value is not None}
