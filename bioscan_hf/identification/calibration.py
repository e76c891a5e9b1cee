"""Probabilities that names are right, and the rank down to which they are safe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST = 30
"""Queries with a label that a rank needs, or its probabilities are not told."""


@dataclass(frozen=True)
class Logistic:
    """Probability of an event by its evidence: a logistic regression (Platt scaling of several scores).

    Attributes:
        weights: (F,) of the features.
        bias: What is added to them.
    """

    weights: tuple[float, ...]
    bias: float

    @classmethod
    def fit(cls, features: NDArray[np.float32], events: NDArray[np.bool_]) -> Logistic:
        """Fit it, with the features on one scale and scikit-learn's L2 penalty.

        Args:
            features: (N, F).
            events: (N,); where all are equal, the probability is one constant, that of Laplace's rule.
        """
        # Imported here: it takes two seconds, and naming needs none of it.
        from sklearn.linear_model import LogisticRegression

        count, happened = len(events), int(events.sum())
        if happened in (0, count):
            return cls((0.0,) * features.shape[1], float(np.log((happened + 1) / (count - happened + 1))))
        mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
        scale[scale < 1e-9] = 1.0  # a feature that is the same for all says nothing
        model = LogisticRegression(max_iter=2000).fit((features - mean) / scale, events)
        weights = model.coef_[0] / scale
        return cls(tuple(map(float, weights)), float(model.intercept_[0] - mean @ weights))

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (N,) of features (N, F)."""
        logits = features.astype(np.float64) @ np.array(self.weights) + self.bias
        return (1 / (1 + np.exp(-np.clip(logits, -60, 60)))).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Fit for JSON."""
        return {"weights": list(self.weights), "bias": self.bias}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Logistic:
        """Of `to_json`."""
        return cls(tuple(map(float, content["weights"])), float(content["bias"]))


def rank_probabilities(
    names: NDArray[np.int64], features: NDArray[np.float32], models: Sequence[Logistic | None]
) -> NDArray[np.float32]:
    """Probability that each name is right.

    Args:
        names: (N, ranks), from broad to fine; -1 for none.
        features: (N, ranks, F).
        models: One per rank; None where it could not be fitted.

    Returns:
        (N, ranks), NaN where there is no name or no model; from broad to fine they never rise, for a lineage cannot be
        right below where it is wrong.
    """
    found = np.full(names.shape, np.nan, np.float32)
    for rank, model in enumerate(models):
        if model is not None:
            found[:, rank] = model(features[:, rank])
    found[names < 0] = np.nan
    return np.where(np.isnan(found), np.nan, np.fmin.accumulate(found, axis=1))


def safe_ranks(probabilities: NDArray[np.float32], threshold: float | NDArray[np.float64]) -> NDArray[np.int64]:
    """The deepest rank with at least this probability, (N,); -1 for none.

    Args:
        probabilities: (N, ranks), NaN for none.
        threshold: One for all ranks (see `safe_threshold`), or one for each, (ranks,) (see `safe.safe_thresholds`).
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
