import csv
import json
from pathlib import Path

import numpy as np
import pytest

from bioscan_hf.evaluation.results import read_results
from bioscan_hf.identification import benchmark_run
from bioscan_hf.identification.benchmark import Answers, Settings, Speed, Task
from bioscan_hf.identification.benchmark_programs import make_baselines
from bioscan_hf.identification.benchmark_run import load_task, run_identification
from tests.identification.made_benchmark import made_specimens, made_table

FILES = {"README.md", "results.json", "settings.json", "speed.png", "reliability.png", "risk.png"}


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "made.csv", made_specimens())


def ask(library: Path, folder: Path, task: Task) -> Answers:
    """Stands in for `bioscan identify`; the library must have been made."""
    assert (library / "made").read_text() == f"{len(task.known)}" and folder.is_dir()
    table = made_table(task)
    names = {rank: np.array(values, dtype=object) for rank, values in task.truth.items()}
    return Answers("bioscan identify", names, Speed(0.5, 1, 1, 10**8), table)


def build(task: Task, folder: Path) -> None:
    folder.mkdir()
    (folder / "made").write_text(f"{len(task.known)}")


def run(data: Path, output: Path, settings: Settings, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_run, "ask_identifier", ask)

    def fast(task: Task) -> Answers:
        names = {rank: np.full(len(task.queries), None, object) for rank in task.truth}
        return Answers("BLAST 0", names, Speed(10, 10, 20, 10**7))

    run_identification(
        data,
        settings,
        {"blast": fast, **make_baselines(["kmer:3"])},
        build=build,
        output=output,
        command="bioscan benchmark identification",
        report=lambda *what: said.append(str(what)),
        say=said.append,
    )


@pytest.mark.filterwarnings("error")
def test_page_results_and_pictures(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    run(data, tmp_path / "out", Settings(max_error=0.02), said, monkeypatch)
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert "18 keys; queries: 18 of seen species, 12 of unseen species." in said
    assert said[-1] == "('programs', 4, 4)"
    found = read_results(tmp_path / "out" / "results.json")
    models = list(dict.fromkeys(result.model for result in found))
    assert models == ["bioscan identify", "BLAST 0", "3-mer counts, 1-NN"]
    values = {(r.model, r.benchmark, r.metric): r.value for r in found}
    assert values["bioscan identify", "species, seen species", "accuracy"] == 1
    assert values["BLAST 0", "species, seen species", "accuracy"] == 0
    assert values["bioscan identify", "speed", "queries_per_second"] == 60
    assert ("BLAST 0", "novelty", "auroc") not in values
    page = (tmp_path / "out" / "README.md").read_text()
    assert "Queries: 18 of seen species (test) and 12 of unseen species (test_unseen)." in page
    line = (
        "| queries/s against BLAST, start-up included | 10.00 times | 30.0 against 3.0 of BLAST 0 | at least 30 times"
    )
    assert line in page and "at --max-error 0.02, seen species, %" in page
    headings = [text for text in page.splitlines() if text.startswith("## ")]
    assert headings[:3] == ["## Bars", "## Speed and memory", "## Accuracy"] and len(headings) == 7
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["settings"]["max_error"] == 0.02


def test_a_limit_is_on_the_queries_alone(data: Path) -> None:
    said: list[str] = []
    task = load_task(data, Settings(limit=5), splits=None, say=said.append)
    assert (len(task.keys), len(task.known), len(task.queries)) == (18, 42, 10) and not said
    assert len(set(task.queries["processid"])) == 10
    other = load_task(data, Settings(limit=5, seed=1), splits=None, say=said.append)
    assert other.queries["processid"][:] != task.queries["processid"][:]


def test_splits_that_are_drawn_are_the_same_for_keys_and_queries(tmp_path: Path) -> None:
    rows = [{**row, "split": ""} for row in made_specimens(12)]
    said: list[str] = []
    task = load_task(write(tmp_path / "made.csv", rows), Settings(), splits=None, say=said.append)
    assert said == ["The data have no splits; train, test and test_unseen were drawn."]
    assert not set(task.keys["processid"]) & set(task.queries["processid"])
    assert len(task.keys) + len(task.queries) == len(rows)
