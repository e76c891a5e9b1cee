"""`bioscan pretrain` and `bioscan finetune` from the command line to the folder."""

import errno
import json
import re
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, BertConfig, BertModel

from bioscan_hf import build_tokenizer
from bioscan_hf.evaluation.results import read_results
from bioscan_hf.hub.push import save_model
from bioscan_hf.training import checkpoints, loop
from bioscan_hf.training.checkpoints import find_checkpoints
from tests.cli.test_program import run
from tests.tiny import tiny_masked_lm
from tests.training.made_runs import (
    finetuning,
    forget_processes,
    made_rows,
    pretraining,
    sha256,
    words_of,
    write_table,
)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Each test has its own folder, wide lines, and no precision of an earlier one."""
    forget_processes()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    write_table(Path("t.csv"))
    yield
    forget_processes()


@pytest.fixture
def model(tmp_path: Path) -> str:
    save_model(tmp_path / "base", tiny_masked_lm(), build_tokenizer(3))
    return "base"


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a training step an error."""

    def fail(*_: Any) -> None:
        raise AssertionError("the training has begun")

    monkeypatch.setattr(loop._Loop, "_step", fail)


PRETRAIN = words_of(pretraining("t.csv", Path("o")))


def test_pretrain_writes_a_model_with_card_results_and_checkpoints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *PRETRAIN) == 0
    shown = capsys.readouterr().out
    assert "6 steps in 0:00:0" in shown and "Written to o/" in shown and "1-NN species" in shown
    folder = Path("o")
    assert AutoModel.from_pretrained(folder).config.hidden_size == 16
    assert [path.name for path in find_checkpoints(folder)] == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    results = read_results(folder / "results.json")
    assert {result.model for result in results} == {"o", "4-mer counts"}
    card = (folder / "README.md").read_text()
    assert f"{100 * results[0].value:.1f}" in card and "bioscan pretrain" in card and "training.png" in card
    assert results[0].command == "bioscan " + " ".join(PRETRAIN)


def test_finetune_names_taxa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: str) -> None:
    words = words_of(finetuning("t.csv", model, Path("o"), rank="species,genus"))
    assert run(monkeypatch, *words) == 0
    shown = capsys.readouterr().out
    assert "species, seen species (full fine-tuning)" in shown and "genus, seen species" in shown
    loaded = AutoModelForSequenceClassification.from_pretrained("o")
    assert loaded.config.taxa["species"] == ["Aus bus", "Aus cus", "Dus eus"]
    assert "genus" in Path("o/README.md").read_text()


def test_settings_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("run.yaml").write_text(
        "data: t.csv\noutput: o\nmax-steps: 3\nmixed_precision: no\nlearning_rate: 1e-3\nbatch_size: 8\n"
        "kmer_size: 3\nhidden_size: 16\nnum_hidden_layers: 1\nnum_attention_heads: 2\nintermediate_size: 32\n"
        "eval_strategy: no\n"
    )
    assert run(monkeypatch, "pretrain", "--config", "run.yaml", "--max-steps", "2") == 0
    arguments = json.loads(Path("o/run.json").read_text())["arguments"]
    assert (arguments["max_steps"], arguments["mixed_precision"], arguments["learning_rate"]) == (2, "no", 1e-3)


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_help_names_all_settings(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, command, "--help") == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    for name in ("--data", "--output", "--resume", "--ema-decay", "--config", "--push-to-hub", "--mixed-precision"):
        assert name in shown, name
    assert "\nExamples\n" in shown


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
            (["--learning-rat", "1"], 2, "No such option: --learning-rat"),
            (["--batch-size", "0"], 2, "--batch-size"),
            (["--mixed-precision", "int4"], 2, "--mixed-precision"),
            (["--learning-rate", "0"], 1, "`learning_rate` must be above 0; got 0.0"),
            (["--batch-size", "99"], 1, "A step takes 99 examples .* the data have 12. Use a smaller batch"),
            (["--data", "no.csv"], 1, "no.csv"),
            (["--train-split", "trian"], 1, "trian"),
            (["--eval-split", "key_unseen"], 1, "no specimens of the split 'key_unseen'; it has"),
            (["--hidden-size", "9"], 1, "`hidden_size` must be a multiple of `num_attention_heads`; got 9 and 2"),
            (["--mixed-precision", "fp16"], 1, "`mixed_precision='fp16'` needs a GPU"),
            (["--report-to", "trackio"], 1, "needs trackio: `pip install trackio`"),
            (["--push-to-hub", "a/b/c"], 1, "a/b/c"),
            (["--early-stopping-patience", "2"], 1, "needs `metric_for_best_model`"),
            (["--config", "no.yaml"], 1, "No such file: 'no.yaml'"),
        ],
    )
    def test_of_pretrain(
        self,
        words: list[str],
        code: int,
        message: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        if torch.cuda.is_available() and "fp16" in words:
            pytest.skip("there is a GPU")
        self.check([*PRETRAIN, *words], code, message, monkeypatch, capsys)

    def test_misspelt_key(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        Path("run.yaml").write_text("learning-rat: 1\n")
        message = "there is no setting 'learning-rat'. Did you mean 'learning_rate'"
        self.check([*PRETRAIN, "--config", "run.yaml"], 1, message, monkeypatch, capsys)

    def test_nothing_given(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.check(["pretrain"], 2, "--output.* must be given", monkeypatch, capsys)

    def test_no_space(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        usage = namedtuple("usage", ["total", "used", "free"])
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 10_000))
        self.check(PRETRAIN, 1, "no space for the checkpoints in 'o': .* GB are needed for 2", monkeypatch, capsys)

    @pytest.mark.parametrize(
        ("changes", "cells", "message"),
        [
            ([], {"species": ""}, "has a name in the column 'species'"),
            ([], {"species": "Aus bus"}, "have the same label, .*Aus bus.*: there is nothing to learn"),
            (["--rank", "tribe"], {}, "`rank` must be some of"),
            (["--model", "no/such/model"], {}, "No such folder: 'no/such/model'"),
            (["--model", "bert"], {}, "bioscan convert barcodebert|is no BarcodeBERT"),
            (["--batch-size", "99"], {}, "A step takes 99 examples"),
            (["--streaming"], {}, "`streaming` is for pretraining"),
            (["--merge-adapter"], {}, "`merge_adapter` is for the method 'lora'"),
            (["--method", "lora", "--push-to-hub", "tester/a"], {}, "'base' is a folder. Push that first"),
        ],
    )
    def test_of_finetune(
        self,
        changes: list[str],
        cells: dict[str, str],
        message: str,
        model: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        if "bert" in changes:
            sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
            BertModel(BertConfig(**sizes, vocab_size=40)).save_pretrained("bert")
        monkeypatch.setattr("bioscan_hf.training.run.check_can_push", lambda repo_id: None)
        write_table(Path("t.csv"), [row | cells for row in made_rows()])
        words = words_of(finetuning("t.csv", model, Path("o")))
        self.check([*words, *changes], 1, message, monkeypatch, capsys)


def test_a_stream_that_is_too_short_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *PRETRAIN, "--streaming", "--batch-size", "99") == 1
    assert "stream of process 0 ends before a batch of 99 examples is full" in capsys.readouterr().err


def test_folder_with_a_run_is_gone_on_with_only_if_told_and_only_with_its_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *PRETRAIN) == 0
    weights = sha256(Path("o/model.safetensors"))
    assert run(monkeypatch, *PRETRAIN) == 1
    assert "'o' holds a run already" in capsys.readouterr().err
    assert run(monkeypatch, *PRETRAIN, "--resume") == 0
    assert "is finished" in capsys.readouterr().out
    description = json.loads(Path("o/run.json").read_text())
    del description["finished"]  # as if it had been killed at the end
    Path("o/run.json").write_text(json.dumps(description))
    changed = [*PRETRAIN, "--resume", "--learning-rate", "0.5", "--seed", "3"]
    assert run(monkeypatch, *changed) == 1
    error = capsys.readouterr().err
    assert "was another one: `learning_rate` was 0.0001, is 0.5; `seed` was 0, is 3. Resume with its" in error
    write_table(Path("t.csv"), made_rows(seed=1))
    assert run(monkeypatch, *PRETRAIN, "--resume") == 1
    assert "the data were" in capsys.readouterr().err
    assert sha256(Path("o/model.safetensors")) == weights
    write_table(Path("t.csv"))
    assert run(monkeypatch, *PRETRAIN, "--resume") == 0
    assert sha256(Path("o/model.safetensors")) == weights


def test_a_disk_that_is_full_in_the_middle_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save, calls = checkpoints.save_optimizer, []

    def failing(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_optimizer", failing)
        assert run(patch, *PRETRAIN) == 1
    error = capsys.readouterr().err
    assert "'o/checkpoint-4' cannot be written" in error and "With --resume the run goes on" in error
    assert [path.name for path in find_checkpoints(Path("o"))] == ["checkpoint-2"]
    assert not list(Path("o").glob(".partial*"))
    assert run(monkeypatch, *PRETRAIN, "--resume") == 0
    assert "Going on from o/checkpoint-2" in capsys.readouterr().out
    whole = [word if word != "o" else "p" for word in PRETRAIN]
    assert run(monkeypatch, *whole) == 0
    assert sha256(Path("o/model.safetensors")) == sha256(Path("p/model.safetensors"))


def test_a_broken_checkpoint_is_skipped_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *PRETRAIN) == 0
    weights = sha256(Path("o/model.safetensors"))
    for path in Path("o").iterdir():
        if path.is_file() and path.name != "run.json":
            path.unlink()
    description = json.loads(Path("o/run.json").read_text())
    del description["finished"]
    Path("o/run.json").write_text(json.dumps(description))
    (Path("o") / "checkpoint-6" / "optimizer.safetensors").write_bytes(b"half")
    capsys.readouterr()
    assert run(monkeypatch, *PRETRAIN, "--resume") == 0
    shown = capsys.readouterr()
    assert "warning: 'o/checkpoint-6' is skipped: optimizer.safetensors is not as it was written" in shown.err
    assert "Going on from o/checkpoint-4" in shown.out
    assert sha256(Path("o/model.safetensors")) == weights
