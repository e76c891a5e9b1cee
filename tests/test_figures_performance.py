"""The figures of docs/performance.md and docs/guide/demo.md are those of the committed results."""

import re

import pytest

from bioscan_hf.evaluation.results import read_results, results_markdown
from tests.test_documented_code import ROOT

DOCS = ROOT / "docs"
PAGE = (DOCS / "performance.md").read_text(encoding="utf-8")
DEMO = (DOCS / "guide" / "demo.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


RESULTS = (ROOT / "benchmarks" / "results" / "README.md").read_text(encoding="utf-8")
SECTIONS = {
    "Dataset": ["dataset"],
    "Images": ["images"],
    "BarcodeBERT": ["tokens", "embedding", "training_step"],
    "CLIBD": ["contrastive_loss"],
    "Neighbours": ["knn"],
    "Clustering at full size": ["clustering", "ami"],
}
"""Sections, and the comparisons whose figures they quote."""


def measured(title: str) -> list[str]:
    """Lines of the table of the comparisons of a section, without the first column."""
    lines = (line.partition(" | ") for line in RESULTS.splitlines() if line.startswith("|"))
    return [f"| {rest}" for name, _, rest in lines if name.removeprefix("| ") in SECTIONS[title]]


def notes(title: str) -> list[str]:
    """How the comparisons of a section were measured."""
    return [part for part in RESULTS.split("\n**") if part.split("**")[0] in SECTIONS[title]]


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")]


@pytest.mark.parametrize("name", ["demo_sample", "demo_real"])
def test_demonstration_is_that_of_the_results(name: str) -> None:
    results = read_results(DOCS / "results" / f"{name}.json")
    assert results_markdown(results) in DEMO
    assert f"\n{results[0].command}\n" in DEMO


def test_untrained_model_is_quoted_truthfully() -> None:
    species, _, genus, _ = read_results(DOCS / "results" / "demo_real_untrained.json")
    assert species.command.endswith("--max-steps 1")
    assert f"names {100 * species.value:.1f} % of the species and {100 * genus.value:.1f} % of the genera" in DEMO


@pytest.mark.parametrize("title", SECTIONS)
def test_rows_are_those_of_the_measurement(title: str) -> None:
    [_, *quoted] = rows(section(title))
    assert len(quoted) > 1 and [line for line in quoted if line not in measured(title)] == []


NUMBER = r"(?<![\w.,])\d(?:[\d,]*\d)?(?:\.\d+)?x?(?!\w)"


@pytest.mark.parametrize("title", SECTIONS)
def test_figures_are_those_of_the_measurement(title: str) -> None:
    text = re.sub(r"\]\(.*?\)", "", section(title))
    known = set(re.findall(NUMBER, "\n".join(measured(title) + notes(title))))
    # In sentences, figures are rounded.
    plain = [float(number.rstrip("x").replace(",", "")) for number in known]
    known |= {f"{number:.{places}f}" for number in plain for places in (0, 1)}
    figures = set(re.findall(NUMBER, text))
    assert len(figures) > 3 and figures <= known
