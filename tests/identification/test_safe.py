import numpy as np
import pytest
from numpy.typing import NDArray

from bioscan_hf.identification.calibration import safe_ranks, safe_threshold
from bioscan_hf.identification.safe import safe_thresholds
from tests.identification.test_calibration import made_probabilities

NONE = np.full(2000, np.nan, np.float32)


def told(probabilities: NDArray[np.float32], right: NDArray[np.float32], thresholds: object) -> NDArray[np.float32]:
    """For each name that is told, whether it is right."""
    ranks = safe_ranks(probabilities, thresholds)  # type: ignore[arg-type]
    of_told = right[np.arange(len(ranks)), ranks][ranks >= 0]
    return of_told[~np.isnan(of_told)]


def rate(names: NDArray[np.float32]) -> float:
    return float(((names == 0).sum() + 1) / (len(names) + 1))


@pytest.mark.parametrize("max_error", [0.01, 0.05, 0.2])
def test_they_are_at_most_the_one_for_all_ranks_and_keep_its_bound(max_error: float) -> None:
    probabilities, right = made_probabilities(2000)
    one = safe_threshold(probabilities, right, max_error)
    found = safe_thresholds(probabilities, right, NONE, max_error)
    assert (found <= one).all()
    assert rate(told(probabilities, right, found)) <= max_error
    deeper = safe_ranks(probabilities, found) - safe_ranks(probabilities, one)
    assert (deeper >= 0).all()


def test_a_rank_whose_names_are_better_than_their_probability_is_told_more_often() -> None:
    draw = np.random.default_rng(0)
    probabilities = np.sort(draw.uniform(0.5, 1, (2000, 2)), axis=1)[:, ::-1].astype(np.float32)
    right = np.ones((2000, 2), np.float32)  # the finer names are always right
    right[:, 0] = draw.random(2000) < probabilities[:, 0]
    found = safe_thresholds(probabilities, right, NONE, 0.05)
    assert found[1] == probabilities[:, 1].min()


def test_the_bound_holds_for_new_species_and_for_others() -> None:
    probabilities, right = made_probabilities(2000)
    novel = (np.arange(2000) < 600).astype(np.float32)
    right[:600] = np.where(np.random.default_rng(0).random((600, 3)) < 0.03, 0, right[:600])
    found = safe_thresholds(probabilities, right, novel, 0.1)
    assert found.max() <= 1
    for group in (novel == 1, novel == 0):
        assert rate(told(probabilities[group], right[group], found)) <= 0.1


def test_few_of_the_names_that_are_told_of_others_are_wrong() -> None:
    errors, counts = [], []
    for seed in range(8):
        found = safe_thresholds(*made_probabilities(1000, seed=seed), NONE[:1000], 0.05)
        names = told(*made_probabilities(1000, seed=1000 + seed), found)
        errors.append((names == 0).mean())
        counts.append(len(names))
    # Chosen rank by rank on the same specimens, they may be a little too bold.
    assert np.mean(errors) <= 0.06 and np.mean(counts) > 700


def test_too_few_specimens_tell_nothing() -> None:
    probabilities, right = made_probabilities(50)
    assert (safe_thresholds(probabilities, right, NONE[:50], 0.01) > 1).all()
    assert (safe_thresholds(probabilities[:0], right[:0], NONE[:0], 0.01) > 1).all()
    with pytest.raises(ValueError, match="`max_error` must be between 0 and 1"):
        safe_thresholds(probabilities, right, NONE[:50], 0)
