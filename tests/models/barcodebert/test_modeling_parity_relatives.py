"""Equal to BarcodeBERT's generations 1 and 2, to CLIBD's use of it and to BarcodeMAE within 1e-5 on stored vectors."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.models.barcodebert.reference_vectors import READS_PADDING, Vectors, assert_equal


@pytest.fixture(scope="module")
def vectors(shared: Path) -> Vectors:
    return Vectors(shared / "parity" / "barcodebert")


@torch.no_grad()
def test_loss_of_generation_2(vectors: Vectors) -> None:
    model, (ids, _) = vectors.masked_lm(**READS_PADDING), vectors.batch()
    # [UNK] had the target of the second k-mer, and every position counted.
    truth = torch.where(ids == 1, 3, ids)
    loss = model(vectors.outputs["mlm/input_ids"].long(), labels=truth).loss
    assert_equal(loss, vectors.outputs["mlm/gen2_loss"].squeeze())


@torch.no_grad()
def test_generation_1(vectors: Vectors) -> None:
    model, ids, out = vectors.gen1_masked_lm(), vectors.ids("gen1_k5"), vectors.gen1
    encoded = model.bert(ids)
    assert_equal(encoded.pooler_output, out["gen1_k5/pooled_plain_mean"])
    assert_equal(encoded.last_hidden_state[vectors.sample_rows[:4]], out["gen1_k5/last_hidden_sample4"])
    short = ids[:, 100:].eq(2).all(dim=1)
    assert short.any()
    assert_equal(model.bert(ids[short, :100]).pooler_output, out["gen1_k5/pooled_plain_mean"][short])
    masked = (out["gen1_k5/uniform_draw"] < 0.5) & (ids != 2)
    loss = model(ids.masked_fill(masked, model.config.mask_token_id), labels=ids).loss
    assert_equal(loss, out["gen1_k5/loss"].squeeze())


@torch.no_grad()
def test_clibd(vectors: Vectors) -> None:
    model, ids = vectors.gen1_masked_lm(cls_token_id=0), vectors.ids("clibd_k5")
    assert ids.shape[1] == model.config.max_tokens == 133
    assert_equal(model.bert(ids).pooler_output, vectors.gen1["clibd_k5/hidden_mean"])
    feature = model(ids[vectors.sample_rows]).logits.softmax(dim=-1).mean(dim=1)
    assert_equal(feature, vectors.gen1["clibd_k5/mean_softmax_logits_sample"])


@torch.no_grad()
def test_barcode_mae(vectors: Vectors) -> None:
    model, out = vectors.barcode_mae(), vectors.mae
    rows = out["rows"].long()
    ids, mask = (array[rows] for array in vectors.batch())
    masked = vectors.outputs["mlm/masked_positions"][rows].bool()
    inputs = ids.masked_fill(masked, 0)
    outputs = model(inputs, attention_mask=mask, labels=ids.masked_fill(~masked, -100))
    assert_equal(outputs.loss, out["maelm_v2/loss_masked_only"].squeeze())
    # The reference reads padding that is not masked, too, without attending to it: those positions differ.
    own = mask[0] == 1
    assert_equal(outputs.logits[0, own, 2:], out["maelm_v2/logits_first1"][0, own])
    kmers = (mask == 1) & (ids > 1)
    each = cross_entropy(outputs.logits[..., 2:].transpose(1, 2), (ids - 2).clamp(min=0), reduction="none")
    assert_equal(each[kmers], out["maelm_v2/per_token_ce"][kmers])
    assert_equal(model.bert(ids, mask).pooler_output, out["encoder/pooled_masked_mean"])
