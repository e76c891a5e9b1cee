"""Down to which rank a name is safe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioscan_hf.identification.calibration import safe_ranks, safe_threshold

# Thresholds that are tried for a rank.
_TRIED = 200


def safe_thresholds(
    probabilities: NDArray[np.float32], right: NDArray[np.float32], novel: NDArray[np.float32], max_error: float
) -> NDArray[np.float64]:
    """The least probabilities of names that are told, by rank, such that few of the names that are told are wrong.

    They begin with one for all ranks (see `safe_threshold`). Then, from the deepest rank on, that of each rank is
    lowered as far as the bounds hold: what makes a name of a genus doubtful need not make one of a species so.

    Args:
        probabilities: (N, ranks), from broad to fine, of specimens whose names are known; NaN for none.
        right: (N, ranks): 1 for a name that is right, 0 for one that is wrong, NaN where that is not known.
        novel: (N,): see `safe_threshold`.
        max_error: Between 0 and 1.

    Returns:
        (ranks,); above 1, so that nothing is told, where there are too few specimens to be so sure.

    Raises:
        ValueError: If `max_error` is not between 0 and 1.
    """
    thresholds = np.full(probabilities.shape[1], safe_threshold(probabilities, right, max_error, novel))
    groups = [np.ones(len(novel), bool), *(g for g in (novel == 1, novel == 0) if g.sum() >= 1 / max_error)]
    if thresholds[0] > 1:
        return thresholds
    for rank in reversed(range(len(thresholds))):
        values = probabilities[:, rank]
        below = np.unique(values[values < thresholds[rank]])[::-1]
        for value in below[np.unique(np.linspace(0, len(below) - 1, min(_TRIED, len(below))).astype(int))]:
            lowered = thresholds.copy()
            lowered[rank] = value
            if not _holds(probabilities, right, groups, lowered, max_error):
                break
            thresholds = lowered
    return thresholds


def _holds(
    probabilities: NDArray[np.float32],
    right: NDArray[np.float32],
    groups: list[NDArray[np.bool_]],
    thresholds: NDArray[np.float64],
    max_error: float,
) -> bool:
    """Whether (wrong + 1) / (told + 1) is small enough in all groups."""
    ranks = safe_ranks(probabilities, thresholds)
    told = np.where(ranks >= 0, right[np.arange(len(ranks)), ranks], np.nan)
    return all(((told[g] == 0).sum() + 1) / ((~np.isnan(told[g])).sum() + 1) <= max_error for g in groups)
