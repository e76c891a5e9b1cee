"""README.md is short, its links lead somewhere, and its figures are those of the committed results."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from bioscan_hf.evaluation.benchmarks.paper import FINE_TUNED, NEAREST_GENUS, PUBLISHED
from tests.test_documented_code import PAGES, ROOT
from tests.test_figures_identification import systems_table

README = (ROOT / "README.md").read_text(encoding="utf-8")
# The reference's links are checked in the built site: some of its pages are written there.
LINKING = [page for page in PAGES if not page.is_relative_to(ROOT / "docs" / "reference")]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and the site make of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in LINK.findall(text):
        if target.startswith(("http", "mailto:")):
            continue
        place, _, anchor = unquote(target).partition("#")
        found = (page.parent / place).resolve() if place else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert not broken


def test_readme_is_read_in_a_minute() -> None:
    assert len(README.encode()) < 9_000
    assert README.count("![") <= 2


def test_results_are_those_of_the_benchmark() -> None:
    assert systems_table() in README


@pytest.mark.parametrize("name", ["BLAST", "BarcodeBERT 8-4-4"])
def test_published_rows_are_the_papers(name: str) -> None:
    [row] = [line for line in README.splitlines() if line.startswith(f"| {name}") and "(published, BIOSCAN-5M)" in line]
    published = {own.benchmark: f"{100 * own.value:.1f}" for own in PUBLISHED if own.model == name}
    assert [cell.strip() for cell in row.split("|")[2:4]] == [published[FINE_TUNED], published[NEAREST_GENUS]]


@pytest.mark.parametrize(
    ("figure", "row"),
    [
        (
            "0.24 CPU seconds instead of 61",
            "| dataset | `train` from the CSV, every later time: CPU s | 5,150,850 rows | **`load_dataset`** | 0.244 | "
            "bioscan-dataset | 60.8 |",
        ),
        ("[batches of images](docs/performance.md#images) 6.25x", "| 1,517 | 6.25x |"),
        ("[embeddings](docs/performance.md#barcodebert) 5.35x", "| 198 | the reference's way, float32 | 37 | 5.35x |"),
    ],
)
def test_figures_in_the_text_are_those_of_the_measurements(figure: str, row: str) -> None:
    measured = (ROOT / "benchmarks" / "results" / "README.md").read_text(encoding="utf-8")
    assert figure in re.sub(r"\s+", " ", README) and row in measured
