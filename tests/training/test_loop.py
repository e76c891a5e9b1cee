import copy
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from bioscan_hf import BarcodeBertForMaskedLM, KmerEncoder
from bioscan_hf.data.collators import MaskedKmerCollator
from bioscan_hf.training.arguments import TrainingArguments
from bioscan_hf.training.loop import train

BARCODES = ["ACGTTGCAACGGTACC", "TTTTGGGGCCCCAAAA", "ACACACACGTGTGTGT", "GATTACAGATTACAGA"]
ARGUMENTS = TrainingArguments(max_steps=20, batch_size=2, learning_rate=1e-2)


def batches(collate: Any = None) -> DataLoader:
    return DataLoader(BARCODES, batch_size=2, collate_fn=collate or MaskedKmerCollator(KmerEncoder(3)))  # type: ignore[arg-type]


def repeated(barcodes: list[str]) -> dict[str, torch.Tensor]:
    """A batch without chance: every k-mer visible and labelled."""
    ids, mask = map(torch.from_numpy, KmerEncoder(3)(barcodes))
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.clone()}


def test_loss_falls_on_a_repeated_batch(masked_lm: BarcodeBertForMaskedLM) -> None:
    seen: list[tuple[int, float]] = []
    losses = train(masked_lm, batches(repeated), ARGUMENTS, report=lambda step, loss: seen.append((step, loss)))
    assert losses[-1] < 0.85 * losses[0]
    assert seen == list(enumerate(losses, start=1)) and len(losses) == 20
    assert not masked_lm.training


def test_equals_the_loop_written_out(masked_lm: BarcodeBertForMaskedLM) -> None:
    model = copy.deepcopy(masked_lm)
    for module in (*masked_lm.modules(), *model.modules()):
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for config in (masked_lm.config, model.config):
        config.attention_probs_dropout_prob = 0.0
    losses = train(masked_lm, batches(repeated), ARGUMENTS)

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=21, pct_start=0.3)
    model.train()
    expected = []
    for step in range(20):
        loss = model(**repeated(BARCODES[:2] if step % 2 == 0 else BARCODES[2:])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        expected.append(loss.item())
    assert losses == pytest.approx(expected, abs=1e-5)


def test_loss_that_is_not_a_number_stops_the_run(masked_lm: BarcodeBertForMaskedLM) -> None:
    with torch.no_grad():
        masked_lm.classifier.bias.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="nan at step 1; try a lower `learning_rate`"):
        train(masked_lm, batches(), ARGUMENTS)


def test_no_batch_is_an_error(masked_lm: BarcodeBertForMaskedLM) -> None:
    empty: DataLoader[Any] = DataLoader(BARCODES, batch_size=8, drop_last=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fewer specimens than one batch"):
        train(masked_lm, empty, ARGUMENTS)
