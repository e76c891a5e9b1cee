"""The benchmarks' tables in README.md and on their pages are those of the committed results."""

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
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ROOT / "docs" / "results" / "benchmarks"
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


@pytest.mark.parametrize("name", ["barcode_sample", "clustering_sample", "barcode_real", "clustering_real"])
def test_readme_has_the_tables_and_the_commands(name: str) -> None:
    shown = README.splitlines()
    measured = [line for line in lines(name) if PUBLISHED_MARK not in line]
    assert measured and all(line in shown for line in measured)
    if name.endswith("_sample"):
        assert all(result.command in shown for result in read_results(PAGES / name / "results.json"))


def test_published_rows_of_readme_are_those_of_the_tables() -> None:
    known = {line for name in FOLDERS for line in lines(name)}
    quoted = [line for line in README.splitlines() if line.startswith("|") and PUBLISHED_MARK in line]
    assert quoted and set(quoted) <= known


@pytest.mark.parametrize("pair", ["image to DNA", "image to image"])
def test_readme_has_the_retrieval_of_each_model(pair: str) -> None:
    results = read_results(PAGES / "retrieval_simulated" / "results.json")
    [table] = [own for own in retrieval_tables.main_tables(results) if own.heading.startswith(f"{pair}:")]
    measured = [line for line in table_markdown(results, table) if PUBLISHED_MARK not in line]
    assert len(measured) > 4 and all(line in README.splitlines() for line in measured)
