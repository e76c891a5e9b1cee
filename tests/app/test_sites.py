import re

import numpy as np
import pytest

from bioscan_hf.app.sites import Site, land_svg, sites_svg
from bioscan_hf.data.pictures import NORTH, SOUTH, equal_earth
from tests.app.made_app import hostile


def dots(svg: str) -> list[tuple[float, float, str]]:
    """Middle and label of each."""
    found = re.findall(r'<text x="([\d.-]+)" y="([\d.-]+)">(.*?)</text>', svg)
    return [(float(x), float(y) - 4.9, label) for x, y, label in found]


def size() -> tuple[float, float]:
    box = re.search(r'viewBox="0 0 (\d+) (\d+)"', sites_svg([Site(0, 0, "1", "")]))
    assert box is not None
    return float(box[1]), float(box[2])


@pytest.mark.parametrize(("latitude", "longitude"), [(0, 0), (52, 13), (-33, 151), (9.5, -84), (70, -170)])
def test_a_dot_is_where_the_projection_says(latitude: float, longitude: float) -> None:
    width, height = size()
    corners = equal_earth(np.array([-180.0, 180, 0, 0]), np.array([0.0, 0, NORTH, SOUTH]))
    (x, y), _ = equal_earth(np.array([longitude, 0.0]), np.array([latitude, 0.0]))
    expected_x = width * (x - corners[0, 0]) / (corners[1, 0] - corners[0, 0])
    expected_y = height * (corners[2, 1] - y) / (corners[2, 1] - corners[3, 1])
    ((found_x, found_y, label),) = dots(sites_svg([Site(latitude, longitude, "1", "P1")]))
    assert found_x == pytest.approx(expected_x, abs=0.1) and found_y == pytest.approx(expected_y, abs=1)
    assert label == "1"


def test_neighbours_share_a_dot() -> None:
    sites = [Site(9.5, -84, "1", "P1"), Site(52, 13, "2", "P2"), Site(9.7, -83.9, "3", "P3")]
    svg = sites_svg(sites)
    assert [label for *_, label in dots(svg)] == ["1, 3", "2"] and "<title>P1; P3</title>" in svg


def test_the_query_is_apart() -> None:
    svg = sites_svg([Site(9.5, -84, "1", "P1"), Site(9.5, -84, "query", "the query", is_query=True)])
    assert [label for *_, label in dots(svg)] == ["1", "query"] and svg.count("bs-query-dot") == 1


def test_the_poles_are_on_the_map() -> None:
    width, height = size()
    for x, y, _ in dots(sites_svg([Site(90, 0, "1", ""), Site(-90, 180, "2", "")])):
        assert 0 <= x <= width and 0 <= y <= height + 0.5


def test_names_are_escaped() -> None:
    svg = sites_svg([Site(0, 0, hostile(), hostile())])
    assert "<script" not in svg and "<img" not in svg


def test_the_land_is_on_the_page_once_and_small() -> None:
    assert 'id="bs-land"' in land_svg() and len(land_svg()) < 60_000
    assert "bs-land" in sites_svg([Site(0, 0, "1", "")])
