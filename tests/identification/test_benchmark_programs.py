import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.features import RANKS, bioscan_features
from bioscan_hf.evaluation.baselines import blast, vsearch
from bioscan_hf.evaluation.baselines.aligner import Search
from bioscan_hf.evaluation.baselines.programs import Usage
from bioscan_hf.identification import benchmark_programs
from bioscan_hf.identification.benchmark import Settings, Speed
from bioscan_hf.identification.benchmark_programs import ask_identifier, build_library, make_baselines
from tests.identification.made_benchmark import made_specimens, made_table, made_task

USAGE = Usage(3.0, 5.0, 70_000_000)


def reversed_hits(said: list[Any]) -> Callable[..., Search]:
    """A search that gives the last key for the first query, and so on; it tells what it was asked."""

    def search(keys: Sequence[str], queries: Sequence[str], *, threads: int, task: str = "megablast") -> Search:
        said.append((len(keys), len(queries), threads, task))
        return Search(np.arange(len(queries))[::-1] % len(keys), USAGE)

    return search


@pytest.mark.parametrize(
    ("spec", "model", "task_of"),
    [
        ("blast", "BLAST 9.9+", "megablast"),
        ("blast:blastn", "BLAST 9.9+, task blastn", "blastn"),
        ("vsearch", "vsearch 8.8", "megablast"),
    ],
)
def test_aligners_name_by_their_best_key(spec: str, model: str, task_of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    for module, version in ((blast, "9.9+"), (vsearch, "8.8")):
        monkeypatch.setattr(module, "version", lambda version=version: version)
        monkeypatch.setattr(module, "measured_search", reversed_hits(said))
    task = made_task(settings=Settings(threads=3))
    answers = make_baselines([spec])[spec](task)
    assert said == [(18, 30, 3, task_of)]
    assert answers.model == model and answers.speed == Speed(3, 3, 5, 70_000_000) and answers.table is None
    hits = np.arange(30)[::-1] % 18
    for rank in RANKS:
        assert answers.names[rank].tolist() == [task.keys[rank][int(hit)] for hit in hits]


def test_counts_name_by_the_most_similar_key() -> None:
    task, threads = made_task(), torch.get_num_threads()
    answers = make_baselines(["kmer:3"])["kmer:3"](task)

    words = list(map("".join, itertools.product("ACGT", repeat=3)))

    def counted(barcode: str) -> NDArray[np.float64]:
        counts = np.array([sum(barcode.startswith(word, place) for place in range(58)) for word in words], float)
        return counts / np.linalg.norm(counts)

    keys, queries = (np.stack([counted(b) for b in rows["dna_barcode"]]) for rows in (task.keys, task.queries))
    best = (queries @ keys.T).argmax(axis=1)
    assert answers.names["genus"].tolist() == [task.keys["genus"][int(place)] for place in best]
    assert answers.model == "3-mer counts, 1-NN" and torch.get_num_threads() == threads
    assert answers.speed.seconds > 0 and answers.speed.peak_bytes is None


def test_baselines_are_made_once_and_wrong_ones_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(make_baselines(["kmer:4", "kmer:2", "kmer:4"])) == ["kmer:4", "kmer:2"] and make_baselines([]) == {}
    with pytest.raises(ValueError, match=r"no baseline 'blas'; choose among blast, .* or none"):
        make_baselines(["blas"])
    with pytest.raises(ValueError, match="99"):
        make_baselines(["kmer:99"])
    monkeypatch.setenv("PATH", "")
    for spec in ("blast", "vsearch"):
        with pytest.raises(OSError, match="is not installed"):
            make_baselines([spec])


def test_a_library_is_made_of_keys_and_calibrated_on_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Made:
        """Stands in for a library."""

        def save(self, folder: Path) -> None:
            made.append(folder)

    def build(specimens: Dataset, calibration: Dataset | None) -> Made:
        made.extend([specimens, calibration])
        return Made()

    monkeypatch.setattr(benchmark_programs.Library, "build", build)
    task = made_task()
    build_library(task, tmp_path)
    keys, held_out, folder = made
    assert folder == tmp_path and keys.features == held_out.features == bioscan_features(image=False)
    assert keys["processid"][:] == task.keys["processid"][:] and keys["dna_barcode"][:] == task.keys["dna_barcode"][:]
    assert set(held_out["split"]) == {"val", "val_unseen"} and not any(keys["country"])
    build_library(made_task([row for row in made_specimens() if not row["split"].startswith("val")]), tmp_path)
    assert len(made[3]) == 18 and made[4] is None


def command_that_writes(table: pa.Table, printed: str, said: list[Any]) -> Callable[..., tuple[str, Usage]]:
    """Stands in for a run of `bioscan identify`."""

    def run(
        command: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> tuple[str, Usage]:
        options = dict(zip(command[5::2], command[6::2], strict=False))
        said.extend([list(command[:4]), Path(command[4]).read_text(), options, dict(environment or {})])
        pq.write_table(table, options["--output"])
        return printed, USAGE

    return run


def test_the_identifier_runs_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = made_task(settings=Settings(threads=3, max_error=0.05))
    table = made_table(task)
    said: list[Any] = []
    line = json.dumps({"queries": 30, "seconds": 2.5, "start_seconds": 0.5})
    monkeypatch.setattr(benchmark_programs, "run_measured", command_that_writes(table, f"loading\n{line}\n", said))
    monkeypatch.chdir(tmp_path)
    answers = ask_identifier(Path("library"), Path(), task)
    command, fasta, options, environment = said
    assert command == [sys.executable, "-c", "import bioscan_launcher; bioscan_launcher.main()", "identify"]
    assert fasta.split("\n")[:3] == [">query0", task.queries["dna_barcode"][0], ">query1"]
    assert fasta.count(">") == 30
    assert options["--library"] == str(tmp_path / "library") and options["--max-error"] == "0.05"
    assert options["--threads"] == environment["OMP_NUM_THREADS"] == "3"
    assert answers.speed == Speed(2.5, 3, 5, 70_000_000)
    assert answers.names["genus"].tolist() == table["genus"].to_pylist()
    assert answers.table is not None and answers.table.equals(table)


@pytest.mark.parametrize(
    ("rows", "printed", "message"),
    [
        (slice(1, None), '{"seconds": 1}', "answers to the 30 queries in their order .* got 29 rows"),
        (slice(None), "done", "Expected a line of JSON .* got 'done'"),
    ],
)
def test_answers_to_other_queries_are_refused(
    rows: slice, printed: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = made_task()
    table = made_table(task)
    table = table.take(list(range(len(table)))[rows])
    monkeypatch.setattr(benchmark_programs, "run_measured", command_that_writes(table, printed, []))
    with pytest.raises(ValueError, match=message):
        ask_identifier(tmp_path, tmp_path, task)
