import numpy as np

from bioscan_hf.evaluation.unit_length import unit_length


def test_vectors_get_length_1_in_their_direction_and_zeros_stay() -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    vectors[2] = 0
    scaled = unit_length(vectors)
    naive = [vector / np.sqrt((vector**2).sum()) if vector.any() else vector for vector in vectors]
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, naive, rtol=1e-6)
