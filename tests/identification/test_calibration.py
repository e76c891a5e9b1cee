import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from bioscan_hf.identification.calibration import Logistic, rank_probabilities, safe_ranks, safe_threshold

Floats = NDArray[np.float32]


def made_events(count: int, *, seed: int = 0) -> tuple[Floats, NDArray[np.bool_]]:
    """Features on very different scales, the last without meaning, and events by the first two."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(count, 3)) * [1, 1000, 1] + [0, 5000, 7]
    logits = 2 * features[:, 0] + (features[:, 1] - 5000) / 1000 + 1
    return features.astype(np.float32), draw.random(count) < 1 / (1 + np.exp(-logits))


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


class TestLogistic:
    def test_it_finds_what_events_depend_on(self) -> None:
        features, events = made_events(20_000)
        found = Logistic.fit(features, events)
        assert found.weights == pytest.approx((2, 0.001, 0), abs=0.1)
        fresh, happened = made_events(20_000, seed=1)
        probabilities = found(fresh)
        for low in np.arange(0, 1, 0.1):
            inside = (probabilities >= low) & (probabilities < low + 0.1)
            assert happened[inside].mean() == pytest.approx(probabilities[inside].mean(), abs=0.04)

    def test_it_is_the_regression_of_scikit_learn(self) -> None:
        features, events = made_events(200)
        mean, scale = features.mean(axis=0), features.std(axis=0)
        expected = LogisticRegression().fit((features - mean) / scale, events).predict_proba((features - mean) / scale)
        np.testing.assert_allclose(Logistic.fit(features, events)(features), expected[:, 1], atol=1e-3)

    @pytest.mark.parametrize(("happened", "expected"), [(0, 1 / 10), (8, 9 / 10)])
    def test_where_all_is_equal_the_rule_of_laplace(self, happened: int, expected: float) -> None:
        features, _ = made_events(8)
        found = Logistic.fit(features, np.arange(8) < happened)
        assert found(features) == pytest.approx(expected)

    def test_a_feature_that_is_the_same_for_all_says_nothing(self) -> None:
        features, events = made_events(200)
        features[:, 2] = 0.1
        found = Logistic.fit(features, events)
        assert found.weights[2] == 0
        assert np.isfinite(found(features)).all()

    def test_far_from_all_it_is_still_a_probability(self) -> None:
        found = Logistic((1e6,), 0.0)
        values: Any = np.array([[-1e6], [0], [1e6]], np.float32)
        assert found(values).tolist() == pytest.approx([0, 0.5, 1])

    def test_as_json(self) -> None:
        features, events = made_events(200)
        found = Logistic.fit(features, events)
        again = Logistic.from_json(json.loads(json.dumps(found.to_json())))
        assert again == found and (again(features) == found(features)).all()
        assert found(features[:0]).shape == (0,)


class TestRankProbabilities:
    def test_they_never_rise_from_broad_to_fine(self) -> None:
        draw = np.random.default_rng(0)
        names = draw.integers(-1, 3, (200, 4))
        features = draw.normal(size=(200, 4, 2)).astype(np.float32)
        models = [Logistic((1.0, 1.0), 0.0), None, Logistic((3.0, 0.0), 1.0), Logistic((0.0, 2.0), 0.0)]
        found = rank_probabilities(names, features, models)
        for row in range(200):
            least = 1.0
            for rank, model in enumerate(models):
                if names[row, rank] < 0 or model is None:
                    assert math.isnan(found[row, rank])
                    continue
                least = min(least, float(model(features[row : row + 1, rank])[0]))
                assert found[row, rank] == pytest.approx(least, abs=1e-6)


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
