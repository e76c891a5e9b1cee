"""Several processes train what one does, stop together, and spread models over them are saved whole."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from bioscan_hf import build_tokenizer
from bioscan_hf.hub.push import save_model
from bioscan_hf.training.checkpoints import (
    find_checkpoints,
    load_optimizer,
    model_weights,
    optimizer_state,
    read_tensors,
    save_optimizer,
    save_tensors,
)
from tests.training.made_runs import (
    ended,
    finetuning,
    pretraining,
    process_environments,
    run_program,
    run_together,
    start,
    tiny_model,
    words_of,
    write_table,
)

ROOT = Path(__file__).parents[2]
# No dropout, whose draws differ between processes; few masks, so that these have unequal numbers of labels.
RUN: dict[str, Any] = {"dropout": 0.0, "mlm_probability": 0.1, "eval_strategy": "steps", "eval_steps": 3}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "table.csv")


@pytest.fixture(scope="module")
def alone(table: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """The records of one process with batches of 8."""
    folder = tmp_path_factory.mktemp("alone")
    assert run_program(words_of(pretraining(table, folder / "model", **RUN)), folder / "log") == 0
    return history(folder / "model" / "history.json")


def history(path: Path) -> list[dict[str, float]]:
    """Losses and evaluations of each record."""
    records = json.loads(path.read_text())
    return [{k: v for k, v in record.items() if k in ("step", "loss") or k.startswith("eval_")} for record in records]


def check_same(found: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_two_processes_train_what_one_does_and_one_can_go_on(
    table: Path, alone: list[dict[str, float]], tmp_path: Path
) -> None:
    assert {"loss", "eval_loss"} <= alone[2].keys()
    output, log = tmp_path / "model", tmp_path / "log"
    two = words_of(pretraining(table, output, **RUN, batch_size=4))
    assert run_together(two, log, signal_at="step:4:SIGTERM:1") == [0, 0], log.read_text()
    assert log.read_text().count("The same command with --resume") == 1, "one process speaks for both"
    names = {path.name for path in find_checkpoints(output)}
    assert names in ({"checkpoint-2", "checkpoint-4"}, {"checkpoint-2", "checkpoint-4", "checkpoint-5"})
    one = words_of(pretraining(table, output, **RUN, batch_size=8))
    assert run_program([*one, "--resume"], log) == 0, log.read_text()
    check_same(history(output / "history.json"), alone)


def test_two_processes_fine_tune_and_average_what_one_does(table: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "base", tiny_model(dropout=0.0), build_tokenizer(3))
    log = tmp_path / "log"
    options: dict[str, Any] = {"rank": "genus,species", "ema_decay": 0.8, "eval_strategy": "steps", "eval_steps": 3}
    one, two = (
        words_of(finetuning(table, tmp_path / "base", tmp_path / str(size), batch_size=size, **options))
        for size in (8, 4)
    )
    assert run_program(one, log) == 0 and run_together(two, log) == [0, 0], log.read_text()
    expected = history(tmp_path / "8" / "history.json")
    assert "eval_accuracy_genus" in expected[2]
    check_same(history(tmp_path / "4" / "history.json"), expected)


def by_torchrun(words: list[str], *, signal_at: str = "") -> str:
    """Run `bioscan` in two processes; returns what they wrote to stdout."""
    port = process_environments(2)[0]["MASTER_PORT"]
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    result = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "tests.training.made_runs", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "SIGNAL": signal_at},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow  # starts Python six times
def test_torchrun_ends_well_when_a_process_is_asked_to_stop_and_goes_on(
    table: Path, alone: list[dict[str, float]], tmp_path: Path
) -> None:
    words = words_of(pretraining(table, tmp_path / "model", **RUN, batch_size=2, gradient_accumulation_steps=2))
    assert by_torchrun(words, signal_at="step:5:SIGTERM:1").count("The same command with --resume") == 1
    assert by_torchrun([*words, "--resume"]).count("Written to") == 1
    check_same(history(tmp_path / "model" / "history.json"), alone)
    assert "2 processes" in (tmp_path / "model" / "README.md").read_text()


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    ids = torch.arange(2, 34).reshape(4, 8)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def spread_over_two_processes(folder: Path) -> None:
    """Train two steps with FSDP2, save, and go on in another model; in each process."""
    distributed.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2,))

    def make(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        model: Any = tiny_model(seed=seed)
        for layer in model.bert.encoder.layer:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model, torch.optim.AdamW(model.parameters(), lr=1e-2)

    model, optimizer = make(0)
    step(model, optimizer)
    weights, state = model_weights(model), optimizer_state(model, optimizer)
    if distributed.get_rank() == 0:
        save_tensors(folder / "weights.safetensors", weights)
        save_optimizer(folder, state)
    distributed.barrier()
    other, fresh = make(0)
    for theirs, ours in zip(other.parameters(), model.parameters(), strict=True):
        theirs.data.copy_(ours.data)
    load_optimizer(folder, other, fresh)
    step(other, fresh)
    after = model_weights(other)
    if distributed.get_rank() == 0:
        save_tensors(folder / "after.safetensors", after)
    distributed.destroy_process_group()


def test_a_model_spread_by_fsdp_is_saved_whole_and_its_optimiser_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    environments = process_environments(2)
    started = [start(spread_over_two_processes, tmp_path, log=log, environment=own) for own in environments]
    assert [ended(process, log) for process in started] == [0, 0], log.read_text()
    model = tiny_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for name in ("weights", "after"):
        step(model, optimizer)
        found = read_tensors(tmp_path / f"{name}.safetensors")
        assert found.keys() == model.state_dict().keys()
        for key, weight in model.state_dict().items():
            torch.testing.assert_close(found[key], weight, atol=1e-5, rtol=1e-5)
