from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset, IterableDataset
from transformers import DataCollatorForLanguageModeling, Trainer
from transformers import TrainingArguments as StockArguments

from bioscan_hf import BarcodeBertConfig, BarcodeBertForMaskedLM, BarcodeMAE, KmerEncoder, build_tokenizer
from bioscan_hf.data.collators import IGNORED_LABEL, MaskedKmerCollator
from bioscan_hf.tokenization.kmer import MASK_ID
from bioscan_hf.training.masked_lm import MaskedBarcodes, distinct_barcodes, pretraining_task
from bioscan_hf.training.task import Task
from tests.tiny import tiny_config
from tests.training.made_runs import made_rows, pretraining, write_table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "table.csv")


def task(table: Path, **changes: Any) -> Task:
    return pretraining_task(pretraining(table, table.parent / "model", **changes), Accelerator())


def test_the_first_of_each_distinct_barcode_stays_whatever_n_is_at_the_end() -> None:
    barcodes = ["ACGTNN", "CC", "ACGT", "NACGT", "NN", "CC"]
    dataset = Dataset.from_dict({"processid": list("abcdef"), "dna_barcode": barcodes})
    assert distinct_barcodes(dataset)["processid"][:] == ["a", "b", "d", "e"]


def test_splits_are_those_for_pretraining_and_for_choosing(table: Path) -> None:
    made = task(table)
    splits = {row["processid"]: row["split"] for row in made_rows()}
    assert isinstance(made.examples, Dataset)
    assert {splits[name] for name in made.examples["processid"]} == {"pretrain"}
    assert made.facts["examples"] == len(made.examples) and made.evaluate is not None
    other = task(table, train_split="train+val")
    assert isinstance(other.examples, Dataset)
    assert {splits[name] for name in other.examples["processid"]} == {"train", "val"}


@pytest.mark.parametrize(("objective", "cls"), [("masked_lm", BarcodeBertForMaskedLM), ("mae", BarcodeMAE)])
def test_objective_decides_the_model(objective: str, cls: type, table: Path) -> None:
    model = task(table, objective=objective, dropout=0.25).model
    assert type(model) is cls
    config: Any = model.config
    assert (config.kmer_size, config.hidden_size, config.hidden_dropout_prob) == (3, 16, 0.25)


def test_arguments_reach_the_masks(table: Path) -> None:
    made = task(table, mlm_probability=0.9, span_length=3, random_offset=False, label_visible=False)
    assert isinstance(made.examples, Dataset)
    batch = made.collate(made.examples[:8], range(8))
    masked = batch["input_ids"] == MASK_ID
    assert torch.equal(masked, batch["labels"] != IGNORED_LABEL) and masked.float().mean() > 0.75
    ids, _ = KmerEncoder(3)(made.examples["dna_barcode"][:8])
    assert torch.equal(torch.where(masked, batch["labels"], batch["input_ids"]), torch.from_numpy(ids))


def test_n_at_the_end_is_no_part_of_what_is_predicted() -> None:
    collate = MaskedBarcodes(MaskedKmerCollator(KmerEncoder(3), 0.5, random_offset=False))
    rows = {"processid": ["a", "b"], "dna_barcode": ["ACGTACNNNNNN", "ACGTAC"]}
    batch = collate(rows, [1, 1])
    assert torch.equal(batch["input_ids"][0], batch["input_ids"][1]) and batch["attention_mask"].sum() == 4


def test_evaluation_is_the_same_each_time_and_of_every_batch_size(table: Path) -> None:
    made, other = task(table), task(table, batch_size=5)
    assert made.evaluate is not None and other.evaluate is not None
    model = made.model.eval()
    first = made.evaluate(model)
    torch.rand(7)
    assert made.evaluate(model) == first and first.keys() == {"loss"}
    assert other.evaluate(model)["loss"] == pytest.approx(first["loss"], abs=1e-5)
    assert 3 < first["loss"] < 6, "that of a model that knows nothing of 64 k-mers is 4.2"


def test_evaluation_is_of_at_most_so_many_specimens_and_of_the_split_asked_for(table: Path) -> None:
    def loss(**changes: Any) -> float:
        made = task(table, **changes)
        assert made.evaluate is not None
        torch.manual_seed(0)
        model = BarcodeBertForMaskedLM(tiny_config()).eval()
        return made.evaluate(model)["loss"]

    assert len({loss(), loss(max_eval_samples=3), loss(eval_split="test")}) == 3
    assert loss(max_eval_samples=3) == loss(max_eval_samples=3) and loss(max_eval_samples=10_000) == loss()


def test_probes_are_asked_of_the_splits_for_choosing(table: Path, tmp_path: Path) -> None:
    rows = made_rows()
    for row in rows[:3]:
        row["split"] = "val_unseen"
    made = task(write_table(tmp_path / "t.csv", rows), eval_probe=True)
    assert made.evaluate is not None
    found = made.evaluate(made.model.eval())
    assert found.keys() == {"loss", "1nn_species", "1nn_genus_unseen"}
    assert all(0 <= found[name] <= 1 for name in ("1nn_species", "1nn_genus_unseen"))


def test_data_without_splits_have_no_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "barcodes.fasta"
    path.write_text("".join(f">P{i}\n{row['dna_barcode']}\n" for i, row in enumerate(made_rows(9))))
    made = task(path)
    assert made.evaluate is None and isinstance(made.examples, Dataset) and len(made.examples) == 9


def test_a_stream_is_not_counted(table: Path) -> None:
    made = task(table, streaming=True)
    assert isinstance(made.examples, IterableDataset) and made.facts["examples"] is None


def test_a_barcode_that_is_too_short_is_named_before_the_training(tmp_path: Path) -> None:
    rows = made_rows()
    rows[1]["dna_barcode"] = "AC"
    with pytest.raises(ValueError, match="'P1'"):
        task(write_table(tmp_path / "t.csv", rows))


def test_models_train_in_the_stock_trainer(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(3)
    barcodes = Dataset.from_list(made_rows())
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
