from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline

from bioscan_hf import BarcodeBertForSequenceClassification, KmerEncoder, build_tokenizer
from tests.tiny import TAXONOMY, tiny_config, tiny_masked_lm

BARCODES = ["ACGTACGTACGTACG", "TTTGGG", "ACGNACGTTTTTTTT"]


def classifier(**fields: Any) -> BarcodeBertForSequenceClassification:
    torch.manual_seed(0)
    return BarcodeBertForSequenceClassification(tiny_config(initializer_range=0.3, num_labels=4, **fields)).eval()


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    ids, mask = map(torch.from_numpy, KmerEncoder(3)(BARCODES))
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("fields", [{}, {"pooling": "mean"}], ids=str)
def test_logits_and_loss(batch: dict[str, torch.Tensor], fields: dict[str, Any]) -> None:
    model = classifier(**fields)
    outputs = model(**batch, labels=torch.tensor([2, 0, 3]))
    pooled = model.bert(**batch).pooler_output
    torch.testing.assert_close(outputs.logits, pooled @ model.score.weight.T + model.score.bias)
    picked = outputs.logits.softmax(dim=-1)[[0, 1, 2], [2, 0, 3]]
    torch.testing.assert_close(outputs.loss, -picked.log().mean())
    assert model(**batch).loss is None


@pytest.mark.parametrize("missing", [-1, -100])
def test_missing_labels_do_not_count(batch: dict[str, torch.Tensor], missing: int) -> None:
    model = classifier()
    some = model(**batch, labels=torch.tensor([2, missing, 3])).loss
    rows = {name: value[[0, 2]] for name, value in batch.items()}
    torch.testing.assert_close(some, model(**rows, labels=torch.tensor([2, 3])).loss)
    none = model(**batch, labels=torch.full((3,), missing)).loss
    none.backward()
    assert none == 0 and not any(p.grad.any() for p in model.parameters() if p.grad is not None)


def test_pretrained_model_gets_a_new_head(batch: dict[str, torch.Tensor], tmp_path: Path) -> None:
    pretrained = tiny_masked_lm()
    pretrained.save_pretrained(tmp_path)
    # 64 classes are as many as the pretraining head has k-mers: its weights are of another meaning.
    for count in (7, 64):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            tmp_path, num_labels=count, output_loading_info=True
        )
        assert report["missing_keys"] == {"score.weight", "score.bias"} and not report["mismatched_keys"]
        assert model(**batch).logits.shape == (3, count)
        assert torch.equal(model.bert(**batch).pooler_output, pretrained.bert(**batch).pooler_output)


def test_taxa_of_several_ranks_are_another_class(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="use BarcodeBertForTaxonomicClassification"):
        classifier(**TAXONOMY)
    tiny_masked_lm().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="use BarcodeBertForTaxonomicClassification"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path, **TAXONOMY)


def test_auto_class_makes_new_models() -> None:
    for fields, name in (({}, "Sequence"), (TAXONOMY, "Taxonomic")):
        model = AutoModelForSequenceClassification.from_config(tiny_config(**fields))
        assert type(model).__name__ == f"BarcodeBertFor{name}Classification"


def test_text_classification_pipeline_names_taxa() -> None:
    model = classifier(id2label={0: "Aus", 1: "Bus", 2: "Cus", 3: "Dus"}, label2id={"Aus": 0})
    name = pipeline("text-classification", model=model, tokenizer=build_tokenizer(3))
    with torch.no_grad():
        ids = torch.from_numpy(KmerEncoder(3)(["ACGTACGTACGTACG"])[0])
        best = int(model(ids).logits.argmax())
    assert name("ACGTACGTACGTACG")[0]["label"] == ["Aus", "Bus", "Cus", "Dus"][best]
