"""The program is killed at any moment, or asked to stop, and goes on as if nothing had been."""

import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from bioscan_hf.training.checkpoints import find_checkpoints, last_checkpoint, step_of
from tests.training.made_runs import bioscan, ended, pretraining, run_program, sha256, start, words_of, write_table

WAYS: dict[str, dict[str, Any]] = {
    "plain": {"mixed_precision": "bf16"},
    "stream": {"streaming": True, "shuffle_buffer": 10, "gradient_accumulation_steps": 2, "batch_size": 4},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "table.csv")


@pytest.fixture(scope="module")
def digests(table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the models of uninterrupted runs."""
    folder = tmp_path_factory.mktemp("whole")
    found = {}
    for name, way in WAYS.items():
        words = words_of(pretraining(table, folder / name, **way))
        assert run_program(words, folder / "log") == 0, (folder / "log").read_text()
        found[name] = sha256(folder / name / "model.safetensors")
    assert len(set(found.values())) == len(found)
    return found


@pytest.mark.parametrize(
    ("way", "moment", "kept"),
    [
        ("plain", "step:1", None),
        ("plain", "step:6", 4),
        ("plain", "saving:2", 2),
        ("plain", "final:1", 6),
        ("stream", "step:9", 4),
    ],
)
def test_killed_run_goes_on_to_the_same_model(
    way: str, moment: str, kept: int | None, table: Path, digests: dict[str, str], tmp_path: Path
) -> None:
    output, log = tmp_path / "model", tmp_path / "log"
    words = words_of(pretraining(table, output, **WAYS[way]))
    assert run_program(words, log, signal_at=f"{moment}:SIGKILL") == -signal.SIGKILL, log.read_text()
    found = last_checkpoint(output)
    assert (None if found is None else step_of(found)) == kept
    assert not (output / "model.safetensors").exists(), "what is not complete is not there"
    assert run_program([*words, "--resume"], log) == 0, log.read_text()
    assert sha256(output / "model.safetensors") == digests[way]
    assert (f"Going on from {found}" in log.read_text().replace("\n", "")) == (found is not None)
    assert not [path.name for path in output.iterdir() if path.name.startswith(".")], "nothing is left over"
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_killed_at_random_again_and_again_it_ends_with_the_same_model(
    table: Path, digests: dict[str, str], tmp_path: Path
) -> None:
    output, log = tmp_path / "model", tmp_path / "log"
    words = words_of(pretraining(table, output, **WAYS["plain"]))
    for seed in range(2):
        process = start(bioscan, words, log=log)
        time.sleep(random.Random(seed).uniform(0.3, 0.9))
        process.kill()
        process.join()
        words = [*words, "--resume"] if seed == 0 else words
    assert run_program(words, log) == 0, log.read_text()
    assert sha256(output / "model.safetensors") == digests["plain"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_asked_to_stop_it_writes_a_checkpoint_and_goes_on_later(
    name: str, table: Path, digests: dict[str, str], tmp_path: Path
) -> None:
    output, log = tmp_path / "model", tmp_path / "log"
    words = words_of(pretraining(table, output, **WAYS["plain"]))
    assert run_program(words, log, signal_at=f"step:3:{name}") == 0
    assert f"{name} came: {output}/checkpoint-3 is written".split()[0] in log.read_text()
    last = max(step_of(path) for path in find_checkpoints(output))
    assert last in (3, 4) and not (output / "model.safetensors").exists()
    assert run_program([*words, "--resume"], log) == 0, log.read_text()
    assert sha256(output / "model.safetensors") == digests["plain"]


def test_resumed_when_it_is_finished_it_says_so_and_does_nothing(
    table: Path, digests: dict[str, str], tmp_path: Path
) -> None:
    output, log = tmp_path / "model", tmp_path / "log"
    words = words_of(pretraining(table, output, max_steps=1))
    assert run_program(words, log) == 0
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert ended(start(bioscan, [*words, "--resume"], log=log), log) == 0
    assert "is finished; there is nothing to go on with" in log.read_text().replace("\n", " ")
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before
