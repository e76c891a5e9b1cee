import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid

from bioscan_hf.evaluation.linear import LinearClassifier, descend, linear_discriminant, linear_probe

PARITY = Path(__file__).parent / "parity"
LABELS = np.random.default_rng(0).choice([3, 7, 9, 20], p=[0.5, 0.2, 0.2, 0.1], size=200)


def made_vectors(seed: int = 0) -> np.ndarray:
    """(200, 6), classes of unequal sizes that overlap, with features that go together."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(21, 6))
    return 1.5 * centres[LABELS] + rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6))


def test_classifier_by_hand() -> None:
    classifier = LinearClassifier(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([0.5, 0.0]), np.array([8, -1]))
    vectors = np.array([[1.0, 1.0], [2.0, 1.0]])
    assert classifier.scores(vectors).tolist() == [[1.5, 2.0], [2.5, 2.0]]
    assert classifier.predict(vectors).tolist() == [-1, 8]


# scikit-learn weighs the covariance within a class by its prior. The pooled one of ours is that of its default priors,
# the shares of the classes; these enter its intercept, too, from which they are taken away here.
@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 0.6, 1.0])
def test_discriminant_is_that_of_scikit_learn_with_equal_chances(shrinkage: float) -> None:
    vectors, others = made_vectors(), made_vectors(1)
    ours = linear_discriminant(vectors, LABELS, shrinkage=shrinkage)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage or None).fit(vectors, LABELS)
    np.testing.assert_allclose(ours.weights.T, theirs.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.bias, theirs.intercept_ - np.log(theirs.priors_), rtol=1e-6, atol=1e-9)
    theirs.intercept_ = theirs.intercept_ - np.log(theirs.priors_)
    np.testing.assert_array_equal(ours.predict(others), theirs.predict(others))


def test_discriminant_of_classes_of_one_size_is_that_of_scikit_learn() -> None:
    labels = np.arange(200) % 5
    vectors = made_vectors()
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3, priors=[0.2] * 5).fit(vectors, labels)
    np.testing.assert_array_equal(
        linear_discriminant(vectors, labels, shrinkage=0.3).predict(made_vectors(1)), theirs.predict(made_vectors(1))
    )


def test_with_full_shrinkage_the_nearest_mean_names() -> None:
    vectors, others = made_vectors(), made_vectors(1)
    nearest_mean = NearestCentroid().fit(vectors, LABELS).predict(others)
    np.testing.assert_array_equal(linear_discriminant(vectors, LABELS, shrinkage=1).predict(others), nearest_mean)


def test_discriminant_does_not_depend_on_order_place_scale_or_rotation() -> None:
    vectors, others = made_vectors(), made_vectors(1)
    expected = linear_discriminant(vectors, LABELS).predict(others)
    order = np.random.default_rng(2).permutation(200)
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))
    changes: list[Callable[[np.ndarray], np.ndarray]] = [lambda v: v + 5, lambda v: v * 1e-3, lambda v: v @ rotation]
    for change in changes:
        found = linear_discriminant(change(vectors), LABELS).predict(change(others))
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(linear_discriminant(vectors[order], LABELS[order]).predict(others), expected)
    renamed = linear_discriminant(vectors, -LABELS).predict(others)
    np.testing.assert_array_equal(renamed, -expected)


def test_discriminant_without_shrinkage_takes_features_that_depend_on_one_another() -> None:
    vectors, others = made_vectors(), made_vectors(1)
    twice = linear_discriminant(np.hstack([vectors, vectors]), LABELS, shrinkage=0)
    once = linear_discriminant(vectors, LABELS, shrinkage=0)
    np.testing.assert_array_equal(twice.predict(np.hstack([others, others])), once.predict(others))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_classes_of_equal_vectors_teach_nothing(dtype: type) -> None:
    vectors: np.ndarray = np.repeat(np.array([[0.1, 0.3], [0.7, 0.2]], dtype), 3, axis=0)
    with pytest.raises(ValueError, match="all of each class are equal, so that nothing can be learnt"):
        linear_discriminant(vectors, np.repeat([0, 1], 3))


@pytest.mark.parametrize("shrinkage", [-0.1, 1.5, np.nan])
def test_shrinkage_out_of_range(shrinkage: float) -> None:
    with pytest.raises(ValueError, match=f"a shrinkage between 0 and 1; got {shrinkage}"):
        linear_discriminant(made_vectors(), LABELS, shrinkage=shrinkage)


@pytest.mark.parametrize("fit", [linear_discriminant, linear_probe])
def test_what_cannot_be_fitted_is_refused(fit: Callable[..., LinearClassifier]) -> None:
    vectors = made_vectors()
    with pytest.raises(ValueError, match="at least two classes; got one"):
        fit(vectors, np.zeros(200, np.int64))
    with pytest.raises(ValueError, match=r"got \(200, 6\) and \(199,\)"):
        fit(vectors, LABELS[:199])
    with pytest.raises(ValueError, match=r"got \(200,\) and \(200,\)"):
        fit(vectors[:, 0], LABELS)
    vectors[[5, 9], 2] = np.nan
    with pytest.raises(ValueError, match="Expected finite vectors; 2 are not, the first in row 5"):
        fit(vectors, LABELS)


def test_descent_is_that_of_the_reference() -> None:
    with np.load(PARITY / "linear_probe.npz") as file:
        made = dict(file)
    theirs = json.loads((PARITY / "linear_probe.json").read_text())
    mean, deviation = made["Xtr"].mean(), made["Xtr"].std()
    assert (mean, deviation) == pytest.approx((theirs["mean"], theirs["std"]), rel=1e-5)
    inputs, tests = (torch.from_numpy((made[name] - mean) / deviation) for name in ("Xtr", "Xte"))
    targets = torch.from_numpy(made["ytr"].astype(np.int64))
    layer = torch.nn.Linear(16, 9)
    layer.load_state_dict({"weight": torch.from_numpy(made["W0"]), "bias": torch.from_numpy(made["b0"])})
    optimizer = torch.optim.SGD(layer.parameters(), lr=1, momentum=0.95, weight_decay=1e-9)
    batches = torch.arange(len(inputs)).split(128)
    losses = [loss for _ in range(20) for loss in descend(layer, optimizer, inputs, targets, batches)]
    np.testing.assert_allclose(losses, theirs["losses"], atol=1e-3)
    logits = layer(tests).detach().numpy()
    np.testing.assert_allclose(logits, made["logits"], atol=1e-3)
    assert 100 * np.mean(logits.argmax(axis=1) == made["yte"]) == pytest.approx(theirs["accuracy"])


def test_probe_learns_and_its_seed_decides_all() -> None:
    vectors = made_vectors().astype(np.float32)
    done: list[tuple[int, int]] = []
    before = torch.random.get_rng_state()
    first = linear_probe(vectors, LABELS, epochs=20, report=lambda *counts: done.append(counts))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert done == [(epoch, 20) for epoch in range(1, 21)]
    assert first.classes.tolist() == [3, 7, 9, 20] and first.weights.shape == (6, 4)
    assert np.mean(first.predict(vectors) == LABELS) > 0.75
    torch.manual_seed(99)
    again = linear_probe(vectors, LABELS, epochs=20)
    np.testing.assert_array_equal(again.weights, first.weights)
    np.testing.assert_array_equal(again.bias, first.bias)
    assert not np.array_equal(linear_probe(vectors, LABELS, epochs=20, seed=1).weights, first.weights)


# What it learns on standardised vectors is the same for any place and scale of the given ones.
@pytest.mark.parametrize(("place", "scale"), [(0.0, 1.0), (100.0, 7.0)])
def test_standardisation_is_a_part_of_the_probe(place: float, scale: float) -> None:
    vectors, others = made_vectors(), made_vectors(1)
    standardised, inputs = ((given - vectors.mean()) / vectors.std() for given in (vectors, others))
    inside = linear_probe(standardised, LABELS, epochs=5)
    probe = linear_probe(vectors * scale + place, LABELS, epochs=5)
    np.testing.assert_allclose(probe.scores(others * scale + place), inside.scores(inputs), atol=2e-3)
    np.testing.assert_array_equal(probe.predict(others * scale + place), inside.predict(inputs))


def test_probe_without_epochs_is_the_first_layer_of_torch() -> None:
    weights = linear_probe(made_vectors(), LABELS, epochs=0).weights * made_vectors().std()
    assert 0.3 < np.abs(weights).max() <= 6**-0.5


def test_equal_numbers_teach_nothing() -> None:
    with pytest.raises(ValueError, match=r"all their numbers are 2\.0"):
        linear_probe(np.full((4, 3), 2.0, np.float32), np.array([0, 0, 1, 1]))
