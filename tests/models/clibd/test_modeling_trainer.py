"""The stock `Trainer` trains and evaluates the model and its classifier."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, Trainer, TrainingArguments

from bioscan_hf import ClibdForImageClassification, ClibdModel
from tests.models.clibd.made_specimens import made_batch
from tests.tiny import tiny_clibd, tiny_clibd_config, tiny_clibd_processor

COUNT = 8


def records(**more: Any) -> list[dict[str, torch.Tensor]]:
    batch = made_batch(COUNT, **more)
    return [{name: value[i] for name, value in batch.items()} for i in range(COUNT)]


def trainer(model: PreTrainedModel, folder: Path, data: Any, **arguments: Any) -> Trainer:
    options = TrainingArguments(
        output_dir=str(folder),
        learning_rate=1e-2,
        report_to="none",
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
        **{"max_steps": 8, "per_device_train_batch_size": COUNT, **arguments},
    )
    return Trainer(model=model, args=options, train_dataset=data, eval_dataset=data)


def losses(run: Trainer) -> list[float]:
    return [float(entry["loss"]) for entry in run.state.log_history if "loss" in entry]


@pytest.mark.parametrize("fields", [{}, {"loss_type": "sigmoid"}, {"loss_targets": "mean"}])
def test_loss_falls_and_is_evaluated(fields: dict[str, Any], tmp_path: Path) -> None:
    model = tiny_clibd(**fields)
    data = records(has_dna=torch.arange(COUNT) != 3, group_ids=torch.arange(COUNT) // 2)
    run = trainer(model, tmp_path, data, eval_strategy="steps", eval_steps=4)
    run.train()
    found = losses(run)
    assert len(found) == 8 and found[-1] < 0.9 * found[0]
    evaluated = [entry["eval_loss"] for entry in run.state.log_history if "eval_loss" in entry]
    assert len(evaluated) == 2 and evaluated[1] < evaluated[0]
    # Saved by the Trainer, and loaded.
    run.save_model(str(tmp_path / "saved"))
    again = ClibdModel.from_pretrained(tmp_path / "saved")
    assert torch.equal(again.logit_scale.log_scale, model.logit_scale.log_scale)


def test_first_loss_is_that_of_the_batch_and_accumulation_takes_the_mean(tmp_path: Path) -> None:
    data = records()
    model = tiny_clibd()
    halves = [{name: torch.stack([row[name] for row in half]) for name in data[0]} for half in (data[:4], data[4:])]
    expected = np.mean([model.train()(**half).loss.item() for half in halves])
    # In its order: which are together makes the loss.
    run = trainer(
        model,
        tmp_path,
        data,
        max_steps=1,
        per_device_train_batch_size=COUNT // 2,
        gradient_accumulation_steps=2,
        train_sampling_strategy="sequential",
    )
    run.train()
    assert losses(run) == pytest.approx([expected], rel=1e-4)


def test_embeddings_are_predicted(tmp_path: Path) -> None:
    model = tiny_clibd()
    data: Any = records()
    # Batches of three, three and two, whose matrices of similarities do not fit together.
    predicted: Any = trainer(model, tmp_path, data, per_device_eval_batch_size=3).predict(data)
    with torch.no_grad():
        expected = model.eval()(**made_batch(COUNT))
    names = ("image_embeds", "dna_embeds", "text_embeds")
    assert len(predicted.predictions) == 3
    for found, name in zip(predicted.predictions, names, strict=True):
        np.testing.assert_allclose(found, expected[name].numpy(), atol=1e-5)
    assert predicted.metrics["test_loss"] > 0


def test_classifier_is_fine_tuned(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ClibdForImageClassification(tiny_clibd_config())
    model.set_taxa(["Aptera Aus", "Bptera Cus"], tiny_clibd_processor())
    pixels = made_batch(COUNT)["pixel_values"]
    data = [{"pixel_values": pixels[i], "labels": i % 2} for i in range(COUNT)]
    run = trainer(model, tmp_path, data)

    def accuracy(found: Any) -> dict[str, float]:
        return {"accuracy": float((found.predictions.argmax(axis=1) == found.label_ids).mean())}

    run.compute_metrics = accuracy
    before = run.evaluate()
    run.train()
    after = run.evaluate()
    assert after["eval_loss"] < before["eval_loss"] and after["eval_accuracy"] >= before["eval_accuracy"]
