"""The neighbours that are compared are the nearest."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module("knn")


def test_every_way_finds_what_a_plain_search_finds(program: Any, tmp_path: Path) -> None:
    sizes = program.Sizes(keys=300, queries=7, width=8, clusters=20)
    keys, queries = program.made_vectors(sizes, seed=0)
    np.testing.assert_allclose(np.linalg.norm(keys, axis=1), 1, atol=1e-6)
    nearest = np.argsort(-(queries @ keys.T), axis=1)[:, :3]
    for way in program.WAYS:
        found = program.run(way, 3, sizes, str(tmp_path))
        assert found["found"].shape == (7, 3) and found["cpu"] >= 0
        assert program._shared(found["found"], nearest) == 1
