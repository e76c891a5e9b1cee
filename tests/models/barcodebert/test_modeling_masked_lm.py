from typing import Any

import pytest
import torch
from transformers import pipeline

from bioscan_hf import BarcodeBertForMaskedLM, BarcodeMAE, KmerEncoder, build_tokenizer
from bioscan_hf.data.collators import MaskedKmerCollator
from tests.tiny import tiny_config

BARCODES = ["ACGTACGTACGTACG", "TTTGGG", "ACGNACGTTTTTTTT"]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
KINDS: list[dict[str, Any]] = [
    {},
    {"vocabulary": "acgt_then_n"},
    {"vocabulary": "acgt_2023", "mlm_head": "transform", "attend_to_padding": True, "pooling": "mean"},
    {"vocabulary": "acgt_2023", "cls_token_id": 0},
]


def head(cls: type = BarcodeBertForMaskedLM, **fields: Any) -> Any:
    torch.manual_seed(0)
    return cls(tiny_config(initializer_range=0.3, **fields)).eval()


def masked_batch(model: Any, barcodes: list[str] = BARCODES) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return MaskedKmerCollator(KmerEncoder.from_config(model.config))(barcodes)


def results(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    return loss, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("fields", KINDS, ids=str)
def test_loss_is_the_cross_entropy_over_labelled_positions(fields: dict[str, Any]) -> None:
    model = head(**fields)
    batch = masked_batch(model)
    outputs = model(**batch)
    log_probability = outputs.logits.log_softmax(dim=-1)
    labels = batch["labels"]
    values = [log_probability[i, j, labels[i, j]] for i, j in (labels >= 0).nonzero().tolist()]
    assert len(values) > 5
    torch.testing.assert_close(outputs.loss, -torch.stack(values).mean())


@pytest.mark.parametrize(
    ("cls", "fields"),
    [*((BarcodeBertForMaskedLM, fields) for fields in KINDS), (BarcodeMAE, KINDS[0]), (BarcodeMAE, KINDS[3])],
)
def test_training_computes_the_labelled_positions_only(cls: type, fields: dict[str, Any]) -> None:
    model = head(cls, **NO_DROPOUT, **fields)
    batch = masked_batch(model)
    loss, gradients = results(model, batch)
    model.train()
    labelled_loss, labelled_gradients = results(model, batch)
    torch.testing.assert_close(labelled_loss, loss)
    torch.testing.assert_close(labelled_gradients, gradients)
    known = model.config.vocab_size if "mlm_head" in fields else 64
    assert model(**batch).logits.shape == ((batch["labels"] >= 0).sum(), known)
    model.eval()
    assert model(**batch).logits.shape[-1] == model.config.vocab_size


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("cls", [BarcodeBertForMaskedLM, BarcodeMAE])
def test_batch_without_labels_teaches_nothing(cls: type, training: bool) -> None:
    model = head(cls).train(training)
    batch = masked_batch(model, ["NNNNNNNNN", "NNNN"])
    assert (batch["labels"] < 0).all()
    loss, gradients = results(model, batch)
    assert loss == 0 and not any(gradient.any() for gradient in gradients.values())


def test_tokens_that_the_head_does_not_know_do_not_count() -> None:
    model = head(vocabulary="acgt_then_n")
    ids, mask = map(torch.from_numpy, KmerEncoder.from_config(model.config)(BARCODES))
    assert (ids >= 66).any() and (ids == 1).any()
    labels = ids.masked_fill((ids < 2) | (ids >= 66), -100)
    assert torch.equal(model(ids, mask, labels=ids).loss, model(ids, mask, labels=labels).loss)
    assert len(model.train()(ids, mask, labels=ids).logits) == (labels >= 0).sum()


@torch.no_grad()
@pytest.mark.parametrize("cls", [BarcodeBertForMaskedLM, BarcodeMAE])
def test_special_tokens_and_kmers_with_n_are_never_predicted(cls: type) -> None:
    model = head(cls, vocabulary="acgt_then_n")
    logits = model(**masked_batch(model)).logits
    assert logits.shape == (3, 5, 127)
    assert ((logits.argmax(dim=-1) >= 2) & (logits.argmax(dim=-1) < 66)).all() and logits.isfinite().all()


def test_mask_token_stays_zero() -> None:
    model = head()
    rows = model.bert.embeddings.word_embeddings.weight
    _, gradients = results(model, masked_batch(model))
    gradient = gradients["bert.embeddings.word_embeddings.weight"]
    assert not rows[0].any() and not gradient[0].any() and gradient[1:].any()


@pytest.mark.parametrize("cls", [BarcodeBertForMaskedLM, BarcodeMAE])
def test_vocabulary_whose_kmers_are_scattered_has_no_head(cls: type) -> None:
    with pytest.raises(ValueError, match=r"acgnt.*Load the encoder"):
        head(cls, vocabulary="acgnt")


def test_fill_mask_pipeline_names_kmers() -> None:
    fill = pipeline("fill-mask", model=head(), tokenizer=build_tokenizer(3))
    answers = fill("ACG[MASK]TTT", top_k=3)
    assert all(len(answer["token_str"]) == 3 and set(answer["token_str"]) <= set("ACGT") for answer in answers)


def test_dropout_is_that_of_the_reference() -> None:
    assert head().dropout.p == 0.1, "before the classifier of BertForTokenClassification"
    assert head(mlm_head="transform").dropout.p == 0, "none in BertForMaskedLM"
