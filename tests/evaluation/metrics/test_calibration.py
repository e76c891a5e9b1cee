from itertools import pairwise
from random import Random
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from bioscan_hf.evaluation.metrics.calibration import CalibrationError


def test_hand_worked_case() -> None:
    inputs = {"predictions": [0.2, 0.5, 0.6, 1.0], "references": [False, True, True, False]}
    # Bins (0, 0.5] and (0.5, 1]: mean confidence 0.35 and 0.8, right 0.5 and 0.5.
    assert CalibrationError().compute(**inputs, bins=2) == pytest.approx(
        {
            "expected_calibration_error": (0.15 + 0.3) / 2,
            "maximum_calibration_error": 0.3,
            "brier_score": (0.04 + 0.25 + 0.16 + 1) / 4,
            "mean_confidence": 0.575,
            "accuracy": 0.5,
            "count": 4,
        }
    )


def test_bins_of_equal_mass_by_hand() -> None:
    inputs = {"predictions": [0.89, 0.90, 0.91, 0.92], "references": [False, True, True, True]}
    # One bin of the default width: 0.905 against 0.75. The halves are 0.895 against 0.5 and 0.915 against 1.
    assert CalibrationError().compute(**inputs)["expected_calibration_error"] == pytest.approx(0.155)
    halves = CalibrationError().compute(**inputs, bins=2, binning="mass")
    assert halves["expected_calibration_error"] == pytest.approx((0.395 + 0.085) / 2)
    assert halves["maximum_calibration_error"] == pytest.approx(0.395)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40), st.integers(1, 20))
def test_it_is_a_naive_computation(pairs: list[tuple[float, bool]], bins: int) -> None:
    confidences, right = (np.array(column) for column in zip(*pairs, strict=True))
    scores = CalibrationError()._compute(confidences, right, bins=bins)
    edges = np.linspace(0, 1, bins + 1)
    gaps, shares = [], []
    for i, (low, high) in enumerate(pairwise(edges)):
        inside = (confidences <= high) & ((confidences > low) | (i == 0))
        if inside.any():
            gaps.append(abs(right[inside].mean() - confidences[inside].mean()))
            shares.append(inside.mean())
    assert sum(shares) == pytest.approx(1)
    assert scores["expected_calibration_error"] == pytest.approx(np.dot(gaps, shares), abs=1e-12)
    assert scores["maximum_calibration_error"] == pytest.approx(max(gaps), abs=1e-12)


@pytest.mark.parametrize(("binning", "strategy"), [("width", "uniform"), ("mass", "quantile")])
def test_the_bins_are_those_of_scikit_learn(binning: Literal["width", "mass"], strategy: str) -> None:
    rng = np.random.default_rng(0)
    confidences = rng.beta(4, 1, 500).round(3)
    right = rng.random(500) < confidences**2
    scores = CalibrationError().compute(predictions=confidences, references=right, binning=binning)
    truth, predicted = calibration_curve(right, confidences, n_bins=15, strategy=strategy)
    assert scores["maximum_calibration_error"] == pytest.approx(np.abs(truth - predicted).max())
    assert scores["brier_score"] == pytest.approx(brier_score_loss(right, confidences))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.booleans()), min_size=1, max_size=30),
    st.randoms(),
    st.sampled_from(["width", "mass"]),
)
def test_order_does_not_matter_and_errors_are_ordered(
    pairs: list[tuple[float, bool]], random: Random, binning: Literal["width", "mass"]
) -> None:
    (confidences, right), (again, right_again) = (
        zip(*rows, strict=True) for rows in (pairs, random.sample(pairs, len(pairs)))
    )
    scores = CalibrationError()._compute(confidences, right, binning=binning)
    assert CalibrationError()._compute(again, right_again, binning=binning) == pytest.approx(scores)
    overall = abs(scores["accuracy"] - scores["mean_confidence"])
    assert overall - 1e-12 <= scores["expected_calibration_error"] <= scores["maximum_calibration_error"] + 1e-12


def test_certain_and_right_is_perfect() -> None:
    scores = CalibrationError().compute(predictions=[1.0, 0.0, 1.0], references=[True, False, True])
    assert scores["expected_calibration_error"] == scores["brier_score"] == scores["maximum_calibration_error"] == 0
    assert all(type(value) in (int, float) for value in scores.values())


@pytest.mark.parametrize(
    ("predictions", "options", "message"),
    [
        ([0.5, 1.5], {}, "between 0 and 1; got 1.5"),
        ([-0.1, 0.5], {}, "between 0 and 1; got -0.1"),
        ([0.5, float("nan")], {}, "between 0 and 1; got nan"),
        ([0.5, 0.5], {"bins": 0}, "`bins` must be at least 1; got 0"),
        ([0.5, 0.5], {"binning": "equal"}, "`binning` must be 'width' or 'mass'; got 'equal'"),
    ],
)
def test_bad_input_is_refused(predictions: list[float], options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CalibrationError().compute(predictions=predictions, references=[True, False], **options)


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="between 0 and 1; there are none"):
        CalibrationError()._compute([], [])
