"""The ways of the benchmark of batches of three modalities make the same views; test_run.py runs it."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module("multimodal_loading")


def test_plain_way_makes_the_view_that_the_collator_makes(program: Any) -> None:
    files = list(program.jpegs(2, 3))
    ours = next(program._collated(program._ours(0), files))
    plain = next(program._batches(program._with_pillow, files))
    assert plain.shape == ours.shape
    # Flips, angles and boxes are the same; pixels at the edges of the crop differ.
    assert (plain - ours).abs().mean() < 0.02 < (plain - ours.flip(-1)).abs().mean()
