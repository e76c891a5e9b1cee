import builtins
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bioscan_hf.evaluation.results import Result, read_results
from bioscan_hf.hub import results_push
from tests.cli.test_program import run
from tests.training.made_runs import made_rows, write_table

FAST = ["--reduction", "none"]


pytestmark = pytest.mark.usefixtures("folder")


def table(folder: Path, metric: str = "ami_true_entropy") -> dict[tuple[str, str], float]:
    return {(r.model, r.benchmark): r.value for r in read_results(folder / "results.json") if r.metric == metric}


def test_dna_of_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--dna", "kmer:3", "--dna", "kmer:2", "--data", "a.csv", "--split", "test+train", *FAST, "--output", "out"]
    assert run(monkeypatch, "benchmark", "clustering", *words, "--seeds", "2", "--method", "kmeans") == 0
    shown = capsys.readouterr().out
    assert "36 specimens, 3 species." in shown and "DNA: agreement by rank" in shown and "HyenaDNA" in shown
    found = table(folder / "out")
    assert {model for model, _ in found} == {"3-mer counts", "2-mer counts"}
    assert found["3-mer counts", "zero-shot clustering of DNA, species"] > 0.8
    assert all(r.spread is not None and r.split == "test+train" for r in read_results(folder / "out" / "results.json"))
    page = (folder / "out" / "README.md").read_text()
    assert "Means over 2 seeds" in page and " ± " in page and "(published)" in page
    assert {path.suffix for path in (folder / "out").iterdir()} == {".json", ".md", ".png"}


def test_images_and_dna_of_a_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = folder / "photos"
    photos.mkdir()
    rows = made_rows(12)
    for row in rows:
        shade = {"Aus bus": 20, "Aus cus": 120, "Dus eus": 220}[row["species"]]
        Image.new("RGB", (40, 30), (shade, shade, int(row["processid"][1:]))).save(photos / f"{row['processid']}.png")
    write_table(photos / "metadata.csv", rows)
    words = ["--image", "pixels:2", "--dna", "kmer:2", "--data", "photos", "--split", "all", *FAST]
    assert run(monkeypatch, "benchmark", "clustering", *words, "--json") == 0
    results = (folder / "bioscan-benchmark-clustering" / "results.json").read_text()
    assert json.loads(capsys.readouterr().out) == json.loads(results)
    found = table(folder / "bioscan-benchmark-clustering")
    assert found["2x2 pixels", "zero-shot clustering of images, species"] == 1
    assert ("2x2 pixels + 2-mer counts", "zero-shot clustering of images + DNA, genus") in found
    assert run(monkeypatch, "benchmark", "clustering", *words, "--no-joint", "--one-per-barcode") == 0
    assert not any("+" in model for model, _ in table(folder / "bioscan-benchmark-clustering"))


def test_results_of_the_first_encoder_are_pushed(monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[Result] = []
    by_protocol: list[bool] = []

    def push(results: list[Result], repo_id: str, *, tasks: bool, pull_request: bool) -> str:
        pushed.extend(results)
        by_protocol.append(tasks)
        return "https://the.hub/commit"

    monkeypatch.setattr(results_push, "push_results", push)
    monkeypatch.setattr(results_push, "check_can_push_results", lambda repo_id: None)
    words = ["--dna", "kmer:3", "--dna", "kmer:2", "--data", "a.csv", "--split", "train", *FAST]
    assert run(monkeypatch, "benchmark", "clustering", *words, "--push-to-hub", "me/model") == 0
    assert {result.model for result in pushed} == {"3-mer counts"}
    asked = {(result.benchmark, result.metric) for result in pushed}
    assert ("zero-shot clustering of DNA, genus", "ami_true_entropy") in asked
    assert ("zero-shot clustering of DNA, species", "ami_arithmetic") in asked, "a task of the dataset's eval.yaml"
    assert by_protocol == [False], "for UMAP is left out, and the split is another"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--pull-request"], 2, "--pull-request is for --push-to-hub"),
        (["--split", "tests"], 1, "Did you mean 'test'?"),
        (["--split", "other_heldout"], 1, "other_heldout"),
        (["--limit", "1", "--split", "test"], 1, "at least two different labels of the rank species; 1 of 1 have one"),
        (["--rank", "tribe"], 1, "Expected one of ['class', 'order'"),
        (["--min-dist", "2"], 2, "--min-dist"),
        (["--image", "pixels:4"], 1, "image"),
        (["--reduction", "umap", "--limit", "9"], 1, "UMAP with 30 neighbours and 50 dimensions needs"),
    ],
)
def test_wrong_arguments(
    words: list[str], code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["--dna", "kmer:2", "--data", "a.csv", "--split", "train", *FAST]
    assert run(monkeypatch, "benchmark", "clustering", *base, *words) == code
    shown = capsys.readouterr().err
    assert message in " ".join(shown.split()) and len(shown.splitlines()) == 1


def test_without_the_extra_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name in ("umap", "fastcluster"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.delitem(sys.modules, "umap", raising=False)
    words = ["--dna", "kmer:2", "--data", "a.csv", "--split", "train", *FAST]
    assert run(monkeypatch, "benchmark", "clustering", *words) == 1
    assert "pip install 'bioscan-hf[clustering]'" in capsys.readouterr().err
