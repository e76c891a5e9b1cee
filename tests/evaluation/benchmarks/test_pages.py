import json
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from bioscan_hf.evaluation.benchmarks.pages import (
    Column,
    Picture,
    Table,
    check_names,
    table_markdown,
    table_rows,
    write_report,
)
from bioscan_hf.evaluation.benchmarks.paper import Published
from bioscan_hf.evaluation.results import read_results
from tests.tiny import RESULT

GENUS, SPECIES = "1-NN genus, unseen species", "1-NN species, seen species"
RESULTS = [
    replace(RESULT, value=0.5, count=1200),
    replace(RESULT, value=0.25, metric="macro_accuracy"),
    replace(RESULT, model="B", value=0.75, spread=0.01),
    replace(RESULT, model="B", benchmark=SPECIES, value=1, count=7),
    replace(RESULT, model="C", benchmark="not shown"),
]
COLUMNS = [
    Column("genus", GENUS, "accuracy"),
    Column("species", SPECIES, "accuracy"),
    Column("probe", "linear probe", "accuracy"),
    Column("nobody", "nobody's", "accuracy"),
]
PUBLISHED = [
    Published("linear probe", "accuracy", "Old", 0.4, "a paper"),
    Published(GENUS, "accuracy", "Old", 0.4703, "a paper"),
    Published(GENUS, "accuracy", "New", 0.8, "another paper"),
    Published("elsewhere", "accuracy", "Elsewhere", 0.9, "a third paper"),
]
TABLE = Table("A heading", "What it shows.", COLUMNS, PUBLISHED)


def test_rows_of_models_and_below_them_of_publications() -> None:
    header, rows = table_rows(RESULTS, TABLE)
    # The queries stand in brackets; what nobody measured or published is left out.
    assert header == ["", "genus (1,200)", "species (7)", "probe"]
    assert rows == [
        ["A model", "50.0", "-", "-"],
        ["B", "75.0 ± 1.0", "100.0", "-"],
        ["Old (published)", "47.0", "-", "40.0"],
        ["New (published)", "80.0", "-", "-"],
    ]


def test_a_table_of_publications_alone_has_no_rows() -> None:
    assert table_rows([replace(RESULT, benchmark="not shown")], TABLE) == ([""], [])
    assert table_rows([], TABLE) == ([""], [])
    assert table_rows(RESULTS[:1], TABLE._replace(published=())) == (["", "genus (1,200)"], [["A model", "50.0"]])


def test_rows_in_markdown() -> None:
    assert table_markdown(RESULTS[:1], TABLE._replace(published=())) == [
        *("|  | genus (1,200) |", "| --- | ---: |", "| A model | 50.0 |")
    ]
    assert table_markdown([], TABLE) == []


def write(folder: Path, text: str = "What was done.") -> None:
    figure, axes = plt.subplots(figsize=(1, 1))
    axes.plot([0, 1])
    write_report(
        folder,
        title="A title",
        text=text,
        results=RESULTS,
        tables=[TABLE, Table("Nothing", "Not there.", COLUMNS[2:])],
        pictures=[Picture("a.png", "A caption", figure)],
        settings={"neighbours": 3, "seeds": (0, 1)},
    )


def test_report(tmp_path: Path) -> None:
    open_before = plt.get_fignums()
    write(tmp_path / "out")
    assert plt.get_fignums() == open_before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "a.png",
        "results.json",
        "settings.json",
    }
    assert read_results(tmp_path / "out" / "results.json") == RESULTS
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["settings"] == {"neighbours": 3, "seeds": [0, 1]}
    assert {"bioscan_hf", "python", "torch", "scikit-learn"} <= set(settings["versions"])
    page = (tmp_path / "out" / "README.md").read_text()
    lines = page.splitlines()
    assert lines[0] == "# A title" and "What was done. Data: some data, revision ba9876543210." in lines
    assert "```bash\nbioscan demo --seed 3\n```" in page
    assert "## A heading\n\nWhat it shows.\n\n|  | genus (1,200) | species (7) | probe |\n| --- | ---: |" in page
    assert "| Old (published) | 47.0 | - | 40.0 |" in lines and "Nothing" not in page
    # Sources of the numbers that stand in the table, each once
    assert "comparable only with results on these. From: a paper; another paper." in page
    assert "![A caption](a.png)" in page and f"torch {settings['versions']['torch']}" in page


def test_report_replaces_its_own_files_only_and_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    write(tmp_path, "Done again.")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert before["notes.txt"] == b"mine" and b"Done again." in before["README.md"]

    def no_space(*arguments: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("bioscan_hf.evaluation.benchmarks.pages.save_picture", no_space)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path, "A third time.")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_models_that_tables_could_not_tell_apart_are_refused() -> None:
    check_names(["a", "b"])
    with pytest.raises(ValueError, match=r"Two models have the name 'a', .*; rename the folder or file"):
        check_names(["a", "b", "a"])
    with pytest.raises(ValueError, match="at least one model to measure; got none"):
        check_names([])
