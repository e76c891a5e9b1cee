import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoModel, AutoTokenizer

from bioscan_hf import BarcodeBertModel, select_split
from bioscan_hf.evaluation.results import read_results
from tests.cli.test_program import run
from tests.hub_server.fixture import LocalHub

WRITTEN = ["embeddings.png", "loss.png", "model", "results.json"]


@pytest.fixture(scope="module")
def table(sample: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the sample as a user's file."""
    path = tmp_path_factory.mktemp("data") / "own.parquet"
    select_split(sample, "train+test+test_unseen").select(range(0, 996, 9)).to_parquet(path)
    return path


def test_demo_writes_model_card_results_and_pictures(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert run(monkeypatch, "demo", "--data", str(table), "--output", str(output), "--max-steps", "2") == 0
    assert sorted(path.name for path in output.iterdir()) == WRITTEN
    assert type(AutoModel.from_pretrained(output / "model")) is BarcodeBertModel
    assert AutoTokenizer.from_pretrained(output / "model").model_max_length == 132

    results = read_results(output / "results.json")
    assert [(result.benchmark, result.model) for result in results] == [
        ("1-NN species, seen species", "BarcodeBERT demo"),
        ("1-NN species, seen species", "4-mer counts"),
        ("1-NN genus, unseen species", "BarcodeBERT demo"),
        ("1-NN genus, unseen species", "4-mer counts"),
    ]
    assert all(0 < result.value <= 1 and result.dataset == "own.parquet" for result in results)
    assert f"bioscan demo --data {table}" in results[0].command
    shown = capsys.readouterr().out
    card = (output / "model" / "README.md").read_text()
    for result in results:
        assert f"{100 * result.value:.1f}" in shown and f"{100 * result.value:.1f}" in card
    assert "simulated" not in card
    (example,) = re.findall(r"^```python\n(.*?)^```", card, flags=re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(output / "model")
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["embeddings"].shape == (1, 128)
    monkeypatch.chdir(tmp_path)

    # A second run replaces what the first one wrote, and nothing else.
    (output / "notes.txt").touch()
    assert run(monkeypatch, "demo", "--data", str(table), "--output", str(output), "--max-steps", "1") == 0
    assert sorted(path.name for path in output.iterdir()) == sorted([*WRITTEN, "notes.txt"])


def test_fasta_without_labels_gets_a_model_and_no_results(
    sample: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sample.select(range(100))
    fasta = tmp_path / "own.fasta"
    fasta.write_text("".join(f">{row['processid']}\n{row['dna_barcode']}\n" for row in rows))
    output = tmp_path / "out"
    assert run(monkeypatch, "demo", "--data", str(fasta), "--output", str(output), "--max-steps", "1") == 0
    assert read_results(output / "results.json") == []
    assert "left out; it needs a species in train and test." in capsys.readouterr().out
    assert "the data have no labels" in (output / "model" / "README.md").read_text()


def test_labelled_file_without_splits_gets_some(
    sample: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "own.csv", tmp_path / "out"
    select_split(sample, "train+test").select(range(150)).remove_columns("split").to_csv(path)
    assert run(monkeypatch, "demo", "--data", str(path), "--output", str(output), "--max-steps", "1") == 0
    assert "No splits were given" in capsys.readouterr().out
    assert len(read_results(output / "results.json")) == 4


def test_output_that_is_a_file_is_refused_before_the_work(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").touch()
    start = time.monotonic()
    assert run(monkeypatch, "demo", "--output", str(tmp_path / "out")) == 1
    assert time.monotonic() - start < 5
    assert "cannot be written to" in (error := capsys.readouterr().err) and "choose another folder" in error


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits of this kind")
def test_full_disk_is_one_line_and_leaves_nothing_behind(hub: LocalHub, table: Path, tmp_path: Path) -> None:
    # A limit on the size of a file makes writing the weights fail, as a full disk does.
    source = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000));"
        "from bioscan_hf.cli import main; main()"
    )
    arguments = ["demo", "--data", str(table), "--max-steps", "1"]
    result = hub.run(source, tmp_path, *arguments, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("bioscan: ") and "free some space" in result.stderr
    assert result.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a process")
def test_ctrl_c_leaves_nothing_behind(table: Path, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("bioscan")
    arguments = ["demo", "--data", str(table), "--output", "out", "--max-steps", "100000"]
    process = subprocess.Popen(
        [program, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background makes its children deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("out/.partial-*")):
            assert process.poll() is None and time.monotonic() < deadline, "the run did not begin"
            time.sleep(0.1)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.strip() == "bioscan: interrupted; nothing half-written was left behind."
    assert not list(tmp_path.iterdir())


def test_model_is_pushed_with_its_card(hub: LocalHub, table: Path, tmp_path: Path) -> None:
    source = "import sys; from bioscan_hf.cli import main; main()"
    arguments = ["demo", "--data", str(table), "--max-steps", "1", "--push-to-hub", "bioscan-ml/demo", "--private"]
    result = hub.run(source, tmp_path, *arguments)
    assert f"{hub.url}/bioscan-ml/demo" in result.stdout.replace("\n", "")
    info = hub.api().model_info("bioscan-ml/demo")
    local = tmp_path / "bioscan-demo" / "model"
    assert {file.rfilename for file in info.siblings or []} >= {path.name for path in local.iterdir()}
    assert info.private and info.card_data is not None and len(info.card_data.eval_results or []) == 2


def test_hub_that_fails_loses_nothing(hub: LocalHub, table: Path, tmp_path: Path) -> None:
    hub.fail("POST", "/commit/", status=500, times=10)
    source = "from bioscan_hf.cli import main; main()"
    arguments = ["demo", "--data", str(table), "--max-steps", "1", "--push-to-hub", "bioscan-ml/unlucky"]
    with pytest.raises(AssertionError, match="exit status 1") as failure:
        hub.run(source, tmp_path, *arguments)
    message = str(failure.value).strip().splitlines()[-1]
    assert message.startswith("bioscan: The push to bioscan-ml/unlucky failed") and "500" in message
    assert "`hf upload bioscan-ml/unlucky bioscan-demo/model`" in message
    assert (tmp_path / "bioscan-demo" / "model" / "model.safetensors").exists()


def test_demo_without_a_token_is_refused_before_the_work(hub: LocalHub, tmp_path: Path) -> None:
    source = "from bioscan_hf.cli import main; main()"
    with pytest.raises(AssertionError, match="exit status 1") as failure:
        hub.run(source, tmp_path, "demo", "--push-to-hub", "bioscan-ml/demo", token=False)
    assert "bioscan: " in str(failure.value) and "Traceback" not in str(failure.value)
    assert not (tmp_path / "bioscan-demo").exists()
