"""How a library sees barcodes: in the columns of its gene, and as vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioscan_hf.evaluation.encoders.base import BarcodeEncoder, Report
from bioscan_hf.evaluation.unit_length import unit_length
from bioscan_hf.identification.metric import Metric
from bioscan_hf.identification.packed import WORD, Packed, identities, known_letters, pack
from bioscan_hf.identification.profile import Placed, Profile
from bioscan_hf.identification.search import Index
from bioscan_hf.identification.votes import NEIGHBOURS, Neighbours

# Candidates by the embedding of another model, and what its cosine counts beside the identity of 0 to 1: the best of
# several on real barcodes (docs/log.md).
_CANDIDATES, _COSINE = 100, 0.1
_BATCH = 4096


FITS, REVERSED, STOP = 1, 2, 4
"""Bits of `Seen.flags`: the barcode fits the gene, its reverse complement was taken, it has a stop codon."""


class Seen(NamedTuple):
    """N barcodes as a library sees them.

    Attributes:
        letters: Packed letters in the columns of the gene.
        vectors: (N, D), float32 unless it was said otherwise, of length 1; zero where a barcode does not fit.
        flags: uint8 (N,): a sum of `FITS`, `REVERSED` and `STOP`.
    """

    letters: Packed
    vectors: NDArray[Any]
    flags: NDArray[np.uint8]

    def has(self, flag: int) -> NDArray[np.bool_]:
        """Which barcodes have a flag, (N,)."""
        return (self.flags & flag) > 0


class BarcodeSpace:
    """Barcodes in the columns of a gene, and as vectors.

    Attributes:
        profile: The gene.
        metric: What makes vectors of aligned letters; None if there is an encoder.
        encoder: A model that makes vectors of barcodes.
    """

    def __init__(self, profile: Profile, metric: Metric | None, encoder: BarcodeEncoder | None = None) -> None:
        if (metric is None) == (encoder is None):
            raise ValueError("Expected either a metric or an encoder.")
        self.profile, self.metric, self.encoder = profile, metric, encoder

    @property
    def dimension(self) -> int:
        """D, the entries of a vector."""
        maker = self.encoder if self.metric is None else self.metric
        assert maker is not None
        return maker.dimension

    def see(self, barcodes: Sequence[str]) -> Seen:
        """Place barcodes, and compute their vectors.

        Args:
            barcodes: N clean barcodes.
        """
        return self.see_blocks([barcodes], len(barcodes))

    def see_blocks(
        self,
        blocks: Iterable[Sequence[str]],
        count: int,
        *,
        dtype: type[np.floating[Any]] = np.float32,
        report: Report | None = None,
    ) -> Seen:
        """The same for barcodes that come some at a time, and are not held.

        Args:
            blocks: N clean barcodes in all.
            count: N.
            dtype: Of the vectors.
            report: Told how many of how many are done.
        """
        words = -(-len(self.profile.log_odds) // WORD)
        seen = Seen(
            np.empty((count, 3, words), np.uint64), np.empty((count, self.dimension), dtype), np.empty(count, np.uint8)
        )
        start = 0
        for block in blocks:
            for first in range(0, len(block), _BATCH):
                some = block[first : first + _BATCH]
                rows = slice(start, start + len(some))
                placed = self.profile.place(some)
                seen.letters[rows] = pack(placed.columns)
                seen.vectors[rows] = self._vectors(some, placed)
                seen.flags[rows] = FITS * placed.fits + REVERSED * placed.reversed + STOP * placed.stops
                start = rows.stop
                if report:
                    report(start, count)
        return seen

    def _vectors(self, barcodes: Sequence[str], placed: Placed) -> NDArray[np.float32]:
        if self.metric is not None:
            return self.metric.vectors(placed.columns)
        assert self.encoder is not None
        if not len(barcodes):
            return np.empty((0, self.encoder.dimension), np.float32)
        turned = placed.turned(barcodes)
        # A barcode that is too short for the encoder is as if there were no letters.
        used = placed.fits & np.array([len(barcode) >= self.encoder.min_letters for barcode in turned])
        vectors = np.zeros((len(barcodes), self.encoder.dimension), np.float32)
        if used.any():
            chosen = [barcode for barcode, is_used in zip(turned, used, strict=True) if is_used]
            vectors[used] = unit_length(self.encoder.encode(chosen))
        return vectors

    def neighbours(
        self,
        seen: Seen,
        index: Index,
        letters: Packed,
        *,
        k: int = NEIGHBOURS,
        without: NDArray[np.bool_] | None = None,
    ) -> Neighbours:
        """Find the keys that are most like barcodes.

        With the library's own metric, these are the k of the highest cosine, divided by the square root of the share of
        columns that the barcode has: a part of a barcode cannot have a higher cosine than that with the whole. With
        another encoder, its 100 candidates are ranked by the identity of their letters, and its cosine.

        Args:
            seen: N barcodes.
            index: Of the vectors of K keys.
            letters: Of the K keys.
            k: Neighbours.
            without: (K,): keys that are passed over.
        """
        if self.metric is not None:
            found, cosines = index.search(seen.vectors, k, without=without)
            share = known_letters(seen.letters) / len(self.profile.log_odds)
            similarities = cosines / np.sqrt(np.maximum(share, 1e-6), dtype=np.float32)[:, None]
            return Neighbours(found, similarities.astype(np.float32), identities(seen.letters, letters, found))
        found, cosines = index.search(seen.vectors, max(k, _CANDIDATES), without=without)
        same = identities(seen.letters, letters, found)
        ranked = (same + _COSINE * cosines) / (1 + _COSINE)
        order = np.lexsort((found, -ranked), axis=1)[:, :k]
        return Neighbours(
            np.take_along_axis(found, order, axis=1),
            np.take_along_axis(ranked, order, axis=1).astype(np.float32),
            np.take_along_axis(same, order, axis=1),
        )
