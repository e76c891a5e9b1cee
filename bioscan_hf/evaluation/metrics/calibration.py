"""Are predictions as often right as they are sure to be?"""

from __future__ import annotations

from typing import Literal

import numpy as np
from datasets import Features, Value
from numpy.typing import ArrayLike

from bioscan_hf.evaluation.metrics.base import InMemoryMetric, integer_labels


class CalibrationError(InMemoryMetric):
    """Expected and maximum calibration error of confidences, and their Brier score.

    Args:
        predictions: Confidences between 0 and 1, (N,).
        references: Whether the prediction was right, (N,) booleans. Leave out before what has no label.
        bins: Number of bins, 15 unless said otherwise (Guo et al., ICML 2017).
        binning: `"width"`: equal parts of [0, 1]; `"mass"`: parts that hold about as many specimens each, between
            quantiles of the confidences (equal confidences stay in one bin). An upper edge belongs to its bin.

    Returns:
        `expected_calibration_error`: mean over the specimens of |share of right - mean confidence| of their bin;
        `maximum_calibration_error`: the largest over the bins that hold specimens; `brier_score`: mean squared
        difference of confidence and 1 for right or 0 for wrong; `mean_confidence`; `accuracy`; `count`.

    Raises:
        ValueError: If there are no confidences, one is outside of [0, 1] or no number, there is no bin, or `binning` is
            not known.

    >>> scores = CalibrationError().compute(predictions=[0.9, 0.9, 0.6, 0.6], references=[True, True, True, False])
    >>> round(scores["expected_calibration_error"], 3), round(scores["brier_score"], 3)
    (0.1, 0.135)
    """

    FEATURES = Features({"predictions": Value("float64"), "references": Value("bool")})
    CITATION = """\
@inproceedings{guo2017calibration,
    title = {On Calibration of Modern Neural Networks},
    author = {Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.},
    booktitle = {International Conference on Machine Learning},
    year = {2017}
}"""

    def _compute(
        self,
        predictions: ArrayLike,
        references: ArrayLike,
        bins: int = 15,
        binning: Literal["width", "mass"] = "width",
    ) -> dict[str, float]:
        confidences, right = np.asarray(predictions, dtype=np.float64), integer_labels(references, "references")
        bad = ~((confidences >= 0) & (confidences <= 1))
        if not len(confidences) or bad.any():
            got = f"got {confidences[bad][0]}" if bad.any() else "there are none"
            raise ValueError(f"Confidences must be numbers between 0 and 1; {got}.")
        if bins < 1:
            raise ValueError(f"`bins` must be at least 1; got {bins}.")
        if binning not in ("width", "mass"):
            raise ValueError(f"`binning` must be 'width' or 'mass'; got {binning!r}.")
        edges = np.linspace(0, 1, bins + 1)
        if binning == "mass":
            edges = np.quantile(confidences, edges)
        members = np.searchsorted(edges[1:-1], confidences)
        # Sums of a bin over N: the differences weigh as much as the bin holds.
        gaps = np.abs(np.bincount(members, weights=right - confidences, minlength=bins))
        sizes = np.bincount(members, minlength=bins)
        return {
            "expected_calibration_error": float(gaps.sum() / len(confidences)),
            "maximum_calibration_error": float((gaps / np.maximum(sizes, 1)).max()),
            "brier_score": float(np.mean((confidences - right) ** 2)),
            "mean_confidence": float(confidences.mean()),
            "accuracy": float(right.mean()),
            "count": len(confidences),
        }
