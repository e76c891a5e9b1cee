from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bioscan_hf.app import points as module
from bioscan_hf.app.points import UMAP, library_points
from bioscan_hf.identification.library import Library
from tests.identification.made_library import library, non_coi, specimens, with_barcodes


class Layout:
    """Stands in for UMAP, whose compilation takes many seconds: some columns of the vectors."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, vectors: NDArray[np.float32], settings: object, *, seed: int) -> NDArray[np.float32]:
        self.calls += 1
        assert settings == UMAP and seed == 0
        return vectors[:, 5:7] * np.array([1, 9], np.float32) + 3


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch) -> Layout:
    made = Layout()
    monkeypatch.setattr(module, "reduce", made)
    return made


def distances(places: NDArray[Any]) -> NDArray[Any]:
    return np.linalg.norm(places[:, None] - places[None], axis=2)


def test_the_layout_is_turned_and_scaled(layout: Layout, tmp_path: Path) -> None:
    points = library_points(library(), tmp_path)
    assert points.keys.tolist() == list(range(len(library().keys.first))) and points.total == len(points.keys)
    wide, high = np.ptp(points.places, axis=0)
    assert points.places.min(axis=0) == pytest.approx([0, 0]) and wide == pytest.approx(1) and 0 < high <= wide
    before = distances(layout(library().vectors.numpy(), UMAP, seed=0))
    after = distances(points.places)
    assert after * before.max() == pytest.approx(before * after.max(), abs=1e-4)


def test_a_layout_is_computed_once(layout: Layout, tmp_path: Path) -> None:
    first = library_points(library(), tmp_path)
    again = library_points(library(), tmp_path)
    assert layout.calls == 1 and np.array_equal(first.places, again.places)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert np.array_equal(library_points(library(), tmp_path).places, first.places) and layout.calls == 2
    np.save(file, np.zeros((3, 2), np.float32))
    assert np.array_equal(library_points(library(), tmp_path).places, first.places) and layout.calls == 3


def test_a_cache_that_cannot_be_written_is_no_hindrance(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert len(library_points(library(), tmp_path / "file" / "maps").keys) and layout.calls == 1


def test_another_library_has_another_layout(layout: Layout, tmp_path: Path) -> None:
    library_points(library(), tmp_path)
    library_points(library().add(specimens("val", 12)), tmp_path)
    assert layout.calls == 2 and len(list(tmp_path.iterdir())) == 2


def test_of_many_keys_some_are_drawn_at_random(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_POINTS", 50)
    points = library_points(library(), tmp_path)
    assert len(points.keys) == 50 and points.total == len(library().keys.first)
    assert (np.diff(points.keys) > 0).all() and points.keys[-1] > 200
    assert np.array_equal(points.keys, library_points(library(), tmp_path).keys)


def test_what_does_not_fit_the_gene_is_not_drawn(layout: Layout, tmp_path: Path) -> None:
    added = with_barcodes(specimens("val", 3), [non_coi(), specimens("val", 3)[1]["dna_barcode"], None])
    grown = library().add(added)
    old = len(library().keys.first)
    assert library_points(grown, tmp_path).keys.tolist() == [*range(old), old + 1]


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_few_specimens_need_no_umap(count: int, layout: Layout, tmp_path: Path) -> None:
    points = library_points(Library.build(specimens("train", count)), tmp_path)
    assert points.method == "principal components" and not layout.calls and not list(tmp_path.iterdir())
    assert points.places.shape == (len(points.keys), 2) and np.isfinite(points.places).all()
    if len(points.keys) > 1:
        assert np.ptp(points.places, axis=0).max() == pytest.approx(1)


@pytest.mark.slow  # numba compiles UMAP in 20 seconds
def test_umap_brings_orders_together(tmp_path: Path) -> None:
    points = library_points(library(), tmp_path)
    apart = distances(points.places) + np.diag(np.full(len(points.keys), np.inf))
    orders = library().keys.labels[points.keys, 2]
    assert points.method == "UMAP" and (orders[apart.argmin(axis=1)] == orders).mean() > 0.95
