import numpy as np
import pytest

from bioscan_hf.identification.novelty import NOVELTY_FEATURES, novelty_features
from bioscan_hf.identification.votes import Neighbours, count_votes


def test_features_are_of_the_nearest_key_and_the_votes_for_the_species() -> None:
    neighbours = Neighbours(
        np.array([[0, 1, 2]]), np.array([[0.9, 0.89, 0.5]], np.float32), np.array([[0.95, 0.97, 0.6]], np.float32)
    )
    # The nearest key has no species.
    labels = np.array([[0, -1], [0, 1], [0, 0]], np.int32)
    evidence = count_votes(neighbours, labels, np.ones(3, np.float32))
    found = dict(zip(NOVELTY_FEATURES, novelty_features(neighbours, evidence)[0].tolist(), strict=True))
    expected = {"similarity": 0.9, "identity": 0.95, "divergence": np.log(6), "share": 1, "margin": 0.39}
    assert found == pytest.approx(expected, abs=1e-5)
    by_image = novelty_features(neighbours._replace(identities=None), evidence)[0].tolist()
    assert by_image == pytest.approx([0.9, 0, 0, 1, 0.39], abs=1e-5)
