"""The benchmark of batches of three modalities runs, and its ways make the same views."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module("multimodal_loading")


def test_page_has_every_way(program: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["multimodal_loading.py", "--images", "4", "--rounds", "1", "--output", str(tmp_path)]
    )
    program.main()
    page = (tmp_path / "multimodal_loading.md").read_text()
    assert "--images 4 --rounds 1" in page
    assert page.count("\n|") >= 2 + len(program.measure(2, 1, 0)[1])


def test_plain_way_makes_the_view_that_the_collator_makes(program: Any) -> None:
    files = list(program.jpegs(2, 3))
    ours = next(program._collated(program._ours(0), files))
    plain = next(program._batches(program._with_pillow, files))
    assert plain.shape == ours.shape
    # Flips, angles and boxes are the same; pixels at the edges of the crop differ.
    assert (plain - ours).abs().mean() < 0.02 < (plain - ours.flip(-1)).abs().mean()
