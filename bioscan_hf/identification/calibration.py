"""Probabilities that names are right."""

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
