from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bioscan_hf.evaluation.neighbours import nearest, nearest_k


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


@pytest.mark.parametrize("block_size", [1, 7, None])
@pytest.mark.parametrize("k", [1, 2, 9, 50])
def test_k_neighbours_equal_a_search_one_by_one(k: int, block_size: int | None) -> None:
    keys, queries = unit_vectors(50, 8, 0), unit_vectors(30, 8, 1)
    indices, similarities = nearest_k(keys, queries, k, block_size=block_size)
    assert indices.shape == similarities.shape == (30, k) and indices.dtype == np.int64
    for query, found, values in zip(queries, indices, similarities, strict=True):
        scores = keys @ query
        assert found.tolist() == np.argsort(-scores)[:k].tolist()
        np.testing.assert_allclose(values, scores[found], atol=1e-6)


def test_one_of_k_neighbours_is_the_nearest() -> None:
    keys, queries = unit_vectors(40, 5, 2), unit_vectors(20, 5, 3)
    np.testing.assert_array_equal(nearest_k(keys, queries, 4)[0][:, 0], nearest(keys, queries)[0])


def test_ties_go_to_the_lowest_indices_also_where_not_all_have_a_place() -> None:
    # To the first axis keys 1 and 4 are the nearest; then 0, 2, 3 and 6 are equal, and two of them have a place.
    keys = np.array([[3, 4], [1, 0], [3, -4], [3, 4], [1, 0], [0, 1], [3, -4]], np.float32)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    indices, similarities = nearest_k(keys, np.array([[1, 0], [-1, 0]], np.float32), 4)
    assert indices.tolist() == [[1, 4, 0, 2], [5, 0, 2, 3]]
    np.testing.assert_allclose(similarities, [[1, 1, 0.6, 0.6], [0, -0.6, -0.6, -0.6]], atol=1e-6)


# A matrix product alone rounds equal columns differently: without care some of these ties went to a later key.
@pytest.mark.parametrize("block_size", [1, 3, None])
def test_equal_keys_are_ties_whatever_the_rounding(block_size: int | None) -> None:
    draw = np.random.default_rng(0)
    for seed, width in enumerate(draw.integers(3, 800, size=40)):
        group = draw.integers(0, 20, size=103)
        keys, queries = unit_vectors(20, width, seed)[group], unit_vectors(9, width, seed + 100)
        first = [int(np.flatnonzero(group == g)[0]) for g in group]
        found, _ = nearest(keys, queries, block_size=block_size)
        assert found.tolist() == [first[i] for i in found]
        ranked, similarities = nearest_k(keys, queries, 30, block_size=block_size)
        for row, values in zip(ranked, similarities, strict=True):
            for g in set(group[row[:-1]]):
                members = row[group[row] == g]
                assert members.tolist() == np.flatnonzero(group == g)[: len(members)].tolist()
                assert len(set(values[group[row] == g].tolist())) == 1


def test_positive_and_negative_zero_are_equal() -> None:
    keys = np.array([[1, 0.0], [1, -0.0]], np.float32)
    assert nearest_k(keys, keys, 2)[0].tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("k", [0, 4])
def test_impossible_numbers_of_neighbours_are_refused(k: int) -> None:
    keys = unit_vectors(3, 4, 0)
    with pytest.raises(ValueError, match=f"at least 1 neighbour and at most as many as keys, 3; got {k}"):
        nearest_k(keys, keys, k)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(value: float) -> None:
    good, bad = unit_vectors(5, 4, 0), unit_vectors(5, 4, 0)
    bad[3:, 1] = value
    with pytest.raises(ValueError, match="finite keys; 2 of 5 are not, the first in row 3"):
        nearest(bad, good)
    with pytest.raises(ValueError, match="finite queries; 2 of 5 are not, the first in row 3"):
        nearest_k(good, bad, 2)


@pytest.mark.parametrize("block_size", [0, -1])
def test_block_size_out_of_range(block_size: int) -> None:
    keys = unit_vectors(3, 4, 0)
    with pytest.raises(ValueError, match=f"`block_size` must be at least 1; got {block_size}"):
        nearest(keys, keys, block_size=block_size)


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
