from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from bioscan_hf import (
    BarcodeBertForSequenceClassification,
    BarcodeBertForTaxonomicClassification,
    KmerEncoder,
    build_tokenizer,
)
from bioscan_hf.data.files import digest
from bioscan_hf.evaluation.results import Result
from bioscan_hf.hub.push import save_model
from bioscan_hf.training.predictions import measure_classifier, predict
from bioscan_hf.training.targets import Targets
from tests.tiny import TAXONOMY, tiny_config
from tests.training.made_runs import made_rows, pretraining, write_table

TRAIN = Dataset.from_list([row for row in made_rows() if row["split"] == "train"])


def test_predictions_are_the_largest_scores_of_each_barcode_by_itself() -> None:
    torch.manual_seed(0)
    barcodes = ["ACGTTGCAACGT", "TTTGGG", "GATTACAGATTACAGATT", "CCCAAATTT", "ACG"]
    for model in (
        BarcodeBertForSequenceClassification(tiny_config(num_labels=7)),
        BarcodeBertForTaxonomicClassification(tiny_config(**TAXONOMY)),
    ):
        found = predict(model, barcodes, batch_size=2)
        for barcode, row in zip(barcodes, found, strict=True):
            ids, mask = map(torch.from_numpy, KmerEncoder(3)([barcode]))
            output: Any = model(input_ids=ids, attention_mask=mask)
            scores = getattr(output, "log_probabilities", None) or (output.logits,)
            assert row.tolist() == [int(s.argmax()) for s in scores]
        assert found.shape == (5, 1 if model.config.ranks is None else 3) and found.dtype == np.int64


def constant(folder: Path, targets: Targets, best: int) -> Path:
    """A classifier that always says the same."""
    cls = BarcodeBertForTaxonomicClassification if len(targets.ranks) > 1 else BarcodeBertForSequenceClassification
    model: Any = cls(tiny_config(**targets.as_config()))
    with torch.no_grad():
        model.score.weight.zero_()
        model.score.bias.zero_()
        model.score.bias[best] = 5.0
    save_model(folder, model, build_tokenizer(3))
    return folder


def measured(rows: list[dict[str, str]], ranks: list[str], best: int, folder: Path) -> dict[tuple[str, str], Result]:
    table = write_table(folder / "t.csv", rows)
    targets = Targets.of(TRAIN, ranks)
    model = constant(folder / "model", targets, best)
    found = measure_classifier(pretraining(table, folder / "o"), targets, "a method", model, "a command")
    assert {result.command for result in found} == {"a command"}
    return {(result.benchmark, result.metric): result for result in found if result.model == "model"}


def test_accuracy_is_right_by_hand_and_a_name_that_is_not_known_is_wrong(tmp_path: Path) -> None:
    rows = made_rows()
    test = [row for row in rows if row["split"] == "test"]
    test[0]["species"], test[1]["species"] = "Xus yus", ""
    found = measured(rows, ["species"], 2, tmp_path)
    micro, macro = (found["species, seen species (a method)", name] for name in ("accuracy", "macro_accuracy"))
    named = [row["species"] for row in test if row["species"]]
    assert micro.count == len(named) == 11
    assert micro.value == pytest.approx(named.count("Dus eus") / 11)
    assert macro.value == pytest.approx(1 / 4), "of four names one is always right: the unknown one counts, too"
    assert micro.model_revision == digest(tmp_path / "model" / "model.safetensors") and micro.split == "test"


def test_unseen_species_are_asked_for_their_genus_only(tmp_path: Path) -> None:
    rows = made_rows()
    for row in rows[-3:]:
        row["split"], row["species"] = "test_unseen", f"{row['genus']} novus"
    found = measured(rows, ["genus", "species"], 2, tmp_path)
    unseen = {key: result for key, result in found.items() if result.split == "test_unseen"}
    names = {name for name, _ in unseen if "(a method)" in name}
    assert names == {"genus, unseen species (a method)"}
    genus = unseen["genus, unseen species (a method)", "accuracy"]
    assert genus.value == pytest.approx(1 / 3) and genus.count == 3


def test_embeddings_of_the_classifier_are_measured_beside_it(tmp_path: Path) -> None:
    assert ("1-NN species, seen species", "accuracy") in measured(made_rows(), ["species"], 0, tmp_path)


@pytest.mark.parametrize("split", ["", "train"])
def test_data_without_test_splits_give_no_results(split: str, tmp_path: Path) -> None:
    rows = [row | {"split": split} for row in made_rows()]
    assert not measured_nothing(rows, tmp_path)


def measured_nothing(rows: list[dict[str, str]], folder: Path) -> list[Result]:
    targets = Targets.of(TRAIN, ["species"])
    model = constant(folder / "model", targets, 0)
    arguments = pretraining(write_table(folder / "t.csv", rows), folder / "o")
    return measure_classifier(arguments, targets, "a method", model, "a command")
