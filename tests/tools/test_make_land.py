import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Three arcs of whole degrees, as differences: a square whose second half is stored backwards, and a strip from 170 to
# 190 degrees east, stored as the atlas does: on the other side it goes on at -180.
ARCS = [
    [[10, 10], [10, 0], [0, 10]],
    [[10, 10], [0, 10], [10, 0]],
    [[170, 0], [10, 0], [-360, 0], [10, 0], [0, 4], [-10, 0], [360, 0], [-10, 0], [0, -4]],
    [[0, -70], [5, 0], [0, 5], [-5, -5]],
]
TOPOLOGY = {
    "transform": {"scale": [1, 1], "translate": [0, 0.04]},
    "objects": {"land": {"geometries": [{"type": "MultiPolygon", "arcs": [[[0, ~1]], [[2]], [[3]]]}]}},
    "arcs": ARCS,
}


def run(topology: Path, output: Path) -> dict:
    command = [sys.executable, str(ROOT / "tools" / "make_land.py"), str(topology), str(output)]
    subprocess.run(command, check=True)
    return json.loads(output.read_text(encoding="utf-8"))


def test_arcs_are_joined_cut_and_rounded(tmp_path: Path) -> None:
    (tmp_path / "land.json").write_text(json.dumps(TOPOLOGY))
    land = run(tmp_path / "land.json", tmp_path / "out.json")
    square, *strip = land["polygons"]
    assert square == [[[10, 10], [20, 10], [20, 20], [10, 20], [10, 10]]]
    corners = sorted(sorted({tuple(point) for point in ring}) for (ring,) in strip)
    west, east = ([(x, y) for x in side for y in (0.0, 4.0)] for side in ((-180.0, -170.0), (170.0, 180.0)))
    assert corners == [west, east]
    assert all(ring[0] == ring[-1] for (ring,) in land["polygons"])


def test_shipped_outline_says_where_it_is_from() -> None:
    land = json.loads((files("bioscan_hf.data") / "land.json").read_text(encoding="utf-8"))
    assert "world-atlas" in land["source"] and land["licence"] == "public domain"
