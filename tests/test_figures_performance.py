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


def measured(name: str) -> str:
    return (ROOT / "benchmarks" / "results" / f"{name}.md").read_text(encoding="utf-8")


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


@pytest.mark.parametrize(("title", "name"), [("Dataset", "dataset"), ("Images", "images")])
def test_rows_are_those_of_the_measurement(title: str, name: str) -> None:
    quoted = rows(section(title))
    assert len(quoted) > 5 and set(quoted) <= set(measured(name).splitlines())


NUMBER = r"(?<![\w.,])\d(?:[\d,]*\d)?(?:\.\d+)?x?(?!\w)"


@pytest.mark.parametrize(
    ("title", "name"), [("BarcodeBERT", "barcodebert"), ("CLIBD", "clibd"), ("Clustering at full size", "clustering")]
)
def test_figures_are_those_of_the_measurement(title: str, name: str) -> None:
    text = re.sub(r"\]\(.*?\)", "", section(title))
    known = set(re.findall(NUMBER, measured(name)))
    # In sentences, seconds and GB are rounded.
    plain = [float(number.replace(",", "")) for number in known if not number.endswith("x")]
    known |= {f"{number:.{places}f}" for number in plain for places in (0, 1)}
    figures = set(re.findall(NUMBER, text))
    assert len(figures) > 4 and figures <= known
