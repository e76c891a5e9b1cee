"""An alignment that is killed and resumed gives the same to the bit as one that never was."""

import signal
from pathlib import Path
from typing import Any

import pytest

from bioscan_hf.training.checkpoints import last_checkpoint, step_of
from tests.training.made_alignments import align_words, alignment, made_rows, save_towers, without, write_specimens
from tests.training.made_runs import run_program, sha256

# Dropout, augmentation, random starts and shortened texts: chance of all kinds.
CHANCE: dict[str, Any] = {"random_offset": True, "caption_dropout": 0.3, "jitter": 0.1, "image_learning_rate": 1e-4}
WAYS: dict[str, dict[str, Any]] = {
    "full": {**CHANCE, "chunk_size": 5},
    "lora": {**CHANCE, "method": "lora", "lora_dropout": 0.2, "mixed_precision": "bf16"},
    "going_on": {"modalities": "image,dna", "loss_type": "sigmoid", "freeze": "image", "ema_decay": 0.9},
    "stream": {"streaming": True, "shuffle_buffer": 10, "gradient_accumulation_steps": 2},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Specimens of whom some lack something."""
    rows = [without(row, *{3: ["image"], 5: ["dna"]}.get(i % 7, [])) for i, row in enumerate(made_rows(36))]
    rows = [{**row, "split": None} for row in rows]
    return write_specimens(tmp_path_factory.mktemp("data") / "table.parquet", rows)


@pytest.fixture(scope="module")
def towers(table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return save_towers(tmp_path_factory.mktemp("towers"), dropout=0.1)


@pytest.mark.parametrize(
    ("way", "moment", "kept"),
    [
        ("full", "step:4", 2),
        pytest.param("lora", "saving:2", 2, marks=pytest.mark.slow),
        pytest.param("lora", "final:1", 4, marks=pytest.mark.slow),
        pytest.param("going_on", "step:3", 2, marks=pytest.mark.slow),
        pytest.param("stream", "step:7", 2, marks=pytest.mark.slow),
    ],
)
def test_killed_run_goes_on_to_the_same_model(
    way: str, moment: str, kept: int, table: Path, towers: dict[str, str], tmp_path: Path
) -> None:
    log, options = tmp_path / "log", {**towers, **WAYS[way]}
    if way == "going_on":
        first = align_words(alignment(table, tmp_path / "first", **towers, max_steps=1))
        assert run_program(first, log) == 0, log.read_text()
        options["model"] = str(tmp_path / "first")
    assert run_program(align_words(alignment(table, tmp_path / "whole", **options)), log) == 0, log.read_text()
    output = tmp_path / "parts"
    words = align_words(alignment(table, output, **options))
    assert run_program(words, log, signal_at=f"{moment}:SIGKILL") == -signal.SIGKILL, log.read_text()
    found = last_checkpoint(output)
    assert found is not None and step_of(found) == kept
    assert not (output / "model.safetensors").exists(), "what is not complete is not there"
    assert run_program([*words, "--resume"], log) == 0, log.read_text()
    assert sha256(output / "model.safetensors") == sha256(tmp_path / "whole" / "model.safetensors")
    for file in ("optimizer.safetensors", "optimizer.json", "schedule.json"):
        last = "checkpoint-4"
        assert sha256(output / last / file) == sha256(tmp_path / "whole" / last / file), file


@pytest.mark.slow
def test_asked_to_stop_it_writes_a_checkpoint_and_goes_on_later(
    table: Path, towers: dict[str, str], tmp_path: Path
) -> None:
    log, options = tmp_path / "log", {**towers, **WAYS["full"]}
    assert run_program(align_words(alignment(table, tmp_path / "whole", **options)), log) == 0, log.read_text()
    words = align_words(alignment(table, tmp_path / "parts", **options))
    assert run_program(words, log, signal_at="step:1:SIGTERM") == 0, log.read_text()
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    assert run_program([*words, "--resume"], log) == 0, log.read_text()
    digests = {sha256(tmp_path / name / "model.safetensors") for name in ("whole", "parts")}
    assert len(digests) == 1
