"""The scripts run; commands in the heads of the examples are commands, and say what the scripts do."""

import re
import runpy
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from typer.testing import CliRunner

from bioscan_hf.cli import train
from bioscan_hf.cli.program import app
from bioscan_hf.training.alignment_arguments import AlignmentArguments
from bioscan_hf.training.arguments import FinetuningArguments, PretrainingArguments
from tests.examples.made_data import write_image_table, write_table
from tests.training.made_alignments import without_pictures

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGES = [path for pattern in ("*.py", "*.md", "*/*.yaml") for path in sorted(EXAMPLES.glob(pattern))]
# With the lines that a backslash continues.
COMMAND = re.compile(r"(?<![\w`-])bioscan (?:pretrain|finetune|align) (?:[^\n\\]*\\\n)*[^\n]*")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Takes the arguments of runs, that are not started."""
    taken: list[Any] = []
    monkeypatch.setattr(train, "_train", lambda make_task, arguments: taken.append(arguments))
    monkeypatch.chdir(ROOT)
    return taken


def commands(page: Path) -> list[list[str]]:
    text = re.sub(r"^# ?", "", page.read_text(), flags=re.MULTILINE)
    return [shlex.split(match[0].replace("\\\n", " ")) for match in COMMAND.finditer(text) if "..." not in match[0]]


def arguments_of(command: list[str], asked: list[Any]) -> Any:
    result = CliRunner().invoke(app, command[1:], catch_exceptions=False, standalone_mode=False)
    assert result.exit_code == 0, result.output
    return asked.pop()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(EXAMPLES)))
def test_commands_are_commands(page: Path, asked: list[Any]) -> None:
    found = commands(page)
    assert found
    for command in found:
        arguments_of(command, asked)


def script(name: str, monkeypatch: pytest.MonkeyPatch, run_name: str = "imported") -> dict[str, Any]:
    monkeypatch.syspath_prepend(EXAMPLES)
    return runpy.run_path(str(EXAMPLES / name), run_name=run_name)


def run_script(name: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", [name, *options])
    script(name, monkeypatch, "__main__")


def test_pretraining_script_is_the_command_in_its_head(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = commands(EXAMPLES / "pretrain_barcodebert.py")
    small_model = script("pretrain_barcodebert.py", monkeypatch)["small_model"]
    expected: PretrainingArguments = small_model(Path("my-barcodebert"))
    assert arguments_of(command, asked) == expected
    (command,) = commands(EXAMPLES / "config" / "pretrain_small.yaml")
    assert arguments_of(command, asked) == expected


def test_fine_tuning_script_is_the_command_in_its_head(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = commands(EXAMPLES / "finetune_barcodebert_lora.py")
    lora = script("finetune_barcodebert_lora.py", monkeypatch)["lora"]
    expected: FinetuningArguments = lora("my-barcodebert", Path("my-classifier"))
    assert arguments_of(command, asked) == expected
    assert arguments_of([*command, "--merge-adapter"], asked) == replace(expected, merge_adapter=True)


def test_aligning_script_is_the_command_in_its_head(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = commands(EXAMPLES / "align_clibd_lora.py")
    lora = script("align_clibd_lora.py", monkeypatch)["lora"]
    expected: AlignmentArguments = lora("my-clibd", Path("my-clibd-lora"))
    assert arguments_of(command, asked) == expected
    (command,) = commands(EXAMPLES / "cross_modal_retrieval.py")
    small_model = script("align_clibd_lora.py", monkeypatch)["small_model"]
    assert arguments_of(command, asked) == small_model(Path("my-clibd"))


def test_scripts_of_three_modalities_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_pictures(monkeypatch)  # of the reports, not of the script
    monkeypatch.chdir(tmp_path)
    data = ["--data", write_image_table(tmp_path / "table.parquet")]

    run_script("cross_modal_retrieval.py", monkeypatch, "--max-steps", "2", *data)
    said = capsys.readouterr().out
    assert re.search(r"The nearest of 74 barcodes is of the right family for [\d.]+% of 12 photographs", said)
    assert "found.png shows 6 of them" in said and (tmp_path / "found.png").stat().st_size > 10_000

    run_script("align_clibd_lora.py", monkeypatch, "--output", "my-clibd-lora", "--max-steps", "2", *data)
    said = capsys.readouterr().out
    assert "There is no model yet" not in said, "that of the other script is taken"
    assert "image to DNA retrieval, family, seen species" in said
    assert len(re.findall(r"^family \w+ \(\d+%\); it is ", said, re.MULTILINE)) == 6
    assert (tmp_path / "my-clibd-lora" / "model.safetensors").exists()


def test_scripts_run_one_after_the_other(
    sample: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--data", write_table(tmp_path / "table.csv", sample), "--max-steps", "2"]

    run_script("pretrain_barcodebert.py", monkeypatch, "--output", "my-barcodebert", *given)
    said = capsys.readouterr().out
    assert "step 2 of 2: loss" in said
    assert "1-NN species, seen species" in said
    assert len(re.findall(r"^\w+ \w+ is nearest to \w+ \w+ \(cosine [01]\.\d+\)$", said, re.MULTILINE)) == 5

    run_script("finetune_barcodebert_lora.py", monkeypatch, "--output", "my-classifier", *given)
    said = capsys.readouterr().out
    assert "genus, seen species (LoRA)" in said
    assert len(re.findall(r"^family \w+ \(\d+%\), genus \w+ \(\d+%\); it is ", said, re.MULTILINE)) == 5
    assert "my-classifier-merged holds the merged model" in said
    assert (tmp_path / "my-classifier" / "adapter_model.safetensors").exists()
    assert (tmp_path / "my-classifier-merged" / "model.safetensors").exists()


@pytest.mark.slow
def test_fine_tuning_script_makes_its_model_on_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_script("finetune_barcodebert_lora.py", monkeypatch, "--output", "my-classifier")
    accuracy = re.search(r"genus, seen species \(LoRA\): ([\d.]+) % of 182", capsys.readouterr().out)
    assert accuracy is not None
    assert float(accuracy[1]) > 80
