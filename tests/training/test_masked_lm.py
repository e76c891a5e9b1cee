from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import DataCollatorForLanguageModeling, Trainer
from transformers import TrainingArguments as StockArguments

from bioscan_hf import BarcodeBertConfig, BarcodeBertForMaskedLM, build_tokenizer
from bioscan_hf.training.arguments import TrainingArguments
from bioscan_hf.training.masked_lm import distinct_barcodes, pretrain
from tests.tiny import tiny_config

ARGUMENTS = TrainingArguments(max_steps=40, batch_size=8, learning_rate=1e-2)


@pytest.fixture(scope="module")
def barcodes(sample: Dataset) -> Dataset:
    return sample.select(range(200))


def test_distinct_barcodes_ignore_n_at_the_end() -> None:
    dataset = Dataset.from_dict({"dna_barcode": ["ACGTNN", "CC", "ACGT", "NACGT", "NN", "CC"]})
    assert distinct_barcodes(dataset) == ["ACGT", "CC", "NACGT"]


def test_model_learns_barcodes(barcodes: Dataset) -> None:
    model, losses = pretrain(tiny_config(), barcodes, ARGUMENTS)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert not model.training


def test_seed_decides_everything(barcodes: Dataset) -> None:
    arguments = TrainingArguments(max_steps=3, batch_size=8, seed=1)
    first, second = (pretrain(tiny_config(), barcodes, arguments)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = pretrain(tiny_config(), barcodes, TrainingArguments(max_steps=3, batch_size=8, seed=2))[0].state_dict()
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_too_few_barcodes_are_refused(barcodes: Dataset) -> None:
    with pytest.raises(ValueError, match="one batch of 64 distinct barcodes; got 1"):
        pretrain(tiny_config(), barcodes.select([0, 0, 0]), TrainingArguments(max_steps=1))


def test_models_train_in_the_stock_trainer(barcodes: Dataset, tmp_path: Path) -> None:
    tokenizer = build_tokenizer(3)
    tokens = barcodes.map(lambda rows: tokenizer(rows["dna_barcode"], truncation=True), batched=True)
    model = BarcodeBertForMaskedLM(BarcodeBertConfig(**tiny_config().to_diff_dict()))
    trainer = Trainer(
        model=model,
        args=StockArguments(
            output_dir=str(tmp_path), max_steps=20, learning_rate=1e-2, report_to="none", use_cpu=True, logging_steps=10
        ),
        train_dataset=tokens.select_columns(["input_ids", "attention_mask"]),
        data_collator=DataCollatorForLanguageModeling(
            tokenizer, mlm_probability=0.5, mask_replace_prob=1.0, random_replace_prob=0.0
        ),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
