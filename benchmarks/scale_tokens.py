"""Rehearsal: all barcodes as k-mer ids, streamed from the cache, by one process."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from scale_metadata import FULL, QUICK, cached, need_cache
from scale_parts import Part, costs

BATCH = 2_000
EVERY = 97  # how often the ids of a batch's first barcode are compared with those of a naive loop


def naive_ids(barcode: str, k: int) -> list[int]:
    """Ids of the k-mers of a barcode, one by one, without padding."""
    kmers = [barcode[start : start + k] for start in range(0, min(len(barcode), 660) - k + 1, k)]
    digits = [["ACGT".find(letter) for letter in kmer] for kmer in kmers]
    return [1 if -1 in own else 2 + sum(digit * 4**place for place, digit in enumerate(own[::-1])) for own in digits]


def tokenize(size: int, folder: Path, *, k: int) -> dict[str, Any]:
    """Read and encode all barcodes, `BATCH` at a time; nothing is kept but counts."""
    from bioscan_hf.tokenization.kmer import KmerEncoder

    barcodes = cached(size, folder).select_columns("dna_barcode")
    encode = KmerEncoder(k)
    rows = tokens = unknown = 0
    compared, same = 0, True
    with costs() as cost:
        for number, batch in enumerate(barcodes.iter(BATCH)):
            ids, mask = encode(batch["dna_barcode"])
            rows, tokens = rows + len(ids), tokens + int(mask.sum())
            unknown += int(((ids == encode.unknown_id) & (mask == 1)).sum())
            if number % EVERY == 0:
                compared += 1
                same = same and ids[0][mask[0] == 1].tolist() == naive_ids(batch["dna_barcode"][0], k)
    facts = {"barcodes": rows, "tokens": tokens, "unknown tokens": unknown, "compared": compared, "as naive ones": same}
    return {**cost, "facts": facts}


PARTS = tuple(
    Part(f"tokens_k{k}", f"tokens, k = {k}", "barcodes", FULL, QUICK, need_cache, partial(tokenize, k=k), flat=True)
    for k in (4, 8)
)
