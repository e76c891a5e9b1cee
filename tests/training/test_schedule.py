import math
from typing import Any

import pytest
import torch
from torch import nn

from bioscan_hf.training.arguments import TrainingArguments
from bioscan_hf.training.schedule import make_optimizer, make_scheduler

STEPS = 20


def rates(**fields: Any) -> list[tuple[float, float]]:
    """Learning rate and beta1 of each step."""
    arguments = TrainingArguments(**{"learning_rate": 0.5, **fields})
    optimizer = make_optimizer(nn.Linear(2, 2).parameters(), arguments, batch=64)
    scheduler = make_scheduler(optimizer, arguments, steps=STEPS)
    found = []
    for _ in range(STEPS):
        found.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"][0]))
        optimizer.step()
        scheduler.step()
    return found


def test_onecycle_is_that_of_torch_with_beta1() -> None:
    optimizer = torch.optim.AdamW(nn.Linear(2, 2).parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=STEPS + 1, pct_start=0.3)
    expected = []
    for _ in range(STEPS):
        expected.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"][0]))
        optimizer.step()
        scheduler.step()
    found = rates()
    assert found == expected
    assert max(rate for rate, _ in found) == pytest.approx(0.5, rel=0.05)
    assert len({beta for _, beta in found}) > 10 and min(beta for _, beta in found) == pytest.approx(0.85, abs=0.01)
    assert found[-1][0] > 1e-4, "the last step still learns"


def test_cosine_rises_in_the_warm_up_and_falls_to_nothing() -> None:
    found = [rate for rate, _ in rates(lr_scheduler_type="cosine", warmup_ratio=0.25)]
    expected = [0.5 * i / 5 for i in range(5)]
    expected += [0.25 * (1 + math.cos(math.pi * i / 15)) for i in range(15)]
    assert found == pytest.approx(expected)


def test_constant_stays_at_the_peak() -> None:
    assert {rate for rate, _ in rates(lr_scheduler_type="constant", warmup_ratio=0.0)} == {0.5}
    found = [rate for rate, _ in rates(lr_scheduler_type="constant", warmup_ratio=0.1)]
    assert found == pytest.approx([0, 0.25] + [0.5] * 18)


@pytest.mark.parametrize(("scale", "batch", "expected"), [(False, 16, 1e-3), (True, 16, 2.5e-4), (True, 256, 4e-3)])
def test_rate_is_scaled_by_the_examples_of_a_step(scale: bool, batch: int, expected: float) -> None:
    arguments = TrainingArguments(learning_rate=1e-3, scale_learning_rate=scale, weight_decay=0.25)
    optimizer = make_optimizer(nn.Linear(2, 2).parameters(), arguments, batch=batch)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)
    assert optimizer.param_groups[0]["weight_decay"] == 0.25


def test_only_what_is_trained_is_optimised() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    optimizer = make_optimizer(model.parameters(), TrainingArguments(), batch=64)
    assert optimizer.param_groups[0]["params"] == list(model[1].parameters())
    with pytest.raises(ValueError, match="nothing to train"):
        make_optimizer(model[0].parameters(), TrainingArguments(), batch=64)
