import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bioscan_hf.training.alignment_arguments import AlignmentArguments
from bioscan_hf.training.arguments import TrainingArguments
from bioscan_hf.training.schedule import make_optimizer, make_scheduler

STEPS = 20


def rates(**fields: Any) -> list[tuple[float, float]]:
    """Learning rate and beta1 of each step."""
    arguments = TrainingArguments(**{"learning_rate": 0.5, **fields})
    optimizer = make_optimizer(nn.Linear(2, 2), arguments, batch=64)
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
    optimizer = make_optimizer(nn.Linear(2, 2), arguments, batch=batch)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)
    assert optimizer.param_groups[0]["weight_decay"] == 0.25


def test_only_what_is_trained_is_optimised() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    optimizer = make_optimizer(model, TrainingArguments(), batch=64)
    assert optimizer.param_groups[0]["params"] == list(model[1].parameters())
    with pytest.raises(ValueError, match="nothing to train"):
        make_optimizer(model[0], TrainingArguments(), batch=64)


def test_parameters_may_have_a_rate_and_a_decay_of_their_own() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    arguments = TrainingArguments(learning_rate=1e-3, weight_decay=0.25, scale_learning_rate=True)

    def group_of(name: str, parameter: nn.Parameter) -> Mapping[str, float]:
        own = {"lr": 5e-3} if name.startswith("1.") else {}
        return own if parameter.ndim > 1 else {**own, "weight_decay": 0.0}

    groups = make_optimizer(model, arguments, batch=32, group_of=group_of).param_groups
    found = {(group["lr"], group["weight_decay"]): group["params"] for group in groups}
    assert found == {
        (5e-4, 0.25): [model[0].weight],
        (5e-4, 0.0): [model[0].bias],
        (2.5e-3, 0.25): [model[1].weight],
        (2.5e-3, 0.0): [model[1].bias],
    }


def test_groups_keep_their_share_of_the_rate_all_along() -> None:
    model = nn.Linear(2, 2)
    arguments = TrainingArguments(learning_rate=1e-3)
    optimizer = make_optimizer(model, arguments, batch=64, group_of=lambda name, _: {"lr": 1e-2} if "b" in name else {})
    scheduler = make_scheduler(optimizer, arguments, steps=STEPS)
    for _ in range(STEPS):
        small, large = (group["lr"] for group in optimizer.param_groups)
        assert large == pytest.approx(10 * small)
        optimizer.step()
        scheduler.step()


class TestClibd:
    """Rates as the reference's at each step; the file is described in parity/README.md."""

    STORED: dict[str, Any] = json.loads((Path(__file__).parent / "parity" / "clibd_lr_schedule.json").read_text())

    def rates(self, batch: int, steps: int) -> list[tuple[float, float]]:
        """Learning rate and beta1 of each step."""
        arguments = AlignmentArguments(data="x", output=Path("o"))
        optimizer = make_optimizer(nn.Linear(2, 2), arguments, batch=batch)
        scheduler = make_scheduler(optimizer, arguments, steps=steps)
        found = []
        for _ in range(steps):
            [group] = optimizer.param_groups
            found.append((group["lr"], group["betas"][0]))
            optimizer.step()
            scheduler.step()
        return found

    def test_rates_of_each_step(self) -> None:
        batch = self.STORED["batch_size"] * self.STORED["world_size"]
        # Ours has one step more, whose rate of almost nothing is not used: so it is that of one step less.
        found = self.rates(batch, self.STORED["total_steps"] - 1)
        assert [rate for rate, _ in found] == pytest.approx(self.STORED["lr_used_at_step"][:-1], rel=1e-9)
        assert {beta for _, beta in found} == {self.STORED["betas"][0]}, "Adam's momentum stays"

    def test_rates_grow_with_the_specimens_of_a_step(self) -> None:
        assert AlignmentArguments.reference_batch == self.STORED["base_batch_size"]
        for batch, peak in ((500, 5e-5), (2000, 2e-4), (50, 5e-6)):
            found = [rate for rate, _ in self.rates(batch, 100)]
            assert max(found) == pytest.approx(peak, rel=0.01) and found[0] == pytest.approx(peak / 25)
        assert self.STORED["scaled_max_lr"] == pytest.approx(2e-4)
