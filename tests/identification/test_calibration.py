import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from bioscan_hf.identification.calibration import Logistic, rank_probabilities

Floats = NDArray[np.float32]


def made_events(count: int, *, seed: int = 0) -> tuple[Floats, NDArray[np.bool_]]:
    """Features on very different scales, the last without meaning, and events by the first two."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(count, 3)) * [1, 1000, 1] + [0, 5000, 7]
    logits = 2 * features[:, 0] + (features[:, 1] - 5000) / 1000 + 1
    return features.astype(np.float32), draw.random(count) < 1 / (1 + np.exp(-logits))


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
