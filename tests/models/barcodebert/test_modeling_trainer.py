"""The stock `Trainer` trains and evaluates every head."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, Trainer, TrainingArguments, default_data_collator

from tests.tiny import tiny_heads

COUNT = 8


def records(model: PreTrainedModel) -> list[dict[str, torch.Tensor]]:
    """As many labels in each, so that the mean over a batch is the mean of the means over its halves."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(2, 66, (COUNT, 5), generator=generator)
    hidden = ids.clone()
    hidden[:, 1::2] = 0
    batch = {"input_ids": hidden, "attention_mask": torch.ones_like(ids), "labels": ids}
    if model.config.ranks:
        batch["labels"] = torch.tensor([[0, 0, 0], [0, 1, 2]]).repeat(COUNT // 2, 1)
    elif "Sequence" in type(model).__name__:
        batch["labels"] = torch.arange(COUNT) % 7
    return [{name: value[i] for name, value in batch.items()} for i in range(COUNT)]


def trainer(model: PreTrainedModel, folder: Path, data: Any, **arguments: Any) -> Trainer:
    options = TrainingArguments(
        output_dir=str(folder),
        max_steps=2,
        learning_rate=1e-2,
        report_to="none",
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
        **arguments,
    )
    return Trainer(model=model, args=options, train_dataset=data, eval_dataset=data)


def head(index: int) -> PreTrainedModel:
    return tiny_heads(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)[index]


@pytest.mark.parametrize("index", range(4), ids=["masked_lm", "mae", "one_rank", "taxonomic"])
def test_gradient_accumulation_gives_the_loss_of_the_whole_batch(index: int, tmp_path: Path) -> None:
    model = head(index)
    data = records(model)
    run = trainer(model, tmp_path, data, per_device_train_batch_size=COUNT // 2, gradient_accumulation_steps=2)
    expected = model(**default_data_collator(data)).loss
    expected.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    run.train()
    first, second = (entry for entry in run.state.log_history if "loss" in entry)
    assert float(first["loss"]) == pytest.approx(expected.item(), rel=1e-3)
    assert float(first["grad_norm"]) == pytest.approx(norm.item(), rel=1e-3)
    assert float(second["loss"]) < float(first["loss"])


@pytest.mark.parametrize("index", range(4), ids=["masked_lm", "mae", "one_rank", "taxonomic"])
def test_evaluation_returns_loss_and_predictions(index: int, tmp_path: Path) -> None:
    model = head(index)
    data: Any = records(model)
    predicted: Any = trainer(model, tmp_path, data, per_device_eval_batch_size=3).predict(data)
    scores = predicted.predictions[0] if isinstance(predicted.predictions, tuple) else predicted.predictions
    assert len(scores) == COUNT and np.isfinite(scores).all()
    with torch.no_grad():
        outputs = model.eval()(**default_data_collator(data))
    np.testing.assert_allclose(scores, outputs.logits.numpy(), atol=1e-5, rtol=1e-5)
    assert predicted.metrics["test_loss"] > 0
    if "Taxonomic" in type(model).__name__:
        per_rank = predicted.predictions[1]
        assert [rank.shape for rank in per_rank] == [(COUNT, 2), (COUNT, 2), (COUNT, 3)]


def test_taxonomic_metrics_see_ranks_and_labels(tmp_path: Path) -> None:
    model = head(3)
    run = trainer(model, tmp_path, records(model), per_device_eval_batch_size=3)

    def accuracy(prediction: Any) -> dict[str, float]:
        _, per_rank = prediction.predictions
        return {"genus": float((per_rank[1].argmax(axis=1) == prediction.label_ids[:, 1]).mean())}

    run.compute_metrics = accuracy
    assert run.evaluate()["eval_genus"] in {0.0, 0.5, 1.0}
