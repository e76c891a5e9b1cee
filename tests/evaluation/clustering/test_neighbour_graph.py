import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from bioscan_hf.evaluation.clustering.neighbour_graph import nearest_rows


def with_repeats(count: int, seed: int, distinct: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(3, 1, (distinct, 5)).astype(np.float32)[random.integers(0, distinct, count)]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99), st.data())
def test_equals_a_search_by_hand(count: int, distinct: int, seed: int, data: st.DataObject) -> None:
    vectors = with_repeats(count, seed, distinct)
    wanted = data.draw(st.integers(1, count))
    rows, distances = nearest_rows(vectors, wanted, block_size=data.draw(st.integers(1, 50)))
    assert rows.dtype == np.int32 and distances.dtype == np.float32 and rows.shape == (count, wanted)
    assert rows[:, 0].tolist() == list(range(count))
    assert all(len(set(row)) == wanted for row in rows.tolist())
    truth = cdist(vectors.astype(np.float64), vectors.astype(np.float64))
    np.testing.assert_allclose(distances, np.sort(truth, axis=1)[:, :wanted], atol=1e-5)
    np.testing.assert_allclose(distances, np.take_along_axis(truth, rows.astype(np.int64), axis=1), atol=1e-5)


def test_equal_vectors_take_turns() -> None:
    vectors = np.array([[0.0], [5], [0], [0], [5]], np.float32)
    rows, distances = nearest_rows(vectors, 4)
    assert rows.tolist() == [[0, 2, 3, 1], [1, 4, 0, 2], [2, 3, 0, 4], [3, 0, 2, 1], [4, 1, 2, 3]]
    assert distances.tolist() == [[0, 0, 0, 5], [0, 0, 5, 5], [0, 0, 0, 5], [0, 0, 0, 5], [0, 0, 5, 5]]


@pytest.mark.parametrize("wanted", [2, 5])
def test_equal_vectors_are_in_one_piece_whose_members_are_neighbours_equally_often(wanted: int) -> None:
    rows, _ = nearest_rows(np.ones((50, 3), np.float32), wanted)
    graph = coo_array((np.ones(rows.size), (np.repeat(np.arange(50), wanted), rows.ravel())), shape=(50, 50))
    assert connected_components(graph, directed=False)[0] == 1
    assert np.bincount(rows.ravel()).tolist() == [wanted] * 50


def test_near_vectors_far_from_the_origin_are_told_apart() -> None:
    # Their squares are 1e8, in float32 steps of 8.
    line = (1e4 + np.arange(12)[:, None] * [[1, 0]]).astype(np.float32)
    rows, distances = nearest_rows(line, 2)
    assert distances[:, 1].tolist() == [1] * 12
    assert all(abs(row - neighbour) == 1 for row, neighbour in rows.tolist())
