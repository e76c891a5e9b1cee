import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset

from bioscan_hf import build_tokenizer
from bioscan_hf.hub.push import save_model
from bioscan_hf.training.checkpoints import read_tensors, save_tensors
from bioscan_hf.training.classification import finetuning_task
from bioscan_hf.training.lora import load_classifier
from bioscan_hf.training.predictions import predict
from bioscan_hf.training.run import Run, run
from bioscan_hf.training.targets import LABELS
from bioscan_hf.training.task import Task
from tests.tiny import tiny_masked_lm
from tests.training.made_runs import finetuning, forget_processes, made_rows, sha256, write_table


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget_processes()
    yield
    forget_processes()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "table.csv")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "model"
    save_model(folder, tiny_masked_lm(), build_tokenizer(3))
    return folder


def task(table: Path, model: Path, **changes: Any) -> Task:
    return finetuning_task(finetuning(table, model, table.parent / "out", **changes), Accelerator())


def finetune(table: Path, model: Path, output: Path, **changes: Any) -> Run:
    return run(finetuning_task, finetuning(table, model, output, **changes), command="bioscan finetune --it")


def labels(made: Task) -> dict[str, Any]:
    assert isinstance(made.examples, Dataset)
    return dict(zip(made.examples["processid"], made.examples[LABELS], strict=True))


def test_labels_are_of_the_specimens_that_have_a_name(table: Path, model: Path, tmp_path: Path) -> None:
    rows = made_rows()
    rows[3]["species"] = ""
    found = labels(task(write_table(tmp_path / "t.csv", rows), model))
    expected = {row["processid"]: row["species"] for row in rows if row["split"] == "train" and row["species"]}
    names = sorted(set(expected.values()))
    assert found == {processid: names.index(name) for processid, name in expected.items()}
    assert "P3" not in found


def test_names_are_in_the_configuration(table: Path, model: Path) -> None:
    made: Any = task(table, model).model
    config = made.config
    assert config.id2label == {0: "Aus bus", 1: "Aus cus", 2: "Dus eus"} and config.num_labels == 3


def test_of_several_ranks_each_specimen_has_a_label_for_each(table: Path, model: Path, tmp_path: Path) -> None:
    rows = made_rows()
    rows[3]["species"] = ""
    made = task(write_table(tmp_path / "t.csv", rows), model, rank="species,genus")
    model_made: Any = made.model
    config = model_made.config
    assert config.ranks == ["genus", "species"] and config.taxa["genus"] == ["Aus", "Dus"]
    assert labels(made)["P3"] == [0, -1] and labels(made)["P5"] == [1, 2]
    assert made.facts["labels"] == ["genus", "species"]


def test_evaluation_is_right_by_hand_and_counts_what_is_not_known_as_wrong(model: Path, tmp_path: Path) -> None:
    rows = made_rows()
    held = [row for row in rows if row["split"] == "val"]
    held[0]["species"], held[1]["species"] = "Xus yus", ""
    made = task(write_table(tmp_path / "t.csv", rows), model)
    assert made.evaluate is not None
    classifier: Any = made.model.eval()
    with torch.no_grad():
        classifier.score.weight.zero_()
        classifier.score.bias.copy_(torch.tensor([0.0, 0.0, 5.0]))  # always Dus eus
    found = made.evaluate(classifier)
    named = [row["species"] for row in held if row["species"]]
    assert found["accuracy_species"] == pytest.approx(named.count("Dus eus") / len(named))
    log_total = torch.tensor([0.0, 0.0, 5.0]).logsumexp(0).item()
    known = [log_total - (5.0 if name == "Dus eus" else 0.0) for name in named if name != "Xus yus"]
    assert found["loss"] == pytest.approx(sum(known) / len(known), abs=1e-5)


def test_each_rank_has_its_accuracy(table: Path, model: Path) -> None:
    made = task(table, model, rank="genus,species")
    assert made.evaluate is not None
    found = made.evaluate(made.model.eval())
    assert found.keys() == {"loss", "accuracy_genus", "accuracy_species"}
    assert found["accuracy_genus"] >= found["accuracy_species"]


def test_full_fine_tuning_learns_and_says_how_well(table: Path, model: Path, tmp_path: Path) -> None:
    result = finetune(table, model, tmp_path / "m", max_steps=60, learning_rate=1e-2, save_steps=60)
    losses = [record["loss"] for record in result.outcome.state.history]
    assert losses[-1] < 0.5 * losses[0]
    values = {(r.benchmark, r.metric): r for r in result.results if r.model == "m"}
    own = values["species, seen species (full fine-tuning)", "accuracy"]
    test = [row for row in made_rows() if row["split"] == "test"]
    classifier = load_classifier(tmp_path / "m")
    names = [classifier.config.id2label[i] for i in predict(classifier, [r["dna_barcode"] for r in test])[:, 0]]
    right = sum(name == row["species"] for name, row in zip(names, test, strict=True))
    assert (own.value, own.count) == (right / len(test), len(test)) and own.value > 0.5


@pytest.mark.parametrize("embedding_norm", [None, "batch"])
def test_linear_probe_leaves_the_encoder_untouched(
    embedding_norm: str | None, table: Path, model: Path, tmp_path: Path
) -> None:
    finetune(table, model, tmp_path / "m", method="linear", embedding_norm=embedding_norm)
    before, after = (read_tensors(folder / "model.safetensors") for folder in (model, tmp_path / "m"))
    encoder = {name for name in before if name.startswith("bert.")}
    assert encoder and all(torch.equal(before[name], after[name]) for name in encoder)
    fresh = read_tensors(tmp_path / "m" / "checkpoint-2" / "model.safetensors")
    assert not torch.equal(after["score.weight"], fresh["score.weight"])


def test_lora_trains_adapters_and_the_classifier_only(table: Path, model: Path) -> None:
    made = task(table, model, method="lora", lora_r=2)
    trained = {name for name, parameter in made.model.named_parameters() if parameter.requires_grad}
    assert trained and all("lora_" in name or "score" in name for name in trained)
    assert {name.split(".")[-3] for name in trained if "lora_" in name} == {"lora_A", "lora_B"}


@pytest.mark.parametrize("rank", ["species", "genus,species"])
def test_lora_run_gives_an_adapter_that_loads_and_resumes_exactly(
    rank: str, table: Path, model: Path, tmp_path: Path
) -> None:
    result = finetune(table, model, tmp_path / "m", method="lora", rank=rank, learning_rate=1e-2)
    assert (tmp_path / "m" / "adapter_model.safetensors").exists() and not (tmp_path / "m/model.safetensors").exists()
    assert type(load_classifier(tmp_path / "m")).__name__.startswith("Peft") and result.results
    parts = tmp_path / "parts" / "m"
    parts.mkdir(parents=True)
    (tmp_path / "m" / "checkpoint-4").rename(parts / "checkpoint-4")
    forget_processes()
    again = finetune(table, model, parts, method="lora", rank=rank, learning_rate=1e-2, resume=True)
    assert again.outcome.state.starts == 2
    assert sha256(parts / "adapter_model.safetensors") == sha256(tmp_path / "m" / "adapter_model.safetensors")


@pytest.mark.parametrize("rank", ["species", "genus,species"])
def test_merged_adapter_is_a_whole_model(rank: str, table: Path, model: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"method": "lora", "rank": rank, "learning_rate": 1e-2, "lora_alpha": 8.0}
    finetune(table, model, tmp_path / "a", **changes)
    forget_processes()
    finetune(table, model, tmp_path / "m", merge_adapter=True, **changes)
    adapted, merged = (load_classifier(tmp_path / name) for name in "am")
    assert type(merged).__name__.startswith("BarcodeBertFor")
    ids = torch.arange(2, 34).reshape(4, 8)
    with torch.no_grad():
        torch.testing.assert_close(merged.eval()(input_ids=ids).logits, adapted.eval()(input_ids=ids).logits)


def test_pooling_can_be_chosen(table: Path, model: Path) -> None:
    made: Any = task(table, model, pooling="mean").model
    assert made.config.pooling == "mean"


@pytest.mark.parametrize(
    ("changes", "cells", "message"),
    [
        ({}, {"species": ""}, "None of the 24 specimens to train on has a name in the column 'species'"),
        ({}, {"species": "Aus bus"}, r"have the same label, \{'species': 'Aus bus'\}: there is nothing to learn"),
        ({"rank": "family"}, {}, "has a name in the column 'family'"),
        ({"train_split": "trian"}, {}, "trian"),
        ({"eval_split": "key_unseen"}, {}, "key_unseen"),
        ({"method": "lora", "embedding_norm": "batch"}, {}, "`embedding_norm='batch'` needs the method"),
    ],
)
def test_what_cannot_be_trained_is_told_before_it_begins(
    changes: dict[str, Any], cells: dict[str, str], message: str, model: Path, tmp_path: Path
) -> None:
    path = write_table(tmp_path / "t.csv", [row | cells for row in made_rows()])
    with pytest.raises(ValueError, match=message):
        task(path, model, **changes)


def test_what_is_no_barcodebert_is_refused(table: Path, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "other")
    weights = read_tensors(model / "model.safetensors")
    save_tensors(tmp_path / "other" / "model.safetensors", {f"roberta.{name}": weights[name] for name in weights})
    with pytest.raises(ValueError, match=r"other' is no BarcodeBERT: it lacks \['bert\.embeddings"):
        task(table, tmp_path / "other")
    with pytest.raises(FileNotFoundError, match=r"No such folder: '.*nothing'; expected that of a BarcodeBERT"):
        task(table, tmp_path / "nothing")


def test_layers_are_not_filled_at_random_where_the_configuration_is_of_another_size(
    table: Path, model: Path, tmp_path: Path
) -> None:
    shutil.copytree(model, tmp_path / "other")
    config = json.loads((model / "config.json").read_text())
    config["intermediate_size"] += 8
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match=r"other' is no BarcodeBERT: it lacks \['bert\.encoder\.layer\.0\.intermediate"
    ):
        task(table, tmp_path / "other")
