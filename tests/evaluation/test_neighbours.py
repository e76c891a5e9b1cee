from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bioscan_hf.evaluation.neighbours import nearest


def unit_vectors(count: int, width: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("block_size", [1, 7, 1000])
def test_equals_a_search_one_by_one(block_size: int) -> None:
    keys, queries = unit_vectors(50, 8, 0), unit_vectors(30, 8, 1)
    indices, similarities = nearest(keys, queries, block_size=block_size)
    for query, index, similarity in zip(queries, indices, similarities, strict=True):
        scores = [float(key @ query) for key in keys]
        assert index == int(np.argmax(scores)) and similarity == pytest.approx(max(scores), abs=1e-6)


def test_ties_go_to_the_lowest_index() -> None:
    keys = np.eye(3, dtype=np.float32)[[1, 0, 0, 1]]
    assert nearest(keys, keys)[0].tolist() == [0, 1, 1, 0]


def test_no_queries_is_no_error_but_no_keys_is() -> None:
    keys = unit_vectors(3, 4, 0)
    assert len(nearest(keys, keys[:0])[0]) == 0
    with pytest.raises(ValueError, match=r"K > 0; got \(0, 4\)"):
        nearest(keys[:0], keys)
    with pytest.raises(ValueError, match="Expected keys"):
        nearest(keys, unit_vectors(3, 5, 0))


def test_neighbours_equal_those_of_the_reference(shared: Path) -> None:
    outputs = load_file(shared / "parity" / "barcodebert" / "small_outputs.safetensors")
    vectors = outputs["pooled/gen3_masked_mean_one_by_one"]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    indices, similarities = nearest(unit[outputs["knn/train_rows"]], unit[outputs["knn/query_rows"]])
    np.testing.assert_array_equal(outputs["knn/train_rows"][indices], outputs["knn/neigh5_rows"][:, 0])
    np.testing.assert_array_equal(outputs["knn/train_labels"][indices], outputs["knn/pred_k1"])
    np.testing.assert_allclose(1 - similarities, outputs["knn/dist5"][:, 0], atol=1e-5)
