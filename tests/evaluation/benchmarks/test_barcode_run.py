import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bioscan_hf.data.anywhere import describe_anywhere
from bioscan_hf.evaluation.baselines import blast
from bioscan_hf.evaluation.baselines.cnn import train_cnn
from bioscan_hf.evaluation.benchmarks import barcode_classification
from bioscan_hf.evaluation.benchmarks.barcode_classification import (
    LINEAR_DISCRIMINANT,
    ClassificationSettings,
    Measured,
    Task,
    measure_embeddings,
)
from bioscan_hf.evaluation.benchmarks.barcode_run import BLAST, CNN, run_classification
from bioscan_hf.evaluation.benchmarks.paper import FINE_TUNED
from bioscan_hf.evaluation.benchmarks.specimens import load_labelled
from bioscan_hf.evaluation.encoders.base import Encoder
from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts
from bioscan_hf.evaluation.results import Result, read_results
from tests.tiny import CSV, RESULT

SETTINGS = ClassificationSettings(neighbours=3)


def run(
    folder: Path, encoders: Sequence[Encoder], source: str | Path, **options: Any
) -> tuple[list[Result], list[str]]:
    said: list[str] = []
    results = run_classification(
        encoders,
        source,
        **{
            "settings": SETTINGS,
            "cache": folder / "cache",
            "output": folder / "out",
            "command": "bioscan benchmark barcode",
            "report": lambda task, done, total: None,
            "say": said.append,
            **options,
        },
    )
    return results, said


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two known species, and a query of each and of an unseen one, a letter or two from a key of its genus."""
    path = tmp_path / "a.csv"
    path.write_text(CSV)
    return path


def test_run_on_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barcode_classification, "train_cnn", partial(train_cnn, epochs=1))
    monkeypatch.setattr(blast, "version", lambda: "9.9+")
    monkeypatch.setattr(blast, "best_hits", lambda keys, queries, report: np.zeros(len(queries), np.int64))
    encoders = [KmerCounts(2), KmerCounts(3)]
    results, said = run(tmp_path, encoders, "sample", limit=40, baselines=[CNN, BLAST])
    assert said == ["40 keys; queries: 40 of seen species, 40 of unseen species."]
    assert read_results(tmp_path / "out" / "results.json") == results
    assert {r.model for r in results} == {"2-mer counts", "3-mer counts", "CNN", "BLAST 9.9+"}
    assert {(r.dataset, r.dataset_revision) for r in results} == {describe_anywhere("sample")}
    assert {r.command for r in results} == {"bioscan benchmark barcode"}
    assert all(0 <= r.value <= 1 for r in results if r.metric != "hierarchical_distance")
    assert len({(r.model, r.benchmark, r.metric) for r in results}) == len(results)
    # What is written is what the task measures, on the same specimens.
    specimens = load_labelled("sample", "train+test+test_unseen", limit=40, say=said.append)
    measured = measure_embeddings(Task(specimens, SETTINGS), KmerCounts(3).embed(specimens), report=lambda *_: None)
    own = [r for r in results if r.model == "3-mer counts"]
    assert list(measured) == [Measured(r.benchmark, r.metric, r.value, r.count, r.split) for r in own]
    # The CNN names by itself, and by its features.
    assert {FINE_TUNED, "1-NN genus, unseen species"} <= {r.benchmark for r in results if r.model == "CNN"}
    assert FINE_TUNED not in {r.benchmark for r in own}

    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"README.md", "accuracy.png", "results.json", "settings.json"}
    page = (tmp_path / "out" / "README.md").read_text()
    for heading in ("Closed and open world", "By rank, seen species", "By rank, unseen species"):
        assert f"\n## {heading}\n" in page
    genus = next(r for r in own if (r.benchmark, r.metric) == ("1-NN genus, unseen species", "accuracy"))
    header, _, *rows = (line for line in page.splitlines() if line.startswith("|"))
    column = [cell.strip() for cell in header.split("|")].index(f"1-NN, genus ({genus.count})")
    cells = {row.split("|")[1].strip(): row.split("|")[column].strip() for row in rows[::-1]}
    assert cells["3-mer counts"] == f"{100 * genus.value:.1f}" and cells["BLAST (published)"] == "58.7"
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())["settings"]
    assert settings["limit"] == 40 and settings["neighbours"] == 3
    with Image.open(tmp_path / "out" / "accuracy.png") as picture:
        assert min(picture.size) > 200


def test_barcodes_of_a_table_are_named_by_their_neighbours(table: Path, tmp_path: Path) -> None:
    results, said = run(tmp_path, [KmerCounts(3)], table, settings=replace(SETTINGS, neighbours=2))
    assert said == ["2 keys; queries: 2 of seen species, 1 of unseen species."]
    accuracies = {r.benchmark: (r.value, r.count) for r in results if r.metric == "accuracy"}
    assert accuracies["1-NN species, seen species"] == (1.0, 2)
    assert accuracies["1-NN genus, unseen species"] == (1.0, 1)
    # One barcode per species: no discriminant.
    assert LINEAR_DISCRIMINANT not in accuracies


def test_file_without_splits_gets_some(tmp_path: Path) -> None:
    letters = ["ACGT" * 4 + end for end in ("AAA", "CCC", "GGG", "TTT", "ACG", "CGT", "TGA", "GAC")]
    rows = [
        f"P{s}{i},{start}{end},Aptera,Aus,Aus s{s}\n"
        for s, start in enumerate(("AA", "CC"))
        for i, end in enumerate(letters)
    ]
    (tmp_path / "a.csv").write_text("processid,dna_barcode,order,genus,species\n" + "".join(rows))
    results, said = run(tmp_path, [KmerCounts(3)], tmp_path / "a.csv")
    assert said[0] == "The data have no splits; train, test and test_unseen were drawn." and results


def test_results_of_another_run_stand_beside_unless_they_are_measured_now(table: Path, tmp_path: Path) -> None:
    name, revision = describe_anywhere(table)
    other = replace(RESULT, benchmark=FINE_TUNED, model="tuned", dataset=name, dataset_revision=revision, value=0.875)
    old = replace(other, benchmark="1-NN species, seen species", model="3-mer counts", value=0.125, count=2)
    settings = replace(SETTINGS, neighbours=2)
    results, _ = run(tmp_path, [KmerCounts(3)], table, settings=settings, others=[other, old])
    assert results[-1] == other and results[0].command == "bioscan benchmark barcode" and old not in results
    assert read_results(tmp_path / "out" / "results.json") == results
    page = (tmp_path / "out" / "README.md").read_text()
    assert "| tuned | 87.5 |" in page and "```bash\nbioscan benchmark barcode\nbioscan demo --seed 3\n```" in page


@pytest.mark.parametrize("change", [{"dataset": "other.csv"}, {"dataset_revision": "0" * 12}])
def test_results_of_other_data_are_refused(change: dict[str, str], table: Path, tmp_path: Path) -> None:
    name, revision = describe_anywhere(table)
    other = replace(RESULT, **{"dataset": name, "dataset_revision": revision, **change})  # type: ignore[arg-type]
    message = (
        f"of the same data: expected a.csv, revision {revision}; those of A model are of {other.dataset}, revision"
    )
    with pytest.raises(ValueError, match=message):
        run(tmp_path, [KmerCounts(3)], table, settings=replace(SETTINGS, neighbours=2), others=[other])
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_measured_is_refused_before_the_work(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Never(KmerCounts):
        def embed(self, *arguments: Any, **options: Any) -> Any:
            raise AssertionError("embeds")

    with pytest.raises(ValueError, match="at most as many as keys, 2; got 3 to vote for the species"):
        run(tmp_path, [Never(3)], table)
    with pytest.raises(ValueError, match="Two models have the name '3-mer counts'"):
        run(tmp_path, [Never(3), Never(3)], table)
    with pytest.raises(ValueError, match="at least one model to measure; got none"):
        run(tmp_path, [], table)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="'blastn' is not installed"):
        run(tmp_path, [Never(3)], table, baselines=[BLAST])
    table.write_text(CSV.replace("ACGTACGTACGTACGA,", "ACGT*,"))
    with pytest.raises(ValueError, match="A2"):
        run(tmp_path, [Never(3)], table)
    assert not (tmp_path / "out").exists()
