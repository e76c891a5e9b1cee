"""`bioscan align` from the command line to the folder."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModel

from bioscan_hf.evaluation.results import read_results
from bioscan_hf.training import loop
from bioscan_hf.training.checkpoints import find_checkpoints
from tests.cli.test_program import run
from tests.training.made_alignments import (
    align_words,
    alignment,
    made_rows,
    save_towers,
    without,
    without_pictures,
    write_specimens,
)
from tests.training.made_runs import forget_processes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table and towers."""
    folder = tmp_path_factory.mktemp("made")
    write_specimens(folder / "t.parquet")
    save_towers(folder)
    return folder


@pytest.fixture(autouse=True)
def _fresh(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Each test has its own folder, wide lines, and no precision of an earlier one."""
    forget_processes()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    without_pictures(monkeypatch)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    yield
    forget_processes()


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a training step an error."""

    def fail(*_: Any) -> None:
        raise AssertionError("the training has begun")

    monkeypatch.setattr(loop._Loop, "_step", fail)


TOWERS = {"image_model": "image", "dna_model": "dna", "text_model": "text"}
ALIGN = align_words(alignment("t.parquet", Path("o"), **TOWERS))


def test_a_model_is_written_and_what_it_finds_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *ALIGN, "--eval-strategy", "steps", "--eval-steps", "4") == 0
    shown = capsys.readouterr().out
    assert "4 steps in 0:00:0" in shown and "Written to o/: the model with its card" in shown
    assert "step 4 of 4: eval image to dna" in shown and "eval overall" in shown
    for words in ("DNA to DNA: taxon of the nearest key", "image to DNA", "genus", "o/retrieval"):
        assert words in shown, words
    folder = Path("o")
    assert AutoModel.from_pretrained(folder).config.modalities == ["image", "dna", "text"]
    assert [path.name for path in find_checkpoints(folder)] == ["checkpoint-2", "checkpoint-4"]
    command = "bioscan " + " ".join([*ALIGN, "--eval-strategy", "steps", "--eval-steps", "4"])
    assert {result.command for result in read_results(folder / "results.json")} == {command}
    assert command in (folder / "README.md").read_text()


def test_without_splits_it_says_that_nothing_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_specimens(Path("t.parquet"), [{**row, "split": None} for row in made_rows(16)])
    assert run(monkeypatch, *ALIGN) == 0
    assert "Nothing was measured: the data have no test splits" in capsys.readouterr().out


def test_what_is_given_wins_over_a_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    write_specimens(Path("t.parquet"), [{**row, "split": "train"} for row in made_rows(16)])
    words = [*ALIGN, "--config", "clibd", "--max-steps", "1", "--mixed-precision", "no", "--num-workers", "0"]
    words += ["--save-strategy", "steps", "--normalise-images", "--train-split", "train"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bioscan_hf.training.contrastive._measure", lambda *_: [])
        patch.setattr("bioscan_hf.training.retrieval_probe.RetrievalProbe.load", lambda _: None)
        assert run(patch, *words) == 1, "the recipe chooses the best model, and there is nothing to evaluate with"
    write_specimens(Path("t.parquet"), made_rows())
    assert run(monkeypatch, *words[: words.index("--train-split")], "--output", "p", "--eval-strategy", "epoch") == 0
    arguments = json.loads(Path("p/run.json").read_text())["arguments"]
    expected = {
        **TOWERS,
        "max_steps": 1,
        "mixed_precision": "no",
        "normalise_images": True,
        "train_split": "pretrain+train",
    }
    expected |= {"learning_rate": 1e-3, "max_grad_norm": 1e9, "metric_for_best_model": "overall", "projection_dim": 16}
    assert {name: arguments[name] for name in expected} == expected


def test_help_names_all_settings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "align", "--help") == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    for name in ("--data", "--image-model", "--modalities", "--loss-targets", "--freeze", "--method", "--chunk-size"):
        assert name in shown, name
    assert "--config clibd" in shown and "\n  bioscan align --data sample" in shown


@pytest.mark.usefixtures("untrained")
class TestWrongInput:
    """It is told in one line before the first step."""

    def check(
        self, words: list[str], code: int, message: str, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, *words) == code
        error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bioscan: ")]
        assert len(error) == 1 and re.search(message, error[0]), error
        assert not find_checkpoints(Path("o"))

    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (["--modalities", "image,sound"], 1, "`modalities` must be some of .* got 'image,sound'"),
            (["--modalities", "dna"], 1, "`modalities` must be two or three of"),
            (["--image-model", "text"], 1, "'text' cannot be the tower for images: it is a BertModel"),
            (["--dna-model", "image"], 1, "The tower for DNA must be a BarcodeBERT; 'image' is of the type 'vit'"),
            (["--text-model", "image"], 1, "'image' cannot be the tower for text"),
            (["--image-model", "new:huge"], 1, "'new:huge' is no new tower; there are new:tiny, new:small, new:base"),
            (["--image-size", "64"], 1, "'image' takes images of 32 pixels; got `image_size` 64"),
            (["--batch-size", "99"], 1, "A step takes 99 examples .* the data have 50. Use a smaller batch"),
            (["--batch-size", "1"], 2, "--batch-size"),
            (["--data", "no.parquet"], 1, "no.parquet"),
            (["--train-split", "trian"], 1, "trian"),
            (["--eval-split", "val"], 2, "No such option"),
            (["--eval-pairs", "image-sound"], 1, "got 'image-sound'. Possible are: "),
            (["--loss-pairs", "image-dna"], 1, "`loss_pairs` compares text with nothing"),
            (["--loss-type", "triplet"], 2, "--loss-type"),
            (["--model", "dna"], 1, "'dna' is no CLIBD, but of the type 'barcodebert'"),
            (["--streaming", "--text-model", "new:tiny"], 1, "needs all captions before the first step"),
            (["--config", "clidb"], 1, "No such file: 'clidb'; .* one of the recipes clibd, clibd-lora"),
        ],
    )
    def test_of_align(
        self,
        words: list[str],
        code: int,
        message: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.check([*ALIGN, *words], code, message, monkeypatch, capsys)

    def test_data_without_images(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        names = ["processid", "dna_barcode", "order", "species", "split"]
        lines = [",".join(str(row[name]) for name in names) for row in made_rows(16)]
        Path("t.csv").write_text("\n".join([",".join(names), *lines]))
        self.check([*ALIGN, "--data", "t.csv"], 1, "image", monkeypatch, capsys)

    def test_nobody_with_two_modalities(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_specimens(Path("t.parquet"), [without(row, "image", "text") for row in made_rows(16)])
        message = r"None of the \d+ specimens to train on has two of image, dna, text"
        self.check(ALIGN, 1, message, monkeypatch, capsys)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_an_image_that_cannot_be_decoded_is_named_in_one_line(
    workers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**row, "image": b"no image", "split": None} for row in made_rows(8)]
    write_specimens(Path("t.parquet"), rows)
    assert run(monkeypatch, *ALIGN, "--num-workers", workers) == 1
    error = capsys.readouterr().err
    assert re.search(r"Process id P\d+, file P\d+.png: the image cannot be decoded", error)
    lines = [line for line in error.splitlines() if line.startswith("bioscan: ")]
    assert len(lines) == 1 and "P0" in lines[0], error
