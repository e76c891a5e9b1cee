"""Naming specimens by the texts of taxa."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from bioscan_hf import ClibdForImageClassification, ClibdModel
from bioscan_hf.models.clibd import modeling_clibd
from tests.models.clibd.made_specimens import made_batch
from tests.tiny import tiny_clibd_config, tiny_clibd_processor

TAXA = {"Aus bus": "Aptera Aus bus", "Cus dus": "Bptera Cus dus", "Cus": "Bptera Cus not_classified"}
PROCESSOR = tiny_clibd_processor()


def classifier(taxa: Any = TAXA, **fields: Any) -> ClibdForImageClassification:
    torch.manual_seed(0)
    model = ClibdForImageClassification(tiny_clibd_config(**fields)).eval()
    if taxa is not None:
        model.set_taxa(taxa, PROCESSOR)
    return model


def of_texts(model: ClibdForImageClassification, texts: list[str]) -> torch.Tensor:
    """Their unit vectors, each computed alone."""
    inputs = [PROCESSOR(text=text) for text in texts]
    vectors = [model.clibd.get_text_features(own["input_ids"], own["attention_mask"]).pooler_output for own in inputs]
    return normalize(torch.cat(vectors), dim=-1)


@torch.no_grad()
def test_logits_are_scaled_cosines_with_the_texts() -> None:
    model, batch = classifier(), made_batch()
    taxa = of_texts(model, list(TAXA.values()))
    torch.testing.assert_close(model.taxa_embeds, taxa)
    images = normalize(model.clibd.get_image_features(batch["pixel_values"]).pooler_output, dim=-1)
    kmers = batch["dna_input_ids"], batch["dna_attention_mask"]
    barcodes = normalize(model.clibd.get_dna_features(*kmers).pooler_output, dim=-1)
    both = normalize(images + barcodes, dim=-1)
    for own, given in (
        (images, {"pixel_values": batch["pixel_values"]}),
        (barcodes, {"dna_input_ids": kmers[0], "dna_attention_mask": kmers[1]}),
        (both, {key: batch[key] for key in ("pixel_values", "dna_input_ids", "dna_attention_mask")}),
    ):
        torch.testing.assert_close(model(**given).logits, own @ taxa.T / 0.07)
    assert torch.equal(model(batch["pixel_values"], return_dict=False)[0], model(batch["pixel_values"]).logits)


def test_loss_is_the_mean_over_specimens_with_a_label() -> None:
    model, pixels = classifier(), made_batch()["pixel_values"]
    logits = model(pixels).logits
    labels = torch.tensor([2, -1, 0, -100, 1, 1])
    expected = cross_entropy(logits[[0, 2, 4, 5]], labels[[0, 2, 4, 5]])
    torch.testing.assert_close(model(pixels, labels=labels).loss, expected)
    assert model(pixels, labels=torch.full((6,), -1)).loss == 0


def test_taxa_are_names_or_names_with_texts_and_may_be_set_again() -> None:
    model = classifier()
    assert model.config.taxa == list(TAXA) and model.config.id2label == dict(enumerate(TAXA))
    assert model.config.label2id == {"Aus bus": 0, "Cus dus": 1, "Cus": 2}
    model.train().set_taxa(["Aus", "Cus"], PROCESSOR)
    assert model.training and model.config.num_labels == 2 and model.taxa_embeds.shape == (2, 16)
    torch.testing.assert_close(model.taxa_embeds, of_texts(model.eval(), ["Aus", "Cus"]))
    assert not model.taxa_embeds.requires_grad


def test_taxa_are_embedded_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = classifier().taxa_embeds
    monkeypatch.setattr(modeling_clibd, "_TAXA_AT_ONCE", 2)
    torch.testing.assert_close(classifier().taxa_embeds, expected)


@pytest.mark.parametrize(
    ("taxa", "message"),
    [
        ([], "got none"),
        ({}, "got none"),
        (["Aus", "Cus", "Aus"], r"\['Aus'\] are there more than once"),
        ({"Aus": "Aptera Aus", "Cus": " "}, r"no text for \['Cus'\]"),
    ],
)
def test_wrong_taxa_are_refused(taxa: Any, message: str) -> None:
    model = classifier()
    with pytest.raises(ValueError, match=message):
        model.set_taxa(taxa, PROCESSOR)
    assert model.config.taxa == list(TAXA), "nothing is changed"


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    pixels = made_batch()["pixel_values"]
    with pytest.raises(ValueError, match="call `set_taxa` first"):
        classifier(taxa=None)(pixels)
    with pytest.raises(ValueError, match="no tower for the modality 'text'; it has those for image, dna"):
        classifier(modalities=["image", "dna"])
    with pytest.raises(ValueError, match="Nothing to embed"):
        classifier()()
    # A model without the classifier keeps the names, but has no embeddings for them.
    classifier().save_pretrained(tmp_path / "classifier")
    ClibdModel.from_pretrained(tmp_path / "classifier").save_pretrained(tmp_path / "model")
    again = ClibdForImageClassification.from_pretrained(tmp_path / "model")
    assert again.config.taxa == list(TAXA)
    with pytest.raises(ValueError, match="call `set_taxa` first"):
        again(pixels)
