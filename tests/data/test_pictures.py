import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from matplotlib.colors import to_hex
from PIL import Image

from bioscan_hf.data.pictures import barcode_lengths, category_sizes, equal_earth, save_pictures, site_map
from bioscan_hf.data.statistics import Statistics, compute_statistics

NAMES = ["taxonomy", "sites", "barcode_lengths", "category_sizes"]


@pytest.fixture(scope="module")
def statistics(sample: Dataset) -> Statistics:
    return compute_statistics(sample)


def test_every_picture_is_written(statistics: Statistics, tmp_path: Path) -> None:
    assert [picture.name for picture in save_pictures(statistics, tmp_path)] == NAMES
    for name in NAMES:
        pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
        assert min(pixels.shape) > 600 and pixels.std() > 5


def test_pictures_without_data_are_left_out(statistics: Statistics, tmp_path: Path) -> None:
    bare = replace(statistics, places=[], taxa=[(None, None, None, 5)])
    assert [picture.name for picture in save_pictures(bare, tmp_path)] == NAMES[2:]
    assert sorted(path.stem for path in tmp_path.iterdir()) == NAMES[2:]


def test_map_has_a_dot_for_each_place_the_largest_on_top(statistics: Statistics) -> None:
    figure = site_map(statistics.places, statistics.specimens)
    (dots,) = figure.axes[0].collections
    places = sorted(statistics.places, key=lambda place: place[2])
    expected = equal_earth(*np.array([(longitude, latitude) for latitude, longitude, _ in places]).T)
    assert np.allclose(np.asarray(dots.get_offsets()), expected)
    assert np.asarray(dots.get_array()).tolist() == [count for *_, count in places]
    assert "66 without coordinates" in " ".join(text.get_text() for text in figure.texts)


def test_projection_keeps_areas() -> None:
    # The Jacobian of an equal-area projection of the unit sphere is cos(latitude).
    latitudes, longitudes, step = (
        np.array([-80.0, -33.0, 0.0, 51.0, 70.0]),
        np.array([-170.0, 3.0, 40.0, 90.0, 179.0]),
        1e-3,
    )
    east = (equal_earth(longitudes + step, latitudes) - equal_earth(longitudes - step, latitudes)) / np.radians(
        2 * step
    )
    north = (equal_earth(longitudes, latitudes + step) - equal_earth(longitudes, latitudes - step)) / np.radians(
        2 * step
    )
    area = east[:, 0] * north[:, 1] - east[:, 1] * north[:, 0]
    assert np.allclose(area, np.cos(np.radians(latitudes)), rtol=1e-4)
    assert equal_earth(np.zeros(1), np.zeros(1)).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("lengths", [[(658, 9)], [(300, 1), (657, 20), (658, 70), (1500, 2)]])
def test_bars_hold_all_barcodes(statistics: Statistics, lengths: list[tuple[int, int]]) -> None:
    figure = barcode_lengths(replace(statistics, barcodes=replace(statistics.barcodes, lengths=lengths)))
    bars = [bar.get_height() for bar in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert sum(bars) == sum(count for _, count in lengths)
    assert "have 658 nucleotides" in figure.axes[0].get_title(loc="right")


def test_lines_give_the_size_of_each_category(statistics: Statistics) -> None:
    figure = category_sizes(statistics)
    order = next(rank for rank in statistics.ranks if rank.rank == "order")
    line = next(line for line in figure.axes[0].get_lines() if line.get_label() == f"order ({order.categories})")
    sizes = [size for size, count in order.category_sizes for _ in range(count)]
    places, heights = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert np.interp(np.arange(1, len(sizes) + 1), places, heights).tolist() == sizes
    assert len({to_hex(line.get_color()) for line in figure.axes[0].get_lines()}) == 9


def test_land_is_closed_rings_that_never_jump() -> None:
    land = json.loads((files("bioscan_hf.data") / "land.json").read_text(encoding="utf-8"))
    assert "Natural Earth" in land["source"] and land["licence"] == "public domain"
    rings = [np.array(ring) for polygon in land["polygons"] for ring in polygon]
    assert len(rings) > 100 and all((ring[0] == ring[-1]).all() for ring in rings)
    assert max(np.abs(np.diff(ring[:, 0])).max() for ring in rings) < 20
    areas = [
        np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2 for x, y in ((r[:, 0], np.sin(np.radians(r[:, 1]))) for r in rings)
    ]
    # Land without Antarctica covers 26 % of the globe (135 of 510 million square kilometres).
    assert abs(sum(areas)) / 720 == pytest.approx(0.263, abs=0.01)
