"""The benchmark of clustering runs, and its data are shaped as it says."""

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark in this process, and with features for the points of UMAP, which would take long to compile."""
    program = import_module("clustering")

    def ask(python: str, file: Path, *options: Any, env: dict[str, str]) -> Any:
        named = dict(zip(options[::2], options[1::2], strict=True))
        folder = Path(named["--folder"])
        return program.run(named["--step"], named["--way"], folder, named["--specimens"], named["--seed"])

    reductions = {
        way: (title, lambda vectors, seed, first=first: vectors[:, first : first + 50])
        for first, (way, (title, _)) in enumerate(program.REDUCTIONS.items())
    }
    monkeypatch.setattr(program, "ask", ask)
    monkeypatch.setattr(program, "REDUCTIONS", reductions)
    return program


def test_embeddings_are_repeated_and_have_a_long_tail() -> None:
    made = import_module("clustering_data").made_embeddings(2000, 1, width=20)
    assert made.vectors.shape == (2000, 20) and made.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(made.vectors, axis=1), 1, atol=1e-6)
    distinct, barcodes = np.unique(made.vectors, axis=0, return_inverse=True)
    assert len(distinct) == round(2000 * 21763 / 47260)
    # Equal vectors are of one species.
    assert len(np.unique(np.stack([barcodes, made.species]), axis=1).T) == len(distinct)
    sizes = np.sort(np.bincount(made.species))[::-1]
    assert len(sizes) == round(2000 * 4363 / 47260) and sizes.min() >= 1
    assert sizes[: len(sizes) // 10].sum() > 2 * sizes[-len(sizes) // 2 :].sum()
    again, other = (import_module("clustering_data").made_embeddings(2000, seed, width=20) for seed in (1, 2))
    np.testing.assert_array_equal(again.vectors, made.vectors)
    assert not np.allclose(other.vectors, made.vectors)


def test_both_ways_of_linkage_and_score_agree(program: Any) -> None:
    results = program.measure(600, 300, 1, 0)
    assert results["peer fastcluster"]["ARI"] == results["peer scikit-learn"]["ARI"] == 1
    assert results["ward reference"]["ARI"] == 1 > results["ward exact"]["ARI"]
    assert results["score grouped"]["AMI"] == pytest.approx(results["score scikit-learn"]["AMI"], abs=1e-8)
    assert results["score grouped"]["AMI"] == results["ward exact"]["AMI"]
    assert results["make"]["species"] == 55 and results["make"]["repeated"] == pytest.approx(0.54, abs=0.01)


def test_page_shows_every_way_and_judges_the_bars(program: Any) -> None:
    results = program.measure(600, 300, 1, 0)
    for ways in (program.REDUCTIONS, program.LINKAGES, program.SCORES):
        assert all(title in program.page(results, 1, "COMMAND") for title, _ in ways.values())
    results["reduce exact"] |= {"wall": 470.0, "peak": 2.9}
    assert program.page(results, 1, "COMMAND").count(": met") == 4
    results["score grouped"] |= {"wall": 11.0, "peak": 3.1}
    page = program.page(results, 1, "COMMAND")
    assert "under 8 minutes: **not met**; under 3 GB: **not met**; Ward equal to scikit-learn's: met" in page


@pytest.mark.slow
def test_runs_in_processes_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = import_module("clustering")
    options = ["--specimens", "700", "--peer-specimens", "300", "--threads", "1", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["clustering.py", *options])
    program.main()
    page = (tmp_path / "clustering.md").read_text()
    assert "python benchmarks/clustering.py --specimens 700 --peer-specimens 300 --threads 1 --seed 0" in page
    rows = re.findall(r"^\| .* \| 700 \| .*\|$", page, re.MULTILINE)
    assert len(rows) == 7 and page.count(": met") == 4
