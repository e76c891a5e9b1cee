"""The table of encoders in docs/performance.md is that of the committed results."""

from pathlib import Path

import pytest

from bioscan_hf.evaluation.results import read_results

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
RESULTS = ROOT / "docs" / "results" / "encoders"
SMALL = "barcodebert-small"
ROWS = {
    "4-mer counts": (SMALL, "4-mer counts", None, None),
    "6-mer counts": (SMALL, "6-mer counts", None, None),
    "BarcodeBERT, 1 layer, self-supervised": ("barcodebert-ssl", "barcodebert-ssl", None, None),
    f"**{SMALL}**": (SMALL, SMALL, f"{SMALL}-probe", f"{SMALL}-species"),
}


def accuracy(file: str | None, benchmark: str, model: str) -> str:
    if file is None:
        return "-"
    (found,) = (
        result
        for result in read_results(RESULTS / f"{file}.json")
        if (result.benchmark, result.metric, result.model) == (benchmark, "accuracy", model)
    )
    return f"{100 * found.value:.1f}"


@pytest.mark.parametrize("name", ROWS)
def test_row_is_that_of_the_results(name: str) -> None:
    file, model, probe, tuned = ROWS[name]
    table = PAGE.split("| encoder | labels it saw |")[1].split("\n\n")[0]
    (row,) = (line for line in table.splitlines() if line.startswith(f"| {name} |"))
    assert [cell.strip() for cell in row.split("|")[3:-1]] == [
        accuracy(file, "1-NN genus, unseen species", model),
        accuracy(file, "1-NN species, seen species", model),
        accuracy(probe, "species, seen species (linear probe)", probe or ""),
        accuracy(tuned, "species, seen species (full fine-tuning)", tuned or ""),
    ]


@pytest.mark.parametrize("file", ["barcodebert-small", "barcodebert-ssl"])
def test_commands_are_those_of_the_results(file: str) -> None:
    commands = {result.command for result in read_results(RESULTS / f"{file}.json")}
    assert len(commands) == 1 and commands.pop() in PAGE.replace(" \\\n    ", " ")


def test_packaged_encoder_is_the_one_of_the_table() -> None:
    packaged = ROOT / "bioscan_hf" / "models" / "pretrained" / "barcodebert-small" / "results.json"
    assert read_results(packaged) == read_results(RESULTS / "barcodebert-small.json")
