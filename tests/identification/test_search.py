import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bioscan_hf.identification import search
from bioscan_hf.identification.search import CellIndex, ExactIndex


def made_vectors(count: int, dimension: int = 16, *, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of length 1 in clusters."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(20, dimension))
    vectors = centres[draw.integers(0, 20, count)] + 0.3 * draw.normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


KEYS, QUERIES = made_vectors(500), made_vectors(60, seed=1)


def naive(queries: NDArray[np.float32], keys: NDArray[np.float32], k: int) -> tuple[list[list[int]], list[list[float]]]:
    found, values = [], []
    for query in queries.astype(np.float64):
        cosines = [round(float(query @ key), 5) for key in keys.astype(np.float64)]
        order = sorted(range(len(keys)), key=lambda key: (-cosines[key], key))[:k]
        found.append(order)
        values.append([cosines[key] for key in order])
    return found, values


def test_the_most_similar_of_all() -> None:
    found, cosines = ExactIndex(torch.from_numpy(KEYS)).search(QUERIES, 7)
    expected, values = naive(QUERIES, KEYS, 7)
    assert (found == expected).mean() > 0.99  # rounding may swap two
    np.testing.assert_allclose(cosines, values, atol=2e-5)
    assert found.dtype == np.int64 and cosines.dtype == np.float32


def test_keys_that_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_KEYS", 33)
    without = np.random.default_rng(0).random(len(KEYS)) < 0.6
    without[:66] = True  # two whole parts
    found, cosines = ExactIndex(torch.from_numpy(KEYS)).search(QUERIES, 30, without=without)
    kept = np.flatnonzero(~without)
    expected, values = ExactIndex(torch.from_numpy(KEYS[kept])).search(QUERIES, 30)
    assert (found == kept[expected]).mean() > 0.99
    np.testing.assert_allclose(cosines, values, atol=2e-5)
    without[kept[3:]] = True
    assert (np.sort(ExactIndex(torch.from_numpy(KEYS)).search(QUERIES, 30, without=without)[0]) == kept[:3]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_in_parts_as_in_one(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    index = ExactIndex(torch.from_numpy(KEYS).to(dtype))
    whole = index.search(QUERIES, 20)
    monkeypatch.setattr(search, "_KEYS", 33)
    monkeypatch.setattr(search, "_SIMILARITIES", 200)
    parts = index.search(QUERIES, 20)
    assert (parts[0] == whole[0]).mean() > 0.999
    np.testing.assert_allclose(parts[1], whole[1], atol=2e-5)


def test_the_answer_does_not_depend_on_the_other_queries() -> None:
    # Each key twice: the order of equal ones must not depend on rounding.
    keys = made_vectors(367, 384)
    index = ExactIndex(torch.from_numpy(np.concatenate([keys, keys])))
    queries = keys[:200]
    together = index.search(queries, 10)
    alone = [index.search(query[None], 10) for query in queries]
    assert (together[0] == np.concatenate([keys for keys, _ in alone])).mean() > 0.999
    assert (together[0][:, 0] == np.arange(200)).all() and (together[0][:, 1] == np.arange(367, 567)).all()


def test_float16_is_nearly_the_same() -> None:
    exact, half = (ExactIndex(torch.from_numpy(KEYS).to(dtype)) for dtype in (torch.float32, torch.float16))
    (keys, cosines), (others, rounded) = exact.search(QUERIES, 5), half.search(QUERIES, 5)
    np.testing.assert_allclose(rounded, cosines, atol=1e-3)
    assert (keys[:, 0] == others[:, 0]).mean() > 0.9


@pytest.mark.parametrize("count", [1, 3])
def test_fewer_keys_than_asked_for(count: int) -> None:
    found, cosines = ExactIndex(torch.from_numpy(KEYS[:count])).search(QUERIES, 20)
    assert found.shape == cosines.shape == (60, count)
    assert (np.sort(found, axis=1) == np.arange(count)).all()


def test_no_queries() -> None:
    found, cosines = ExactIndex(torch.from_numpy(KEYS)).search(QUERIES[:0], 5)
    assert found.shape == cosines.shape == (0, 5)


class TestCells:
    @pytest.fixture(autouse=True)
    def needs_faiss(self) -> None:
        pytest.importorskip("faiss")

    def test_they_find_nearly_the_same(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        keys, queries = made_vectors(4000), made_vectors(100, seed=1)
        index = CellIndex.build(torch.from_numpy(keys))
        index.save(tmp_path / "cells")
        exact, cosines = ExactIndex(torch.from_numpy(keys)).search(queries, 10)
        recall = {}
        for probed in (1, 100):
            monkeypatch.setattr(search, "_PROBED", probed)
            found, values = CellIndex.load(tmp_path / "cells").search(queries, 10)
            assert found.dtype == np.int64 and (np.diff(values, axis=1) <= 0).all()
            recall[probed] = np.mean([len({*a} & {*b}) / 10 for a, b in zip(exact, found, strict=True)])
            if probed == 100:
                np.testing.assert_allclose(values[:, 0], cosines[:, 0], atol=2e-3)
        assert recall[1] < recall[100]
        assert recall[100] > 0.95

    def test_keys_that_are_passed_over(self) -> None:
        index, without = CellIndex.build(torch.from_numpy(KEYS)), np.arange(len(KEYS)) % 3 > 0
        index._probed = 100
        found, cosines = index.search(QUERIES, 10, without=without)
        expected, values = ExactIndex(torch.from_numpy(KEYS)).search(QUERIES, 10, without=without)
        assert (found % 3 == 0).all() and (found[:, 0] == expected[:, 0]).mean() > 0.95
        np.testing.assert_allclose(cosines, values, atol=2e-3)
        few = np.arange(len(KEYS)) != 7
        found, cosines = index.search(QUERIES, 10, without=few)
        assert (found == 7).all() and (cosines[:, 0] > -1).all() and (cosines[:, 1:] == -1).all()

    def test_a_thread_of_several_has_no_threads_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        index = CellIndex.build(torch.from_numpy(KEYS))
        told: list[int] = []
        monkeypatch.setattr(index._faiss, "omp_set_num_threads", told.append)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
        index.search(QUERIES, 1)
        assert told == [1]

    def test_where_there_are_not_enough_keys(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        CellIndex.build(torch.from_numpy(made_vectors(400))).save(tmp_path / "cells")
        monkeypatch.setattr(search, "_PROBED", 1)
        found, cosines = CellIndex.load(tmp_path / "cells").search(QUERIES, 300)
        assert ((found >= 0) & (found < 400)).all()
        missing = cosines == -1
        assert missing.any() and not missing[:, 0].any()
        for keys, absent in zip(found, missing, strict=True):
            assert len(set(keys[~absent].tolist())) == (~absent).sum()
            assert set(keys[absent].tolist()) <= set(keys[~absent].tolist())

    @pytest.mark.parametrize("count", [1, 3])
    def test_few_keys(self, tmp_path: Path, count: int) -> None:
        CellIndex.build(torch.from_numpy(KEYS[:count]).half()).save(tmp_path / "cells")
        found, _ = CellIndex.load(tmp_path / "cells").search(QUERIES, 20)
        assert (np.sort(found, axis=1) == np.arange(count)).all()

    def test_the_same_vectors_make_the_same_file(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            CellIndex.build(torch.from_numpy(KEYS)).save(tmp_path / name)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()

    def test_a_damaged_file(self, tmp_path: Path) -> None:
        CellIndex.build(torch.from_numpy(KEYS)).save(tmp_path / "cells")
        (tmp_path / "cells").write_bytes((tmp_path / "cells").read_bytes()[:100])
        with pytest.raises(OSError, match=r"cells' cannot be read .* build the library again"):
            CellIndex.load(tmp_path / "cells")


def test_without_faiss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(OSError, match=r"needs faiss: `pip install 'bioscan-hf\[index\]'`"):
        CellIndex.build(torch.from_numpy(KEYS)).save(tmp_path / "cells")
    with pytest.raises(OSError, match="needs faiss"):
        CellIndex.load(tmp_path / "cells")
