"""What queries are compared with: each barcode once for each lineage that its specimens have."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.barcodes import barcode_hashes
from bioscan_hf.data.features import RANKS
from bioscan_hf.data.taxon_tree import TaxonTree

# An odd number for a multilinear hash of a row's labels.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class Keys(NamedTuple):
    """Keys of a library: K distinct pairs of barcode and lineage, in the order of their first specimens.

    Attributes:
        first: int64 (K,): row of the first specimen.
        of_specimen: int32 (N,): key of each specimen.
        hashes: uint64 (K,): of the barcode (see `barcode_hashes`); 0 for specimens without.
        labels: int32 (K, ranks): place in `taxa` at each rank; -1 for none.
        specimens: int32 (K,): how many there are of each.
        taxa: Names at each of `RANKS`, sorted.
    """

    first: NDArray[np.int64]
    of_specimen: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    labels: NDArray[np.int32]
    specimens: NDArray[np.int32]
    taxa: dict[str, list[str]]

    @property
    def weights(self) -> NDArray[np.float32]:
        """float32 (K,): share of the specimens with a key's barcode that have its lineage."""
        return key_weights(self.hashes, self.specimens)

    def taxa_of(self, chosen: NDArray[np.bool_]) -> dict[str, list[str | None]]:
        """The same as `taxa`, with None in the place of those that no chosen key, (K,), has."""
        found = {}
        for place, (rank, names) in enumerate(self.taxa.items()):
            own = set(self.labels[chosen, place].tolist())
            found[rank] = [name if label in own else None for label, name in enumerate(names)]
        return found


def key_weights(hashes: NDArray[np.uint64], specimens: NDArray[np.int32]) -> NDArray[np.float32]:
    """Share of the specimens with a key's barcode that are the key's, (K,)."""
    _, places = np.unique(hashes, return_inverse=True)
    totals = np.bincount(places, weights=specimens)
    return np.where(hashes == 0, 1.0, specimens / totals[places]).astype(np.float32)


def find_keys(specimens: Dataset) -> Keys:
    """Find the keys of labelled specimens.

    The finest name of a specimen decides on its lineage, as the other specimens have it (see `TaxonTree`).

    Args:
        specimens: Needs the columns `dna_barcode` and one per rank.

    Raises:
        ValueError: If no specimen has a label.
    """
    tree = TaxonTree.of(specimens, RANKS)
    labels = tree.labels(specimens).astype(np.int32)
    barcodes = specimens.with_format("arrow")["dna_barcode"][:]
    hashes = barcode_hashes(barcodes)
    hashes[pc.equal(barcodes, "").fill_null(True).to_numpy()] = 0  # the empty text is no barcode, either
    mixed = hashes.copy()
    for rank in range(len(RANKS)):
        mixed = mixed * _FACTOR + (labels[:, rank] + 2).astype(np.uint64)
    # Of specimens without barcode, none is like another.
    absent = hashes == 0
    mixed[absent] = np.arange(len(mixed), dtype=np.uint64)[absent]
    _, first, places, counts = np.unique(mixed, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first, kind="stable")
    rank_of = np.empty(len(order), np.int32)
    rank_of[order] = np.arange(len(order), dtype=np.int32)
    first = first[order].astype(np.int64)
    return Keys(first, rank_of[places], hashes[first], labels[first], counts[order].astype(np.int32), dict(tree.taxa))
