"""The numbers in README.md are those of the committed results."""

import re
from pathlib import Path

import pytest

from bioscan_hf.evaluation.results import read_results, results_markdown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["demo_sample", "demo_real"])
def test_table_and_command_are_those_of_the_results(name: str) -> None:
    results = read_results(ROOT / "docs" / "results" / f"{name}.json")
    assert results_markdown(results) in README
    assert f"\n{results[0].command}\n" in README


def test_untrained_model_is_quoted_truthfully() -> None:
    species, _, genus, _ = read_results(ROOT / "docs" / "results" / "demo_real_untrained.json")
    assert species.command.endswith("--max-steps 1")
    assert f"names {100 * species.value:.1f} % of the species and {100 * genus.value:.1f} % of the genera" in README


def test_pictures_and_pages_exist() -> None:
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", README) if not target.startswith(("http", "#"))]
    assert len(targets) > 5 and all((ROOT / target).exists() for target in targets)


def test_figures_of_the_benchmark_are_those_of_its_page() -> None:
    page = (ROOT / "benchmarks" / "results" / "dataset.md").read_text(encoding="utf-8")
    table = README.split("| what | bioscan-dataset | bioscan_hf |")[1].split("\n\n")[0].splitlines()
    assert len(table) > 5 and all(row in page for row in table[2:])


def test_figures_of_barcodebert_are_those_of_its_page() -> None:
    page = (ROOT / "benchmarks" / "results" / "barcodebert.md").read_text(encoding="utf-8")
    section = README.split("| what | reference's way | bioscan_hf |")[1].split("\n## ")[0]
    figures = re.findall(r"(?<![\w.,])\d(?:[\d,]*\d)?(?:\.\d+)?x?(?![\w])", section)
    assert len(figures) > 20
    assert not [figure for figure in figures if not re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d])", page)]
