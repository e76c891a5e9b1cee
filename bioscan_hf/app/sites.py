"""A map of the world with the places where some specimens were collected, as SVG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioscan_hf.data.pictures import NORTH, SOUTH, equal_earth

_WIDTH = 720
_RADIUS = 12


class Site(NamedTuple):
    """A place on the map.

    Attributes:
        latitude: In degrees.
        longitude: In degrees.
        label: What is written on the dot: one or two letters.
        title: What is told when it is pointed at.
        is_query: Whether it is that of the query.
    """

    latitude: float
    longitude: float
    label: str
    title: str
    is_query: bool = False


def sites_svg(sites: Sequence[Site]) -> str:
    """Draw a map with a dot for each place; the land is that of `land_svg`, which the page needs once.

    Args:
        sites: Those at nearly the same place share a dot; the last ones are on top.
    """
    dots: list[tuple[NDArray[np.float64], list[Site]]] = []
    for site in sites:
        place = _to_page(np.array([site.longitude]), np.array([site.latitude]))[0]
        for other, here in dots:
            if site.is_query == here[0].is_query and np.hypot(*(other - place)) < 1.5 * _RADIUS:
                here.append(site)
                break
        else:
            dots.append((place, [site]))
    named = ", ".join(site.title for site in sites)
    return (
        f'<svg class="bs-map" viewBox="0 0 {_WIDTH} {_height()}" role="img" aria-label="Map of the world: '
        f'{escape(named)}"><use href="#bs-land"/>{"".join(_dot(place, here) for place, here in dots)}</svg>'
    )


def _dot(place: NDArray[np.float64], here: Sequence[Site]) -> str:
    x, y = place
    label = ", ".join(site.label for site in here)
    title = "; ".join(site.title for site in here)
    width = max(2 * _RADIUS, 7.8 * len(label) + 10)
    kind = "bs-query-dot" if here[0].is_query else "bs-dot"
    return (
        f'<g class="{kind}"><title>{escape(title)}</title><rect x="{x - width / 2:.1f}" y="{y - _RADIUS:.1f}" '
        f'width="{width:.1f}" height="{2 * _RADIUS}" rx="{_RADIUS}"/>'
        f'<text x="{x:.1f}" y="{y + 4.9:.1f}">{escape(label)}</text></g>'
    )


@cache
def land_svg() -> str:
    """Sea and land, invisible by themselves, for the maps of a page (Natural Earth)."""
    edge = np.linspace(SOUTH, NORTH, 30)
    west, east = (_to_page(np.full(30, side), edge) for side in (-180.0, 180.0))
    land = json.loads((files("bioscan_hf.data") / "land.json").read_text(encoding="utf-8"))
    rings = [_to_page(*np.array(ring).T) for polygon in land["polygons"] for ring in polygon]
    return (
        '<svg width="0" height="0" style="position: absolute" aria-hidden="true"><symbol id="bs-land" '
        f'viewBox="0 0 {_WIDTH} {_height()}"><path class="bs-sea" d="{_path(np.concatenate([west, east[::-1]]))}"/>'
        f'<path class="bs-land" fill-rule="evenodd" d="{"".join(map(_path, rings))}"/></symbol></svg>'
    )


def _path(points: NDArray[np.float64]) -> str:
    """A closed line, each point relative to the one before, in tenths: half as long as with absolute ones."""
    tenths = np.round(points * 10).astype(int)
    steps = np.diff(tenths, axis=0) / 10
    x, y = tenths[0] / 10
    return f"M{x:g} {y:g}l" + " ".join(f"{dx:g} {dy:g}" for dx, dy in steps) + "z"


def _to_page(longitudes: NDArray[np.float64], latitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2): places on the map, in its units, from its upper left corner; beyond its edges, on them."""
    west, north, scale = _frame()
    places = equal_earth(longitudes, np.clip(latitudes, SOUTH, NORTH))
    return np.column_stack([(places[:, 0] - west) * scale, (north - places[:, 1]) * scale])


@cache
def _frame() -> tuple[float, float, float]:
    """West and north edge in radii of the Earth, and units in a radius."""
    east = float(equal_earth(np.array([180.0]), np.array([0.0]))[0, 0])
    north = float(equal_earth(np.array([0.0]), np.array([NORTH]))[0, 1])
    return -east, north, _WIDTH / (2 * east)


@cache
def _height() -> int:
    south = float(equal_earth(np.array([0.0]), np.array([SOUTH]))[0, 1])
    return round((_frame()[1] - south) * _frame()[2])
