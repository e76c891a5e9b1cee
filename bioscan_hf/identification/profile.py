"""Where the letters of a barcode stand in the gene: barcodes laid out in the columns of an alignment.

Barcodes of one gene have hardly any insertions or deletions, so most need no more than the offset at which they begin.
It is found for all offsets at once, as a correlation by FFT; only those that fit in one part and not in another are
aligned with gaps, by parasail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bioscan_hf.identification.gaps import align_with_gaps
from bioscan_hf.identification.letters import UNKNOWN, as_codes, one_hot, reverse_complement
from bioscan_hf.identification.reading_frame import has_open_frame, has_stop, reading_frame

# Pseudo-count of each base in a column: log-odds stay finite.
_PSEUDO = 0.01
# Barcodes that a profile is learnt from, and those that are tried as its first version.
_LEARNT_FROM, _TRIED, _TRIED_ON = 2000, 16, 100
_ROUNDS = 3
# Columns beyond both ends of the first version, of which those are kept that a share of the barcodes has.
_BEYOND, _COVERED = 60, 0.2
# Log-odds, in nats, by which a barcode must fit better than its letters in any order would: for the e^20 places of a
# million barcodes.
_FITS = 30.0
# A stretch of this many columns, of which at least two thirds are known, that fits less than this share of what is
# expected of the gene, hints at an insertion or deletion before or in it.
_STRETCH, _FAINT = 94, 0.36
# Where gaps pay: nats by which they improve the fit; share of what is expected of the gene, where nothing fits without.
# Letters at random reach 0.4 with gaps, barcodes with 24 insertions and deletions 0.7.
_GAPS_PAY, _GAPPED = 20.0, 0.55
_USUAL = 256
_BATCH = 1024


class Placed(NamedTuple):
    """Barcodes in the columns of a profile.

    Attributes:
        columns: uint8 (N, C): 0 to 3 for A, C, G, T, 4 where nothing is known.
        scores: float32 (N,): log-odds of the letters, in nats, against letters at random.
        fits: bool (N,): whether they fit better than the same letters in any order would; columns of the others are
            unknown.
        reversed: bool (N,): whether the reverse complement was placed.
        gapped: bool (N,): whether letters were left out or gaps put in.
        stops: bool (N,): whether there is a stop codon in the reading frame.
    """

    columns: NDArray[np.uint8]
    scores: NDArray[np.float32]
    fits: NDArray[np.bool_]
    reversed: NDArray[np.bool_]
    gapped: NDArray[np.bool_]
    stops: NDArray[np.bool_]

    def turned(self, barcodes: Sequence[str]) -> list[str]:
        """The same barcodes, all in the direction of the profile."""
        return [
            reverse_complement(barcode) if turned else barcode
            for barcode, turned in zip(barcodes, self.reversed, strict=True)
        ]


@dataclass(frozen=True)
class Profile:
    """How often each base stands in each column of a gene.

    Attributes:
        log_odds: float32 (C, 4): log of the share of A, C, G and T in a column over 1/4, in nats.
        usual: Columns at which most barcodes begin, the most frequent first; they are tried first.
        frame: Column, 0 to 2, at which the first whole codon begins; None if the gene has no reading frame.
    """

    log_odds: NDArray[np.float32]
    usual: tuple[int, ...] = (0,)
    frame: int | None = None

    @classmethod
    def learn(cls, barcodes: Sequence[str], *, seed: int = 0) -> Profile:
        """Learn the profile of some barcodes.

        The barcode that fits most others is the first version; then all are placed, and counted, three times.

        Args:
            barcodes: Barcodes of one gene, clean, forward, beginning where they will.
            seed: Of the choice of 2,000 of them.

        Raises:
            ValueError: If there are none, or most do not fit the others.
        """
        distinct = sorted(set(barcodes))
        if not distinct:
            raise ValueError("A profile needs barcodes; there are none.")
        rng = np.random.default_rng(seed)
        chosen = [distinct[i] for i in rng.permutation(len(distinct))[:_LEARNT_FROM]]
        profile = _first_version(chosen)
        for _ in range(_ROUNDS):
            profile = _again(profile, chosen)
        placed = profile.place(chosen)
        if placed.fits.mean() < 0.5:
            raise ValueError(
                f"Only {placed.fits.mean():.0%} of the barcodes fit to the others; a library needs barcodes of one "
                "gene, in one direction."
            )
        return cls(profile.log_odds, profile.usual, reading_frame(placed.columns[placed.fits]))

    @cached_property
    def _consensus(self) -> str:
        return "".join("ACGT"[base] for base in self.log_odds.argmax(axis=1))

    @cached_property
    def expected(self) -> float:
        """Log-odds per letter of a barcode of this gene, in nats: the mean information of a column."""
        return float((np.exp(self.log_odds) / 4 * self.log_odds).sum(axis=1).mean())

    def place(self, barcodes: Sequence[str], *, both_strands: bool = True) -> Placed:
        """Lay barcodes out in the columns.

        Args:
            barcodes: N barcodes, clean.
            both_strands: Whether those that do not fit are tried as their reverse complement, too.
        """
        parts = [
            self._place(barcodes[start : start + _BATCH], both_strands) for start in range(0, len(barcodes), _BATCH)
        ]
        if not parts:
            parts = [self._place([], both_strands)]
        return Placed(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _place(self, barcodes: Sequence[str], both_strands: bool) -> Placed:
        letters = as_codes(barcodes)
        offsets, scores = self._offsets(letters)
        columns = self._shifted(letters, offsets)
        fits = scores - _by_composition(columns) >= _FITS
        barcodes, reversed_ = list(barcodes), np.zeros(len(barcodes), bool)
        if both_strands and not fits.all():
            rows = np.flatnonzero(~fits)
            turned = [reverse_complement(barcodes[row]) for row in rows]
            letters = as_codes(turned)
            offsets, turned_scores = self._offsets(letters)
            turned_columns = self._shifted(letters, offsets)
            better = turned_scores - _by_composition(turned_columns) >= _FITS
            for row, barcode in zip(rows[better], np.array(turned, object)[better], strict=True):
                barcodes[row] = barcode
            rows = rows[better]
            columns[rows], scores[rows] = turned_columns[better], turned_scores[better]
            reversed_[rows] = fits[rows] = True
        gapped, stops = np.zeros(len(barcodes), bool), has_stop(columns, self.frame)
        for row in np.flatnonzero(~fits | self._is_faint(columns)):
            strands = [barcodes[row]]
            if both_strands and not fits[row]:
                strands.append(reverse_complement(barcodes[row]))
            strand = self._try_gaps(strands, columns[row], scores[row : row + 1], fits[row])
            if strand is not None:
                gapped[row] = True
                reversed_[row] |= strand == 1
                # Columns behind gaps need not be those of the true codons.
                stops[row] = self.frame is not None and not has_open_frame(strands[strand])
        fits |= gapped
        columns[~fits] = UNKNOWN
        return Placed(columns, scores, fits, reversed_, gapped, stops & fits)

    def _try_gaps(
        self, strands: Sequence[str], columns: NDArray[np.uint8], score: NDArray[np.float32], fits: bool
    ) -> int | None:
        """Align a barcode with gaps, and put the result into `columns` and `score` if it is better.

        Returns:
            Which of the strands was placed; None if `columns` are better, or nothing fits.
        """
        for number, strand in enumerate(strands):
            aligned = align_with_gaps(strand, self._consensus)
            found = float(self.score(aligned[None]).sum())
            least = score[0] + _GAPS_PAY if fits else _GAPPED * self.expected * (aligned < UNKNOWN).sum()
            if found > least and found - _by_composition(aligned[None])[0] >= _FITS:
                columns[:], score[0] = aligned, found
                return number
        return None

    def score(self, columns: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Log-odds of each letter (N, C), 0 where it is unknown."""
        table = np.concatenate([self.log_odds, np.zeros((len(self.log_odds), 1), np.float32)], axis=1)
        return table[np.arange(len(table)), columns]

    def _offsets(self, letters: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Column of the first letter, where the log-odds are highest, and these."""
        offsets = np.zeros(len(letters), np.int64)
        scores = np.full(len(letters), -np.inf, np.float32)
        if not len(letters):
            return offsets, scores
        known = np.maximum((letters < UNKNOWN).sum(axis=1), 1)
        bases = one_hot(letters)
        # At other places letters fit worse than at random, so that a good fit at a usual place is the best there is.
        table = self._at(letters.shape[1])
        first = (bases.reshape(len(letters), -1) @ table).max(dim=1)
        scores[:], offsets[:] = first.values.numpy(), np.array(self.usual)[first.indices.numpy()]
        rest = np.flatnonzero(scores < self.expected / 2 * known)
        if len(rest):
            offsets[rest], scores[rest] = self._correlated(bases[rest])
        return offsets, scores

    def _at(self, width: int) -> torch.Tensor:
        """Log-odds of each base at each position, (4 * width, usual offsets)."""
        table = np.zeros((len(self.usual), width, 4), np.float32)
        for row, offset in zip(table, self.usual, strict=True):
            first, last = max(0, -offset), min(width, len(self.log_odds) - offset)
            if first < last:
                row[first:last] = self.log_odds[first + offset : last + offset]
        return torch.from_numpy(table.reshape(len(table), -1).T.copy())

    def _correlated(self, bases: torch.Tensor) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The best of all offsets, by the Fourier transform."""
        width, columns = bases.shape[1], len(self.log_odds)
        size = 1 << (width + columns - 1).bit_length()
        letters = torch.fft.rfft(bases.transpose(1, 2), size)
        profile = torch.fft.rfft(torch.from_numpy(self.log_odds.T.copy()), size)
        found = torch.fft.irfft((letters.conj() * profile).sum(dim=1), size).max(dim=1)
        offsets = found.indices.numpy()
        return np.where(offsets < columns, offsets, offsets - size), found.values.numpy()

    def _shifted(self, letters: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
        width = len(self.log_odds)
        # A column of unknown letters behind the others, where all places outside of a barcode point to.
        padded = np.concatenate([letters, np.full((len(letters), 1), UNKNOWN, np.uint8)], axis=1)
        places = np.arange(width) - offsets[:, None]
        places[(places < 0) | (places >= letters.shape[1])] = letters.shape[1]
        return np.take_along_axis(padded, places, axis=1)

    def _is_faint(self, columns: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Whether a stretch of a barcode does not fit, as behind an insertion or deletion."""
        scores, known = self.score(columns), columns < UNKNOWN
        starts = np.arange(0, max(columns.shape[1] - _STRETCH, 0) + 1, _STRETCH)
        sums, counts = np.add.reduceat(scores, starts, axis=1), np.add.reduceat(known, starts, axis=1, dtype=np.int64)
        faint = sums < _FAINT * self.expected * counts
        return np.asarray((faint & (counts >= _STRETCH * 2 // 3)).any(axis=1))


def _by_composition(columns: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Log-odds that barcodes have by how frequent each base is in them, whatever the order, (N,)."""
    counts = np.stack([(columns == base).sum(axis=1) for base in range(UNKNOWN)], axis=1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return (counts * np.log(4 * np.maximum(shares, 1e-9))).sum(axis=1).astype(np.float32)


def _from_counts(counts: NDArray[np.float64]) -> NDArray[np.float32]:
    shares = counts + _PSEUDO * counts.sum(axis=1, keepdims=True) + _PSEUDO
    shares /= shares.sum(axis=1, keepdims=True)
    return np.log(4 * shares).astype(np.float32)


def _first_version(barcodes: Sequence[str]) -> Profile:
    """The barcode that fits most others, of the longest among some."""
    tried = sorted(barcodes[: 10 * _TRIED], key=len)[-_TRIED:]
    others = as_codes(barcodes[:_TRIED_ON])
    candidates = [Profile(_from_counts(np.eye(5)[as_codes([barcode])[0]][:, :4] * 2.0)) for barcode in tried]
    return max(candidates, key=lambda candidate: float(candidate._correlated(one_hot(others))[1].sum()))


def _again(profile: Profile, barcodes: Sequence[str]) -> Profile:
    """Place barcodes, and count their letters."""
    wide = np.pad(profile.log_odds, ((_BEYOND, _BEYOND), (0, 0)))
    letters = as_codes(barcodes)
    wider = Profile(wide)
    offsets, scores = wider._correlated(one_hot(letters))
    columns = wider._shifted(letters, offsets)[scores >= _FITS]
    if not len(columns):
        return profile
    counts = np.stack([(columns == base).sum(axis=0) for base in range(UNKNOWN)], axis=1).astype(np.float64)
    depth = counts.sum(axis=1)
    # Of short barcodes here and there along the gene, no column may have that share.
    covered = np.flatnonzero(depth >= min(_COVERED * len(columns), depth.max()))
    first, last = covered[0], covered[-1] + 1
    usual = Counter((offsets[scores >= _FITS] - first).tolist()).most_common(_USUAL)
    return Profile(_from_counts(counts[first:last]), tuple(offset for offset, _ in usual))
