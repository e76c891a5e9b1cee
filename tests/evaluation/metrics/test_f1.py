import json
from pathlib import Path

import numpy as np
import pytest

from bioscan_hf.evaluation.metrics.accuracy import Accuracy
from bioscan_hf.evaluation.metrics.f1 import F1

PARITY = Path(__file__).parents[1] / "parity"


def test_hand_worked_case() -> None:
    scores = F1().compute(predictions=[0, 0, 0, 1, 2, 5], references=[0, 0, 1, 1, 1, -1])
    # Class 0: precision 2/3, recall 1; class 1: 1, 1/3; class 2, only predicted: 0, 0.
    assert scores == pytest.approx(
        {
            "micro_precision": 3 / 5,
            "micro_recall": 3 / 5,
            "micro_f1": 3 / 5,
            "macro_precision": (2 / 3 + 1 + 0) / 3,
            "macro_recall": (1 + 1 / 3 + 0) / 3,
            "macro_f1": (4 / 5 + 1 / 2 + 0) / 3,
            "weighted_precision": (2 * 2 / 3 + 3 * 1) / 5,
            "weighted_recall": (2 * 1 + 3 * 1 / 3) / 5,
            "weighted_f1": (2 * 4 / 5 + 3 * 1 / 2) / 5,
            "count": 5,
            "unlabelled": 1,
        }
    )


@pytest.mark.parametrize("case", ["cosine_k1", "cosine_k5", "euclidean_k1", "euclidean_k5"])
def test_it_is_the_score_of_the_reference(case: str) -> None:
    expected = json.loads((PARITY / "knn_probe.json").read_text(encoding="utf-8"))[case]
    with np.load(PARITY / "knn_probe.npz") as arrays:
        inputs = {"predictions": arrays[f"pred_{case}"], "references": arrays["yte"]}
    only_predicted = set(inputs["predictions"]) - set(inputs["references"])
    assert only_predicted == (set() if case == "euclidean_k5" else {10})  # so that the convention is tested, too
    scores = {**F1().compute(**inputs), **Accuracy().compute(**inputs)}
    names = {"accuracy": "accuracy", "accuracy-balanced": "macro_accuracy"} | {
        f"{score}-{theirs}": f"{ours}_{score}"
        for score in ("f1", "precision")
        for theirs, ours in {"micro": "micro", "macro": "macro", "support": "weighted"}.items()
    }
    assert {name: 100 * scores[ours] for name, ours in names.items()} == pytest.approx(expected, abs=1e-9)


def test_no_prediction_costs_recall_only() -> None:
    scores = F1().compute(predictions=[0, -1], references=[0, 0])
    assert scores["micro_precision"] == scores["macro_precision"] == 1
    assert scores["micro_recall"] == scores["macro_recall"] == 0.5


def test_no_labels_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one labelled"):
        F1().compute(predictions=[1], references=[-1])
