"""The benchmarks' tables in docs/ are those of the committed results."""

import re
from pathlib import Path

import pytest

from bioscan_hf.evaluation.benchmarks import retrieval_tables
from bioscan_hf.evaluation.benchmarks.barcode_classification import ClassificationSettings
from bioscan_hf.evaluation.benchmarks.barcode_run import main_table
from bioscan_hf.evaluation.benchmarks.clustering_run import main_tables
from bioscan_hf.evaluation.benchmarks.pages import PUBLISHED_MARK, table_markdown
from bioscan_hf.evaluation.results import read_results

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = DOCS / "results" / "benchmarks"
SHOWN = {
    "barcode_sample": "tutorials/barcode_classification.md",
    "clustering_sample": "tutorials/zero_shot_clustering.md",
    "retrieval_sample": "tutorials/cross_modal_retrieval.md",
    "barcode_real": "performance.md",
    "clustering_real": "performance.md",
}
"""Page of docs/ with the main tables of a benchmark."""
FOLDERS = sorted(path.name for path in PAGES.iterdir() if path.is_dir())


def lines(name: str) -> list[str]:
    """Lines of the main tables."""
    results = read_results(PAGES / name / "results.json")
    if name.startswith("retrieval"):
        tables = retrieval_tables.main_tables(results)
    else:
        settings = ClassificationSettings()
        tables = [main_table(settings)] if name.startswith("barcode") else main_tables(results)
    return [line for table in tables for line in table_markdown(results, table)]


@pytest.mark.parametrize("name", FOLDERS)
def test_page_is_that_of_the_results(name: str) -> None:
    page = (PAGES / name / "README.md").read_text(encoding="utf-8")
    assert all(line in page.splitlines() for line in lines(name))
    assert all(result.command in page for result in read_results(PAGES / name / "results.json"))
    pictures = re.findall(r"\]\(([^)]+\.png)\)", page)
    assert pictures and all((PAGES / name / picture).exists() for picture in pictures)


def shown_lines(page: str) -> list[str]:
    return (DOCS / page).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(("name", "page"), SHOWN.items())
def test_tables_and_commands_are_those_of_the_results(name: str, page: str) -> None:
    chosen = lines(name)
    if name == "retrieval_sample":
        chosen = [line for pair in ("image to image", "image to DNA", "joint to DNA") for line in retrieval(pair, name)]
    measured = [line for line in chosen if PUBLISHED_MARK not in line]
    assert measured and set(measured) <= set(shown_lines(page))
    if name.endswith("_sample"):
        assert all(result.command in shown_lines(page) for result in read_results(PAGES / name / "results.json"))


def test_published_rows_are_those_of_the_tables() -> None:
    known = {line for name in FOLDERS for line in lines(name)}
    quoted = [line for line in shown_lines("performance.md") if line.startswith("|") and PUBLISHED_MARK in line]
    assert quoted and set(quoted) <= known


def retrieval(pair: str, name: str = "retrieval_simulated") -> list[str]:
    """Lines of the main table of a pair of modalities."""
    results = read_results(PAGES / name / "results.json")
    [table] = [own for own in retrieval_tables.main_tables(results) if own.heading.startswith(f"{pair}:")]
    return table_markdown(results, table)


@pytest.mark.parametrize("pair", ["image to DNA", "image to image"])
def test_retrieval_of_each_model_is_that_of_the_results(pair: str) -> None:
    measured = [line for line in retrieval(pair) if PUBLISHED_MARK not in line]
    assert len(measured) > 4 and set(measured) <= set(shown_lines("performance.md"))


def test_figures_in_the_text_of_the_tutorials_are_those_of_the_tables() -> None:
    def cell(pair: str, model: str, column: str) -> str:
        rows = [line.split("|") for line in retrieval(pair)]
        [place] = [i for i, name in enumerate(rows[0]) if name.strip().startswith(column)]
        [row] = [row for row in rows if row[1].strip() == model]
        return f"{float(row[place]):.0f}"

    ours, theirs = "image-dna-text", "CLIBD (image + DNA + text) (published)"
    text = " ".join(shown_lines("tutorials/cross_modal_retrieval.md"))
    for model, words in (
        (ours, "of their genus in {} %, but barcodes of it in {} % only"),
        (theirs, "has {} and {} %"),
    ):
        pairs = ("image to image", "image to DNA")
        assert words.format(*(cell(pair, model, "genus, mean") for pair in pairs)) in text
    rows = {line.split("|")[1].strip(): line.split("|")[7].strip() for line in lines("barcode_sample")[2:]}
    quoted = f"Two of the numbers above, {rows['barcodebert-small']} and {rows['4-mer counts']}, in"
    assert quoted in " ".join(shown_lines("tutorials/barcode_classification.md"))
