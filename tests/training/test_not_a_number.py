"""A loss or gradient that is not a number stops the loop before it gets into weights and checkpoints."""

import copy
import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bioscan_hf.training.arguments import TrainingArguments
from bioscan_hf.training.checkpoints import find_checkpoints, save_tensors
from bioscan_hf.training.loop import train
from tests.training.made_runs import masked_batches, tiny_model

ARGUMENTS = TrainingArguments(max_steps=6, batch_size=8, save_steps=2, eval_strategy="no")


def write(folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
    save_tensors(folder / "model.safetensors", weights)


class Poisoned(nn.Module):
    """A model whose loss or gradient is not a number at its third call."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.model, self.what, self.calls = tiny_model(), what, 0

    def forward(self, **inputs: torch.Tensor) -> Any:
        output = self.model(**inputs)
        self.calls += 1
        if self.calls == 3:
            output.loss = output.loss * math.nan if self.what == "loss" else output.loss + _Bad.apply(output.loss)
        return output


class _Bad(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * math.nan


@pytest.mark.parametrize(("what", "message"), [("loss", "The loss is nan"), ("grad", "The gradient has the norm nan")])
def test_what_is_not_a_number_stops_the_run_before_the_weights_have_it(what: str, message: str, tmp_path: Path) -> None:
    model, snapshots = Poisoned(what), []
    with pytest.raises(RuntimeError, match=rf"{message} at step 3 \(specimens 'P\d+' .*\)\. Its process ids are in"):
        train(
            model,
            masked_batches(),
            ARGUMENTS,
            folder=tmp_path,
            write_model=write,
            report=lambda *_: snapshots.append(copy.deepcopy(model.state_dict())),
        )
    note = json.loads((tmp_path / "not-a-number-step-3-process-0.json").read_text())
    third = list(itertools.islice(masked_batches().start(0), 3))[2]
    assert note["step"] == 3 and note["processids"] == third.processids
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in snapshots[-1].items())
    assert [path.name for path in find_checkpoints(tmp_path)] == ["checkpoint-2"]


def test_without_a_folder_it_stops_all_the_same() -> None:
    with pytest.raises(RuntimeError, match="The loss is nan at step 3"):
        train(Poisoned("loss"), masked_batches(), ARGUMENTS)
