"""Two processes align what one does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bioscan_hf.evaluation.results import read_results
from bioscan_hf.training.checkpoints import read_tensors
from tests.training.made_alignments import Row, align_words, alignment, made_rows, save_towers, without, write_specimens
from tests.training.made_runs import run_program, run_together

# Augmentation is drawn for each specimen, whichever process makes it.
WAYS: dict[str, dict[str, Any]] = {
    "full": {"chunk_size": 3},
    "sigmoid": {"loss_type": "sigmoid", "loss_targets": "hierarchical", "loss_tile": 3},
    "mask": {"loss_targets": "mask", "weight_decay": 0.1, "freeze": "text"},
    "lora": {"method": "lora", "learning_rate": 1e-2},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen specimens, of which every step takes all: in some steps only one process has images."""
    rows: list[Row] = [
        {**without(row, *(["image"] if i > 2 else [])), "split": None} for i, row in enumerate(made_rows(16))
    ]
    return write_specimens(tmp_path_factory.mktemp("data") / "table.parquet", rows)


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return save_towers(tmp_path_factory.mktemp("towers"))


@pytest.mark.parametrize(
    "way", ["full", *(pytest.param(name, marks=pytest.mark.slow) for name in WAYS if name != "full")]
)
def test_two_processes_give_the_weights_of_one(way: str, table: Path, towers: dict[str, str], tmp_path: Path) -> None:
    log, options = tmp_path / "log", {**towers, **WAYS[way]}
    one, two = (align_words(alignment(table, tmp_path / str(size), batch_size=size, **options)) for size in (16, 8))
    assert run_program(one, log) == 0, log.read_text()
    assert run_together(two, log) == [0, 0], log.read_text()
    losses = [
        [record["loss"] for record in json.loads((tmp_path / name / "history.json").read_text())]
        for name in ("16", "8")
    ]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    expected, found = (read_tensors(tmp_path / name / "model.safetensors") for name in ("16", "8"))
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-4, rtol=0, msg=name)
    card = (tmp_path / "8" / "README.md").read_text()
    assert "16 specimens were compared with each other" in card and "on 2 processes" in card


@pytest.mark.slow
def test_two_processes_evaluate_what_one_does(towers: dict[str, str], tmp_path: Path) -> None:
    table, log = write_specimens(tmp_path / "t.parquet", made_rows(72)), tmp_path / "log"
    options: dict[str, Any] = {**towers, "eval_strategy": "steps", "eval_steps": 2, "max_test_samples": 10}
    options |= {"metric_for_best_model": "overall"}
    one, two = (align_words(alignment(table, tmp_path / str(size), batch_size=size, **options)) for size in (16, 8))
    assert run_program(one, log) == 0, log.read_text()
    assert run_together(two, log) == [0, 0], log.read_text()
    evaluated = [
        [
            record["eval_overall"]
            for record in json.loads((tmp_path / name / "history.json").read_text())
            if "eval_overall" in record
        ]
        for name in ("16", "8")
    ]
    assert evaluated[0] == pytest.approx(evaluated[1]) and len(evaluated[0]) == 2
    one_measured, two_measured = (read_results(tmp_path / name / "results.json") for name in ("16", "8"))
    assert [r.value for r in one_measured] == pytest.approx([r.value for r in two_measured]) and one_measured
    assert (tmp_path / "8" / "retrieval" / "README.md").exists()
