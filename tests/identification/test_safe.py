import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bioscan_hf.identification.safe import safe_ranks, safe_threshold, safe_thresholds

NONE = np.full(2000, np.nan, np.float32)

Floats = NDArray[np.float32]


def made_probabilities(count: int, ranks: int = 3, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Probabilities that are true, and whether names were right: never below where they were wrong."""
    draw = np.random.default_rng(seed)
    conditional = draw.beta(20, 0.5, (count, ranks))
    probabilities = conditional.cumprod(axis=1)
    right = (draw.random((count, ranks)) < conditional).cumprod(axis=1).astype(float)
    missing = draw.random((count, ranks)) < 0.1
    probabilities[missing] = right[missing] = np.nan
    right[draw.random((count, ranks)) < 0.1] = np.nan
    return probabilities.astype(np.float32), right.astype(np.float32)


class TestSafeRanks:
    def test_the_deepest_that_is_sure_enough(self) -> None:
        nan = math.nan
        rows = [[0.9, 0.8, 0.7], [0.9, 0.8, 0.4], [0.4, 0.3, 0.2], [0.9, nan, 0.6], [nan, nan, nan], [0.5, nan, nan]]
        probabilities = np.array(rows, np.float32)
        assert safe_ranks(probabilities, 0.5).tolist() == [2, 1, -1, 2, -1, 0]
        assert safe_ranks(probabilities, np.array([0.85, 0.9, 0.65])).tolist() == [2, 0, -1, 0, -1, -1]
        assert safe_ranks(probabilities, 1.01).tolist() == [-1] * 6
        assert safe_ranks(probabilities[:0], 0.5).shape == (0,)


def bound(probabilities: Floats, right: Floats, threshold: float) -> tuple[int, int, float]:
    """Wrong names, told names, and the bound of the error, row by row."""
    wrong = told = 0
    for row, known in zip(probabilities, right, strict=True):
        safe = [rank for rank, value in enumerate(row) if value >= np.float32(threshold)]
        if safe and not math.isnan(known[safe[-1]]):
            told += 1
            wrong += known[safe[-1]] == 0
    return wrong, told, (wrong + 1) / (told + 1)


def naive_threshold(probabilities: Floats, right: Floats, max_error: float) -> float:
    best = math.inf
    for threshold in sorted({float(value) for value in probabilities.ravel() if not math.isnan(value)}, reverse=True):
        wrong, told, error = bound(probabilities, right, threshold)
        if error <= max_error:
            best = threshold
        elif wrong > 1 and told > 1 / max_error:
            break
    return best


class TestSafeThreshold:
    @pytest.mark.parametrize("max_error", [0.01, 0.03, 0.1, 0.4])
    @pytest.mark.parametrize("seed", range(2))
    def test_it_is_that_of_the_definition(self, max_error: float, seed: int) -> None:
        probabilities, right = made_probabilities(200, seed=seed)
        found = safe_threshold(probabilities, right, max_error)
        expected = naive_threshold(probabilities, right, max_error)
        assert (found > 1 and expected == math.inf) or found == expected

    @pytest.mark.parametrize("max_error", [0.01, 0.05])
    def test_few_of_the_names_that_are_told_are_wrong(self, max_error: float) -> None:
        errors, told = [], []
        for seed in range(15):
            threshold = safe_threshold(*made_probabilities(800, seed=seed), max_error)
            probabilities, right = made_probabilities(800, seed=1000 + seed)
            wrong, count, _ = bound(probabilities, right, threshold)
            errors.append(wrong / max(count, 1))
            told.append(count)
        assert np.mean(errors) <= max_error
        assert np.mean(told) > 300  # so it is not by silence

    def test_thresholds_between_which_there_are_many_are_left_out(self) -> None:
        probabilities, right = made_probabilities(480)  # with some 1,300 different probabilities
        threshold = safe_threshold(probabilities, right, 0.05)
        _, told, error = bound(probabilities, right, threshold)
        _, expected, _ = bound(probabilities, right, naive_threshold(probabilities, right, 0.05))
        assert error <= 0.05 and expected * 0.95 <= told <= expected

    def test_the_lower_the_error_the_fewer_are_told(self) -> None:
        probabilities, right = made_probabilities(2000)
        found = [safe_threshold(probabilities, right, error) for error in (0.3, 0.1, 0.03, 0.01, 0.001)]
        assert found == sorted(found)
        assert found[-1] > 1  # a thousand names cannot show it

    def test_too_few_specimens_tell_nothing(self) -> None:
        ones = np.ones((98, 1), np.float32)
        assert safe_threshold(ones, ones, 0.01) > 1
        assert safe_threshold(np.ones((99, 1), np.float32), np.ones((99, 1), np.float32), 0.01) == 1
        nothing = np.full((50, 3), np.nan, np.float32)
        assert safe_threshold(nothing, nothing, 0.5) > 1
        assert safe_threshold(nothing[:0], nothing[:0], 0.5) > 1

    def test_the_bound_holds_for_new_species_and_for_others(self) -> None:
        draw = np.random.default_rng(0)
        probabilities = draw.uniform(0.5, 1, (2000, 1)).astype(np.float32)
        novel = (np.arange(2000) < 400).astype(np.float32)
        # Names of new species are wrong more often than their probability says.
        chance = np.where(novel == 1, 0.1, 0.01) * (1 - probabilities[:, 0]) * 2
        right = (draw.random(2000) >= chance)[:, None].astype(np.float32)
        for_all, for_both = (safe_threshold(probabilities, right, 0.02, groups) for groups in (None, novel))
        assert bound(probabilities, right, for_all)[2] <= 0.02
        assert bound(probabilities[:400], right[:400], for_all)[2] > 0.02
        assert for_all < for_both <= 1
        assert bound(probabilities[:400], right[:400], for_both)[2] <= 0.02
        # Of a group that is too small to show it, it is not asked.
        few = np.where(np.arange(2000) < 10, novel, 0).astype(np.float32)
        assert safe_threshold(probabilities[390:], right[390:], 0.02, few[390:]) <= 1

    @pytest.mark.parametrize("max_error", [0, 1, -0.1, 1.5, math.nan])
    def test_the_error_must_be_a_share(self, max_error: float) -> None:
        with pytest.raises(ValueError, match="`max_error` must be between 0 and 1"):
            safe_threshold(*made_probabilities(10), max_error)


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
