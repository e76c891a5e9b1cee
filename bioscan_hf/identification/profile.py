"""Where the letters of a barcode stand in the gene: barcodes laid out in the columns of an alignment.

Barcodes of one gene have hardly any insertions or deletions, so most need no more than the offset at which they begin.
It is found for all offsets at once, as a correlation by FFT; only those that fit in one part and not in another are
aligned with gaps, by parasail.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import parasail
import torch
from numpy.typing import NDArray

UNKNOWN = 4
"""Stands in a column where a barcode has no letter, or one that is none of A, C, G, T."""

# Pseudo-count of each base in a column: log-odds stay finite.
_PSEUDO = 0.01
# Barcodes that a profile is learnt from, and those that are tried as its first version.
_LEARNT_FROM, _TRIED, _TRIED_ON = 2000, 16, 100
_ROUNDS = 3
# Columns beyond both ends of the first version, of which those are kept that a share of the barcodes has.
_BEYOND, _COVERED = 60, 0.2
# Log-odds, in nats, by which a barcode must fit better than chance: for the e^20 places of a million barcodes.
_FITS = 30.0
# A stretch of this many columns, of which at least two thirds are known, that fits less than this share of what is
# expected of the gene, hints at an insertion or deletion before or in it.
_STRETCH, _FAINT = 94, 0.36
# Where gaps pay: nats by which they improve the fit.
_GAPS_PAY = 20.0
_USUAL = 256
_BATCH = 1024
_CODES = np.full(256, UNKNOWN, np.uint8)
for _code, _letter in enumerate("ACGT"):
    _CODES[ord(_letter)] = _code
_COMPLEMENT = str.maketrans("ACGTRYSWKMBDHVN", "TGCAYRSWMKVHDBN")
_OTHERS = str.maketrans(dict.fromkeys("RYSWKMBDHV", "N"))
# Scores of an alignment with affine gaps, about those of BLAST's task for distant sequences (5, -4, 12, 8): gaps that
# cost no more than a different letter would be put wherever barcodes differ. An unknown letter costs nothing.
_OPEN, _EXTEND = 12, 3
_MATCHES = parasail.matrix_create("ACGTN", 5, -4)
_MATCHES[4, 0:5] = 0
_MATCHES[0:5, 4] = 0
_STEP = re.compile(r"(\d+)([=XID])")
# Stop codons of the invertebrate mitochondrial code (NCBI translation table 5).
_STOPS = ("TAA", "TAG")
_FEW_STOPS = 0.02


class Placed(NamedTuple):
    """Barcodes in the columns of a profile.

    Attributes:
        columns: uint8 (N, C): 0 to 3 for A, C, G, T, 4 where nothing is known.
        scores: float32 (N,): log-odds of the letters, in nats, against letters at random.
        fits: bool (N,): whether they fit better than chance; columns of the others are unknown.
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
        return cls(profile.log_odds, profile.usual, _reading_frame(placed.columns[placed.fits]))

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
        letters = _as_codes(barcodes)
        offsets, scores = self._offsets(letters)
        fits = scores >= _FITS
        barcodes, reversed_ = list(barcodes), np.zeros(len(barcodes), bool)
        if both_strands and not fits.all():
            rows = np.flatnonzero(~fits)
            turned = [reverse_complement(barcodes[row]) for row in rows]
            codes = _as_codes(turned, width=letters.shape[1])
            there, score = self._offsets(codes)
            better = score >= _FITS
            for row, barcode in zip(rows[better], np.array(turned, object)[better], strict=True):
                barcodes[row] = barcode
            rows = rows[better]
            letters[rows], offsets[rows], scores[rows] = codes[better], there[better], score[better]
            reversed_[rows] = fits[rows] = True
        columns = self._shifted(letters, offsets)
        gapped, stops = np.zeros(len(barcodes), bool), _has_stop(columns, self.frame)
        for row in np.flatnonzero(~fits | self._is_faint(columns)):
            strands = [barcodes[row]]
            if both_strands and not fits[row]:
                strands.append(reverse_complement(barcodes[row]))
            strand = self._try_gaps(strands, columns[row], scores[row : row + 1], fits[row])
            if strand is not None:
                gapped[row] = True
                reversed_[row] |= strand == 1
                # Columns behind gaps need not be those of the true codons.
                stops[row] = self.frame is not None and not _has_open_frame(strands[strand])
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
            aligned, found = self._with_gaps(strand)
            least = score[0] + _GAPS_PAY if fits else _FAINT * self.expected * (aligned < UNKNOWN).sum()
            if found > max(least, _FITS):
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
        one_hot = _one_hot(letters)
        # At other places letters fit worse than at random, so that a good fit at a usual place is the best there is.
        table = self._at(letters.shape[1])
        first = (one_hot.reshape(len(letters), -1) @ table).max(dim=1)
        scores[:], offsets[:] = first.values.numpy(), np.array(self.usual)[first.indices.numpy()]
        rest = np.flatnonzero(scores < self.expected / 2 * known)
        if len(rest):
            offsets[rest], scores[rest] = self._correlated(one_hot[rest])
        return offsets, scores

    def _at(self, width: int) -> torch.Tensor:
        """Log-odds of each base at each position, (4 * width, usual offsets)."""
        table = np.zeros((len(self.usual), width, 4), np.float32)
        for row, offset in zip(table, self.usual, strict=True):
            first, last = max(0, -offset), min(width, len(self.log_odds) - offset)
            if first < last:
                row[first:last] = self.log_odds[first + offset : last + offset]
        return torch.from_numpy(table.reshape(len(table), -1).T.copy())

    def _correlated(self, one_hot: torch.Tensor) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The best of all offsets, by the Fourier transform."""
        width, columns = one_hot.shape[1], len(self.log_odds)
        size = 1 << (width + columns - 1).bit_length()
        letters = torch.fft.rfft(one_hot.transpose(1, 2), size)
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

    def _with_gaps(self, barcode: str) -> tuple[NDArray[np.uint8], float]:
        """Align with gaps to the most frequent letters; letters without column are left out."""
        columns = np.full(len(self.log_odds), UNKNOWN, np.uint8)
        if not barcode:
            return columns, 0.0
        text = barcode.translate(_OTHERS)
        cigar = parasail.sg_trace_striped_16(text, self._consensus, _OPEN, _EXTEND, _MATCHES).cigar
        letters = _CODES[np.frombuffer(text.encode(), np.uint8)]
        place, column = cigar.beg_query, cigar.beg_ref
        for length, step in _STEP.findall(cigar.decode.decode()):
            count = int(length)
            if step in "=X":
                columns[column : column + count] = letters[place : place + count]
            place += count if step != "D" else 0
            column += count if step != "I" else 0
        return columns, float(self.score(columns[None]).sum())


def reverse_complement(barcode: str) -> str:
    """The other strand of a clean barcode, read from its end.

    >>> reverse_complement("AACGR")
    'YCGTT'
    """
    return barcode.translate(_COMPLEMENT)[::-1]


def _as_codes(barcodes: Sequence[str], width: int | None = None) -> NDArray[np.uint8]:
    """Barcodes as codes of letters (N, longest), filled up with unknown ones."""
    lengths = np.fromiter(map(len, barcodes), np.int64, len(barcodes))
    codes = np.full((len(barcodes), max(width or 0, int(lengths.max(initial=1)))), UNKNOWN, np.uint8)
    text = np.frombuffer("".join(barcodes).encode(), np.uint8)
    codes[np.arange(codes.shape[1]) < lengths[:, None]] = _CODES[text]
    return codes


def _one_hot(letters: NDArray[np.uint8]) -> torch.Tensor:
    """float32 (N, L, 4), all 0 for an unknown letter."""
    table = torch.eye(UNKNOWN + 1, UNKNOWN)
    return table[torch.from_numpy(letters.astype(np.int32))]


def _from_counts(counts: NDArray[np.float64]) -> NDArray[np.float32]:
    shares = counts + _PSEUDO * counts.sum(axis=1, keepdims=True) + _PSEUDO
    shares /= shares.sum(axis=1, keepdims=True)
    return np.log(4 * shares).astype(np.float32)


def _first_version(barcodes: Sequence[str]) -> Profile:
    """The barcode that fits most others, of the longest among some."""
    tried = sorted(barcodes[: 10 * _TRIED], key=len)[-_TRIED:]
    others = _as_codes(barcodes[:_TRIED_ON])
    candidates = [Profile(_from_counts(np.eye(5)[_as_codes([barcode])[0]][:, :4] * 2.0)) for barcode in tried]
    return max(candidates, key=lambda candidate: float(candidate._correlated(_one_hot(others))[1].sum()))


def _again(profile: Profile, barcodes: Sequence[str]) -> Profile:
    """Place barcodes, and count their letters."""
    wide = np.pad(profile.log_odds, ((_BEYOND, _BEYOND), (0, 0)))
    letters = _as_codes(barcodes)
    wider = Profile(wide)
    offsets, scores = wider._correlated(_one_hot(letters))
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


def _stops(columns: NDArray[np.uint8], frame: int) -> NDArray[np.bool_]:
    """Which codons are stops, (N, codons)."""
    count = (columns.shape[1] - frame) // 3
    codons = columns[:, frame : frame + 3 * count].reshape(len(columns), count, 3)
    return np.logical_or.reduce([(codons == _CODES[list(stop.encode())]).all(axis=2) for stop in _STOPS])


def _has_stop(columns: NDArray[np.uint8], frame: int | None) -> NDArray[np.bool_]:
    if frame is None:
        return np.zeros(len(columns), bool)
    return np.asarray(_stops(columns, frame).any(axis=1))


def _has_open_frame(barcode: str) -> bool:
    """Whether one of the three ways to read it has no stop codon."""
    return any(
        not set(_STOPS).intersection(barcode[i : i + 3] for i in range(frame, len(barcode) - 2, 3))
        for frame in range(3)
    )


def _reading_frame(columns: NDArray[np.uint8]) -> int | None:
    """The frame in which hardly any barcode has a stop codon, if in the others most have."""
    shares = [float(_has_stop(columns, frame).mean()) for frame in range(3)]
    best = int(np.argmin(shares))
    others = [share for frame, share in enumerate(shares) if frame != best]
    return best if shares[best] <= _FEW_STOPS and min(others) > 0.5 else None
