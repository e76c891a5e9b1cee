import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bioscan_hf.evaluation.bulk import cluster as bulk_cluster
from bioscan_hf.evaluation.bulk.run import Written
from bioscan_hf.tokenization.kmer import build_tokenizer
from tests.cli.test_program import run
from tests.tiny import CSV, tiny_masked_lm

WORDS = ["embed", "a.csv", "--model", "kmer:3", "--output", "E.parquet"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    (tmp_path / "a.csv").write_text(CSV)
    return tmp_path


def processids(path: Path) -> list[str]:
    return list(pq.read_table(path)["processid"].to_pylist())


def test_file_is_embedded_and_the_last_line_says_what_was_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *WORDS, "--dtype", "float16") == 0
    shown = capsys.readouterr().out.splitlines()[-1]
    assert shown.startswith("6 specimens, 6 distinct barcodes, 64 dimensions: E.parquet") and "barcodes/s" in shown
    assert processids(folder / "E.parquet") == ["A1", "A2", "B1", "B2", "C1", "P1"]
    assert str(pq.read_schema(folder / "E.parquet").field("embedding").type).endswith("halffloat>[64]")
    assert run(monkeypatch, *WORDS, "--dtype", "float16") == 0
    assert "barcodes/s" not in capsys.readouterr().out, "nothing was computed again"
    assert run(monkeypatch, *WORDS, "--dtype", "float16", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out).items() >= {"output": "E.parquet", "specimens": 6, "dimension": 64, "computed": 0}.items()
    assert "6 specimens" in err
    assert sorted(path.name for path in folder.iterdir()) == ["E.parquet", "a.csv"]


def test_split_and_length(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *WORDS, "--split", "test", "--no-normalise") == 0
    table = pq.read_table(folder / "E.parquet")
    assert table["processid"].to_pylist() == ["A2", "B2"]
    assert [sum(vector) for vector in table["embedding"].to_pylist()] == [14, 14], "k-mers of 16 letters"


def test_model_in_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_masked_lm()
    model.save_pretrained(folder / "model")
    build_tokenizer(3).save_pretrained(folder / "model")
    words = ["embed", "a.csv", "--model", "model", "--output", "E", "--precision", "bfloat16", "--batch-size", "2"]
    assert run(monkeypatch, *words, "--reading-frames", "3", "--device", "cpu") == 0
    assert "6 specimens, 6 distinct barcodes, 16 dimensions: E" in capsys.readouterr().out
    made_by = pq.read_schema(next((folder / "E").iterdir())).metadata[b"bioscan_hf"].decode()
    assert '"precision": "bfloat16", "reading_frames": 3' in made_by


def test_short_barcode_is_one_line_or_listed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.csv").write_text(CSV + "X1,AC,,,,test\n")
    assert run(monkeypatch, *WORDS) == 1
    error = capsys.readouterr().err
    assert "'X1' cannot be embedded: the barcode has 2 letters; it needs at least 3" in error
    assert error.count("\n") == 1 and not (folder / "E.parquet").exists()
    (folder / "a.csv").write_text(CSV + "X1,AC,,,,test\nX2,MSLLPEFKIVLDLSG,,,,test\n")
    assert run(monkeypatch, *WORDS, "--on-error", "skip") == 0
    shown = capsys.readouterr()
    assert "2 specimens are left out, see E.parquet.skipped.csv" in shown.out
    assert "bioscan: warning: 'a.csv': left out 1 of 8" in shown.err and "'X2'" in shown.err
    listed = (folder / "E.parquet.skipped.csv").read_text()
    assert "X1,the barcode has 2 letters" in listed and "the barcode looks like a protein" in listed
    assert len(processids(folder / "E.parquet")) == 6


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["embed", "a.csv", "--model", "kmer:3"], 2, "--output"),
        ([*WORDS, "--dtype", "float64"], 2, "--dtype"),
        ([*WORDS, "--reading-frames", "0"], 2, "--reading-frames"),
        ([*WORDS, "--executor", "slurm", "--time", "1:00:00"], 2, "needs --partition and --time"),
        ([*WORDS, "--partition", "cpu"], 2, "are for --executor slurm"),
        ([*WORDS, "--tasks", "3"], 2, "are for --executor slurm or ray"),
        ([*WORDS, "--split", "trian"], 1, "Did you mean 'train'?"),
        ([*WORDS, "--precision", "int8"], 1, "are for models; 'kmer:3' is none"),
        (["embed", "b.csv", *WORDS[2:]], 1, "No such file or folder: 'b.csv'"),
        (["embed", "a.csv", "--model", "./no", "--output", "E.parquet"], 1, "No such file or folder: 'no'"),
        ([*WORDS[:-1], "a.csv"], 1, "'a.csv' exists and holds something else"),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str],
    code: int,
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *words) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("bioscan: ") and message in error and "\n" not in error
    assert [path.name for path in folder.iterdir()] == ["a.csv"] and (folder / "a.csv").read_text() == CSV


def test_embeddings_are_no_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *WORDS) == 0
    assert run(monkeypatch, "embed", "a.csv", "--model", "E.parquet", "--output", "F.parquet") == 1
    assert "needs a model or k-mer counts; got Precomputed" in capsys.readouterr().err


@pytest.mark.parametrize("finished", [True, False])
def test_cluster_gets_its_options(
    finished: bool, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def embed_on_cluster(load: Any, specimens: Any, output: Path, **options: Any) -> Written | None:
        asked.update(options, load=load, count=len(specimens))
        return Written(output, 6, 5, 64, 0) if finished else None

    monkeypatch.setattr(bulk_cluster, "embed_on_cluster", embed_on_cluster)
    slurm = ["--executor", "slurm", "--partition", "gpu", "--time", "1:00:00", "--environment", "conda activate b"]
    assert run(monkeypatch, *WORDS, *slurm, "--tasks", "7", "--gpus-per-task", "1") == 0
    assert (asked["executor"], asked["tasks"], asked["count"]) == ("slurm", 7, 6)
    assert asked["options"] == {
        **{"partition": "gpu", "time": "1:00:00", "env_command": "conda activate b"},
        "gpus_per_task": 1,
    }
    assert asked["load"]().dimension == 64
    shown = capsys.readouterr().out
    assert ("6 specimens, 5 distinct" if finished else "Jobs are submitted; the last one writes E.parquet") in shown


@pytest.mark.slow  # starts Python three times
def test_processes_of_torchrun_speak_with_one_voice(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--no-python", "--nproc-per-node", "2", "--master-port", str(port)]
    program = str(Path(sys.executable).with_name("bioscan"))
    result = subprocess.run(
        [sys.executable, *launcher, program, *WORDS],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("6 specimens, 6 distinct barcodes") == 1
    assert len(processids(folder / "E.parquet")) == 6
