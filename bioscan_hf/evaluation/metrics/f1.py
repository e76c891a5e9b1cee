"""Precision, recall and F1."""

from __future__ import annotations

import numpy as np
from datasets import Features, Value
from numpy.typing import ArrayLike
from sklearn.metrics import precision_recall_fscore_support

from bioscan_hf.evaluation.metrics.base import UNLABELLED, InMemoryMetric, integer_labels, labelled


class F1(InMemoryMetric):
    """Precision, recall and their harmonic mean F1: micro, macro and weighted averages.

    Args:
        predictions: Integer labels, (N,). -1 names no class: it costs recall, and no precision.
        references: Integer labels, (N,). Specimens of -1 have no label and are left out.

    Returns:
        `micro_precision`, `micro_recall` and `micro_f1` over all specimens; `macro_...` as the mean over the classes;
        `weighted_...` as the mean weighted by the specimens of a class. `count` specimens were used, `unlabelled` left
        out.
        As in scikit-learn, a class that is only in the predictions counts, with 0 for all three. Thus `macro_recall`
        can be below the `macro_accuracy` of `Accuracy`, which counts the classes of the references only.

    Raises:
        ValueError: If no reference is labelled.

    >>> F1().compute(predictions=[0, 0, 1, 0], references=[0, 0, 1, 1])["micro_f1"]
    0.75
    """

    FEATURES = Features({"predictions": Value("int64"), "references": Value("int64")})

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        truth, predicted = integer_labels(references, "references"), integer_labels(predictions, "predictions")
        known = labelled(truth)
        unlabelled = len(truth) - int(known.sum())
        truth, predicted = truth[known], predicted[known]
        classes = np.setdiff1d(np.union1d(truth, predicted), [UNLABELLED])
        scores: dict[str, float] = {}
        for average in ("micro", "macro", "weighted"):
            values = precision_recall_fscore_support(
                truth, predicted, labels=classes, average=average, zero_division=0.0
            )
            for name, value in zip(("precision", "recall", "f1"), values[:3], strict=True):
                scores[f"{average}_{name}"] = float(value)
        return {**scores, "count": len(truth), "unlabelled": unlabelled}
