"""A run that is interrupted and resumed gives the same to the bit, in all its ways."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bioscan_hf.training.arguments import TrainingArguments
from bioscan_hf.training.batches import Place
from bioscan_hf.training.checkpoints import load_state, save_tensors
from bioscan_hf.training.loop import train
from tests.training.made_runs import forget_processes, masked_batches, sha256, tiny_model

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "average": {"ema_decay": 0.9},
    "accumulation": {"batch_size": 4, "gradient_accumulation_steps": 2},
    "dropout": {"dropout": 0.1},
    "cosine": {"lr_scheduler_type": "cosine", "weight_decay": 0.1},
    "bf16": {"mixed_precision": "bf16"},
    "workers": {"num_workers": 1},
    "normalised": {"ema_decay": 0.9, "normalised": True},
}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget_processes()
    yield
    forget_processes()


class Normalised(nn.Module):
    """A model that learns a running mean, too."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.norm = model, nn.BatchNorm1d(1)

    def forward(self, **inputs: torch.Tensor) -> Any:
        output = self.model(**inputs)
        output.loss = (
            output.loss + 0.1 * self.norm(inputs["input_ids"].float().mean(dim=1, keepdim=True)).square().mean()
        )
        return output


def ran(folder: Path, way: dict[str, Any], *, resume: Path | None = None) -> dict[str, torch.Tensor]:
    """Weights after a run of ten steps, with a checkpoint every three."""
    fields = dict(way)
    model: nn.Module = tiny_model(fields.pop("dropout", 0.0), seed=0 if resume is None else 5)
    if fields.pop("normalised", False):
        model = Normalised(model)
    given = {"max_steps": 10, "batch_size": 8, "learning_rate": 1e-2, "logging_steps": 4, "save_steps": 3}
    arguments = TrainingArguments(**{**given, "eval_strategy": "steps", "eval_steps": 2, **fields})
    place = Place(0, 1, arguments.batch_size, arguments.gradient_accumulation_steps)
    batches = masked_batches(place)
    batches.workers = arguments.num_workers
    torch.manual_seed(1 if resume is None else 2)  # must not matter

    def write(target: Path, weights: Mapping[str, torch.Tensor]) -> None:
        save_tensors(target / "model.safetensors", weights)

    train(
        model,
        batches,
        arguments,
        evaluate=lambda evaluated: {"chance": float(torch.rand(()))},
        folder=folder,
        write_model=write,
        resume=resume,
    )
    return model.state_dict()


@pytest.mark.parametrize("name", WAYS)
def test_resumed_run_equals_the_uninterrupted_one(name: str, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = ran(whole, WAYS[name])
    forget_processes()
    found = ran(parts, WAYS[name], resume=whole / "checkpoint-6")
    assert all(torch.equal(found[key], weight) for key, weight in expected.items())
    for file in ("model.safetensors", "optimizer.safetensors", "optimizer.json", "schedule.json"):
        assert sha256(parts / "checkpoint-10" / file) == sha256(whole / "checkpoint-10" / file), file
    before, after = (load_state(folder / "checkpoint-10") for folder in (whole, parts))
    assert [record.get("loss") for record in before.history] == [record.get("loss") for record in after.history]
    assert (before.starts, after.starts) == (1, 2) and after.seconds > load_state(whole / "checkpoint-6").seconds


def test_resume_in_other_parts_of_the_same_step_gives_the_same_losses(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    ran(whole, {})
    ran(tmp_path / "parts", WAYS["accumulation"], resume=whole / "checkpoint-6")
    before, after = (load_state(folder / "checkpoint-10") for folder in (whole, tmp_path / "parts"))
    for ours, theirs in zip(before.history, after.history, strict=True):
        assert ours.get("loss") == pytest.approx(theirs.get("loss"), abs=1e-5)
