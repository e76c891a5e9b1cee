"""Counts of k-mers, the baseline that needs no training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bioscan_hf.evaluation.encoders.base import BarcodeEncoder, Report, by_length
from bioscan_hf.tokenization.kmer import MAX_NUCLEOTIDES, KmerEncoder

# Counts that are made at a time: 128 MB of them.
_COUNTS_AT_A_TIME = 2**24


class KmerCounts(BarcodeEncoder):
    """Counts the overlapping k-mers of a barcode.

    k-mers with other letters than A, C, G, T do not count, and neither does what follows the first 660 letters. The
    vector of a barcode without any is zero.
    """

    def __init__(self, k: int) -> None:
        """Choose the k-mers.

        Args:
            k: Letters in a k-mer, 1 to 10; vectors have 4**k entries, in alphabetical order.

        Raises:
            ValueError: If k is out of range.
        """
        self._tokens = KmerEncoder(k, stride=1)
        self.name = f"{k}-mer counts"
        self.dimension = 4**k
        self.min_letters = k
        self.max_letters = MAX_NUCLEOTIDES
        self.description = {"encoder": "k-mer counts", "kmer_size": k, "max_letters": MAX_NUCLEOTIDES}

    def encode(self, barcodes: Sequence[str], *, report: Report | None = None) -> NDArray[np.float32]:
        """Count k-mers: see `BarcodeEncoder.encode`."""
        vectors = np.empty((len(barcodes), self.dimension), np.float32)
        width, done = self._tokens.vocab_size, 0
        for rows in by_length(barcodes, max(_COUNTS_AT_A_TIME // width, 1)):
            ids, _ = self._tokens([barcodes[row] for row in rows])
            places = np.arange(len(rows))[:, None] * width + ids
            counts = np.bincount(places.ravel(), minlength=len(rows) * width).reshape(len(rows), width)
            vectors[rows] = counts[:, self._tokens.first_kmer_id :]
            done += len(rows)
            if report:
                report(done, len(barcodes))
        return vectors
