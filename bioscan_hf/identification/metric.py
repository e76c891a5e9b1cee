"""How alike two barcodes are: letters weighed by what varies between genera, and not within."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bioscan_hf.evaluation.unit_length import unit_length
from bioscan_hf.identification.letters import one_hot

DIMENSION = 384
# Of the mean variance within a genus, added to all: rare letters vary by chance only.
_SHRINKAGE = 0.1
# Power of the covariance within genera that directions are divided by. The whole (0.5) would make those in which no
# genus varies, most of them noise, as important as all others.
_POWER = 0.25
_LEARNT_FROM = 20_000
_SEEN = 3
_BATCH = 1024


@dataclass(frozen=True)
class Metric:
    """A linear map of aligned letters to vectors, whose cosine says how alike barcodes are.

    Attributes:
        table: float32 (C, 4, D): vector of each base in each column, the mean of the column subtracted; an unknown
            letter is zero.
    """

    table: NDArray[np.float32]

    @classmethod
    def learn(
        cls, columns: NDArray[np.uint8], groups: Sequence[int] | NDArray[np.int64], *, dimension: int = DIMENSION
    ) -> Metric:
        """Learn it from labelled barcodes, in closed form.

        Within-class covariance normalisation (Hatch, Kajarekar and Stolcke, Interspeech 2006), to the power 1/4 rather
        than 1/2, then the principal components. Without groups of several barcodes, only these.

        Args:
            columns: uint8 (N, C), of distinct barcodes (see `Placed`).
            groups: (N,) group of each barcode, such as its genus; -1 for none.
            dimension: D at most; there are no more than barcodes. If all of these are equal, all vectors are zero.

        Raises:
            ValueError: If there are no barcodes.
        """
        if not len(columns):
            raise ValueError("A metric needs barcodes; there are none.")
        chosen = np.sort(np.random.default_rng(0).permutation(len(columns))[:_LEARNT_FROM])
        columns, groups = columns[chosen], np.asarray(groups)[chosen]
        letters = one_hot(columns)
        known = letters.sum(dim=2, keepdim=True)
        mean = letters.sum(dim=0) / known.sum(dim=0).clamp(min=1)
        # Of a letter that all barcodes have in a column, or hardly any of many, nothing can be learnt.
        counts, least = letters.sum(dim=0), min(_SEEN, 1 + len(columns) // 10)
        varies = torch.nonzero(((counts >= least) & (counts < known.sum(dim=0))).flatten())[:, 0]
        if not len(varies):
            return cls(np.zeros((*mean.shape, 1), np.float32))
        centred = (letters - mean * known).flatten(1)[:, varies]
        scaled = _normalised_within(centred, groups)
        _, directions = _principal(centred, scaled)
        projection = torch.zeros(mean.numel(), min(dimension, len(columns), len(varies)))
        projection[varies] = scaled @ directions[:, -projection.shape[1] :].flip(1)
        table = projection.unflatten(0, mean.shape)
        # An unknown letter is zero; so the mean goes into the letters.
        return cls((table - (mean.unsqueeze(2) * table).sum(dim=1, keepdim=True)).contiguous().numpy())

    @property
    def dimension(self) -> int:
        """D, the entries of a vector."""
        return self.table.shape[2]

    def vectors(self, columns: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors of barcodes.

        Args:
            columns: uint8 (N, C).

        Returns:
            (N, D), of length 1, or zero where nothing is known.
        """
        table = torch.from_numpy(self.table).flatten(0, 1)
        vectors = np.empty((len(columns), self.dimension), np.float32)
        for start in range(0, len(columns), _BATCH):
            rows = slice(start, start + _BATCH)
            vectors[rows] = (one_hot(columns[rows]).flatten(1) @ table).numpy()
        return unit_length(vectors)


def _normalised_within(centred: torch.Tensor, groups: NDArray[np.int64]) -> torch.Tensor:
    """The covariance within groups, to the power -1/4, (F, F), of F centred letters, (N, F)."""
    _, places, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    members = torch.from_numpy(np.flatnonzero((groups >= 0) & (sizes[places] > 1)))
    identity = torch.eye(centred.shape[1])
    if not len(members):
        return identity
    own, group = centred[members], torch.from_numpy(places)[members]
    means = torch.zeros(len(sizes), centred.shape[1]).index_add_(0, group, own)
    own = own - (means / torch.from_numpy(sizes).unsqueeze(1))[group]
    # Letters that never vary have a variance of 0, so the least is above what rounding makes of it.
    least = max(_SHRINKAGE * float(own.square().sum()) / len(own) / own.shape[1], 1e-6)
    variances, directions = _principal(own)
    # Of a direction that none has, the variance is the least.
    factors = (variances.clamp(min=0) + least) ** -_POWER - least**-_POWER
    return (directions * factors) @ directions.T + least**-_POWER * identity


def _principal(rows: torch.Tensor, scaled: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Variances of rows about zero along their principal directions, the largest last.

    Args:
        rows: (N, F).
        scaled: (F, F), by which they are multiplied first.

    Returns:
        Variances (R,) and directions (F, R), where R is the lesser of N and F.
    """
    if len(rows) < rows.shape[1]:
        # The covariance would have many times the eigenvalue 0, with which `eigh` may not converge.
        _, lengths, directions = torch.linalg.svd(rows if scaled is None else rows @ scaled, full_matrices=False)
        return (lengths**2 / len(rows)).flip(0), directions.T.flip(1)
    covariance = rows.T @ rows / len(rows)
    covariance = covariance if scaled is None else scaled.T @ covariance @ scaled
    variances, directions = torch.linalg.eigh(covariance)
    return variances, directions
