"""Make the outline of the continents that the map of collection sites is drawn on.

npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
python tools/make_land.py package/land-110m.json bioscan_hf/data/land.json
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

SOURCE = "Natural Earth 4.1.0, 1:110m land (naturalearthdata.com), from land-110m.json of the npm package world-atlas"
LICENCE = "public domain"
DECIMALS = 1
# Land that lies wholly south of this is Antarctica; the map ends before it.
SOUTHERN_LIMIT = -60

Ring = list[tuple[float, float]]


def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("topojson", type=Path, help="land-110m.json of world-atlas")
    parser.add_argument("output", type=Path, help="file to write")
    arguments = parser.parse_args()
    polygons = land_polygons(json.loads(arguments.topojson.read_text(encoding="utf-8")))
    head = json.dumps({"source": SOURCE, "licence": LICENCE, "polygons": []}, indent=0).removesuffix("[]\n}")
    # One polygon per line, so that a change can be read.
    lines = ",\n".join(json.dumps(polygon, separators=(",", ":")) for polygon in polygons)
    arguments.output.write_text(f"{head}[\n{lines}\n]\n}}\n", encoding="utf-8")


def land_polygons(topology: dict) -> list[list[Ring]]:
    """Decode the object `land` of a TopoJSON topology.

    Args:
        topology: Quantized topology, as its specification describes it: arcs hold differences of integers, and a ring
            names its arcs by number, `~number` for an arc that runs backwards.

    Returns:
        Polygons, each a list of rings (the outline, then holes) of longitude and latitude in degrees, rounded to
        `DECIMALS`. Those that cross the 180th meridian are cut there. Left out are Antarctica and what rounding leaves
        less than a triangle.
    """
    arcs = [_decode(arc, topology["transform"]) for arc in topology["arcs"]]
    polygons = [
        [ring for numbers in polygon if len(ring := _clip(_ring(numbers, arcs), shift)) > 3]
        for geometry in topology["objects"]["land"]["geometries"]
        for polygon in geometry["arcs"]
        for shift in (-360, 0, 360)
    ]
    return [polygon for polygon in polygons if polygon and max(y for _, y in polygon[0]) > SOUTHERN_LIMIT]


def _decode(arc: list[list[int]], transform: dict[str, list[float]]) -> Ring:
    (scale_x, scale_y), (shift_x, shift_y) = transform["scale"], transform["translate"]
    steps = itertools.accumulate(arc, lambda at, step: [at[0] + step[0], at[1] + step[1]])
    return [(x * scale_x + shift_x, y * scale_y + shift_y) for x, y in steps]


def _ring(numbers: list[int], arcs: list[Ring]) -> Ring:
    """Join arcs; longitudes go on beyond 180 degrees where the ring crosses that meridian."""
    ring: Ring = []
    for x, y in itertools.chain.from_iterable(arcs[n] if n >= 0 else arcs[~n][::-1] for n in numbers):
        ring.append((x + 360 * round((ring[-1][0] - x) / 360) if ring else x, y))
    return ring


def _clip(ring: Ring, shift: int) -> Ring:
    """The part between -180 and 180 degrees of a ring that is turned by `shift` degrees, rounded."""
    ring = [(x + shift, y) for x, y in ring]
    for side in (-1, 1):
        kept: Ring = []
        for (x0, y0), (x1, y1) in itertools.pairwise(ring):
            if side * x0 <= 180:
                kept.append((x0, y0))
            if (side * x0 - 180) * (side * x1 - 180) < 0:
                kept.append((side * 180, y0 + (y1 - y0) * (side * 180 - x0) / (x1 - x0)))
        ring = [*kept, *kept[:1]]
    rounded = [(round(x, DECIMALS), round(y, DECIMALS)) for x, y in ring]
    return [point for point, _ in itertools.groupby(rounded)]


if __name__ == "__main__":
    main()
