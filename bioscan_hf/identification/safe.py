"""Down to which rank a name is safe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Thresholds that are tried for a rank.
_TRIED = 200


def safe_ranks(probabilities: NDArray[np.float32], threshold: float | NDArray[np.float64]) -> NDArray[np.int64]:
    """The deepest rank with at least this probability, (N,); -1 for none.

    Args:
        probabilities: (N, ranks), NaN for none.
        threshold: One for all ranks (see `safe_threshold`), or one for each, (ranks,) (see `safe_thresholds`).
    """
    safe = np.nan_to_num(probabilities, nan=-1.0) >= threshold
    deepest = probabilities.shape[1] - 1 - safe[:, ::-1].argmax(axis=1)
    return np.where(safe.any(axis=1), deepest, -1)


def safe_threshold(
    probabilities: NDArray[np.float32],
    right: NDArray[np.float32],
    max_error: float,
    novel: NDArray[np.float32] | None = None,
) -> float:
    """The least probability of a name that is told, such that few of the names that are told are wrong.

    It is chosen on specimens whose names are known: the least at which (wrong + 1) / (told + 1) is at most `max_error`,
    the bound of conformal risk control (Angelopoulos et al., ICLR 2024, arXiv 2208.02814) with the names that are told
    in the place of all. Going down from 1, the search ends where the bound is broken by several wrong ones of more than
    1 / `max_error` names, even if it would hold again further down.

    Args:
        probabilities: (N, ranks), NaN for none.
        right: (N, ranks): 1 for a name that is right, 0 for one that is wrong, NaN where that is not known.
        max_error: Between 0 and 1.
        novel: (N,): 1 for a specimen of a species that the library does not have, 0 for others, NaN where that is not
            known. If it is given, the bound must hold among both, so that the share of new species does not matter;
            but for a group of fewer than 1 / `max_error` specimens, of which it cannot.

    Returns:
        The threshold; above 1, so that nothing is told, where there are too few specimens to be so sure.

    Raises:
        ValueError: If `max_error` is not between 0 and 1.
    """
    if not 0 < max_error < 1:
        raise ValueError(
            f"`max_error` must be between 0 and 1, such as 0.01 for one wrong name in 100; got {max_error}."
        )
    values = np.unique(probabilities[~np.isnan(probabilities)])[::-1]
    # Thresholds that make a difference are many: a thousand, evenly among them, are enough.
    values = values[np.unique(np.linspace(0, len(values) - 1, min(1000, len(values))).astype(int))]
    best = np.nextafter(np.float32(1), np.float32(2))
    rows = np.arange(len(probabilities))
    groups = [np.ones(len(rows), bool)]
    if novel is not None:
        groups += [group for group in (novel == 1, novel == 0) if group.sum() >= 1 / max_error]
    for threshold in values:
        ranks = safe_ranks(probabilities, float(threshold))
        of_told = np.where(ranks >= 0, right[rows, ranks], np.nan)
        wrong = np.array([(of_told[group] == 0).sum() for group in groups])
        told = np.array([(~np.isnan(of_told[group])).sum() for group in groups])
        too_many = (wrong + 1) / (told + 1) > max_error
        if not too_many.any():
            best = threshold
        elif (too_many & (wrong > 1) & (told > 1 / max_error)).any():
            break
    return float(best)


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
