import json
from pathlib import Path

import numpy as np
import pytest

from bioscan_hf.evaluation.metrics.cluster_agreement import ClusterAgreement

PARITY = Path(__file__).parents[1] / "parity"
PAIRS = json.loads((PARITY / "metric_pairs.json").read_text(encoding="utf-8"))
SWEEP = json.loads((PARITY / "rank_sweep.json").read_text(encoding="utf-8"))


def test_hand_worked_case() -> None:
    scores = ClusterAgreement().compute(predictions=[4, 4, 4, -1, -1, 7, 8], references=[0, 0, 1, 1, 1, 1, -1])
    assert scores["purity"] == pytest.approx((2 + 2 + 1) / 6)
    assert (scores["clusters"], scores["classes"], scores["noise"]) == (3, 2, pytest.approx(2 / 6))
    assert (scores["count"], scores["unlabelled"]) == (6, 1)
    assert scores["nmi"] == pytest.approx(scores["v_measure"])
    # Pairs of specimens: 7 in one class, 4 in one cluster, 2 in both, of 15.
    assert scores["ari"] == pytest.approx((2 - 28 / 15) / (11 / 2 - 28 / 15))


# Of `all_singletons_pred` and `both_singletons` some scores are rounding noise; `minus1_true` is of another rule.
@pytest.mark.parametrize("name", sorted(set(PAIRS) - {"all_singletons_pred", "both_singletons", "minus1_true"}))
def test_it_is_the_score_of_the_reference(name: str) -> None:
    with np.load(PARITY / "metric_pairs.npz") as arrays:
        scores = ClusterAgreement().compute(predictions=arrays[f"{name}__pred"], references=arrays[f"{name}__true"])
    names = {"ami_arithmetic": "ami_arithmetic", "ami_true_entropy": "ami_h_true", "nmi": "nmi_arithmetic"}
    names |= {score: score for score in ("ari", "homogeneity", "completeness", "v_measure")}
    expected = {ours: PAIRS[name][theirs] for ours, theirs in names.items()}
    assert {ours: scores[ours] for ours in names} == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("case", "rank"), [(case, rank) for case, ranks in SWEEP.items() for rank in ranks])
def test_every_rank_of_the_reference(case: str, rank: str) -> None:
    expected = SWEEP[case][rank]
    with np.load(PARITY / "embeddings.npz") as data, np.load(PARITY / "predictions.npz") as predictions:
        # The reference clusters `test`, then `test_unseen`.
        labels = np.concatenate([data[f"rank_{rank}"][data["unseen"] == unseen] for unseen in (False, True)])
        scores = ClusterAgreement().compute(predictions=predictions[case], references=labels)
    assert scores["ami_arithmetic"] == pytest.approx(expected["ami_masked"], abs=1e-8)
    assert scores["ami_true_entropy"] == pytest.approx(expected["ami_h_true_masked"], abs=1e-8)
    assert scores["count"] == expected["n_labelled"]
    assert scores["classes"] == expected["n_classes_incl_minus1"] - (scores["unlabelled"] > 0)


def test_perfect_clusters_whatever_their_numbers() -> None:
    scores = ClusterAgreement().compute(predictions=[9, 9, 2, 5], references=[0, 0, 1, 2])
    shares = {name: scores[name] for name in scores if name not in ("clusters", "classes", "noise", "count")}
    assert shares.pop("unlabelled") == scores["noise"] == 0
    assert shares == pytest.approx(dict.fromkeys(shares, 1.0))
    assert all(type(value) in (int, float) for value in scores.values())


def test_no_labels_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one labelled"):
        ClusterAgreement().compute(predictions=[1], references=[-1])
