"""Equal to the reference (`bioscan-ml/BarcodeBERT`, generation 3) within 1e-5 on stored vectors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from bioscan_hf import BarcodeBertConfig, BarcodeBertForMaskedLM, BarcodeBertForSequenceClassification, KmerEncoder
from tests.models.barcodebert.reference_vectors import READS_PADDING, Vectors, assert_equal, recipe, small_config


@pytest.fixture(scope="module")
def vectors(shared: Path) -> Vectors:
    return Vectors(shared / "parity" / "barcodebert")


def labels(vectors: Vectors, positions: str, ids: torch.Tensor) -> torch.Tensor:
    return ids.masked_fill(~vectors.outputs[f"mlm/{positions}"].bool(), -100)


@torch.no_grad()
def test_hidden_states_and_logits(vectors: Vectors) -> None:
    model, (ids, mask) = vectors.masked_lm(), vectors.batch()
    rows = vectors.sample_rows
    outputs = model(ids[rows], attention_mask=mask[rows], output_hidden_states=True)
    for layer, hidden in enumerate(outputs.hidden_states):
        assert_equal(hidden, vectors.outputs[f"hidden_layer{layer}/masked_sample"])
    assert_equal(outputs.logits[1:3, :, 2:], vectors.outputs["logits/masked_sample_first2"])
    unmasked = model.bert(ids[rows]).last_hidden_state
    assert_equal(unmasked, vectors.outputs["last_hidden/no_mask_sample"])
    row = rows[2:3]
    masked = model(vectors.outputs["mlm/input_ids"].long()[row], attention_mask=mask[row])
    assert_equal(masked.logits[..., 2:], vectors.outputs["mlm/logits_sample_first1"])


@torch.no_grad()
def test_masked_mean(vectors: Vectors) -> None:
    model, (ids, mask) = vectors.masked_lm().bert, vectors.batch()
    pooled = model(ids, mask).pooler_output
    assert_equal(pooled, vectors.outputs["pooled/gen3_masked_mean_batched"])
    assert_equal(pooled, vectors.outputs["pooled/gen3_masked_mean_one_by_one"])
    alone = torch.cat([model(row[None], own[None]).pooler_output for row, own in zip(ids, mask, strict=True)])
    assert_equal(alone, vectors.outputs["pooled/gen3_masked_mean_one_by_one"])
    assert not pooled[vectors.meta["rows_with_all_zero_mask"]].any()


@torch.no_grad()
@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"pooling": "mean"}, "finetune_gap_unmasked_mean"),
        (READS_PADDING, "gen2_no_mask_plain_mean"),
    ],
)
def test_mean_over_padding_however_the_batch_is_padded(vectors: Vectors, fields: dict, name: str) -> None:
    model, reference = vectors.masked_lm(**fields).bert, vectors.outputs[f"pooled/{name}"]
    ids, mask = vectors.batch()
    assert_equal(model(ids, mask).pooler_output, reference)
    kmers = mask.sum(dim=1)
    for width in (20, 100, 160):
        short = (kmers <= width) & (kmers > 0)
        assert short.any()
        # The vectors of generation 2 have no mask: padding is read like everything else.
        pooled = model(ids[short, :width], mask[short, :width]).pooler_output
        assert_equal(pooled, reference[short])


@torch.no_grad()
def test_model_card_mean_over_whole_barcodes(vectors: Vectors) -> None:
    encoder = KmerEncoder(4, max_nucleotides=2000)
    batch = [torch.from_numpy(array) for array in encoder(vectors.barcodes)]
    assert batch[0].shape[1] > 165
    pooled = vectors.masked_lm(max_nucleotides=2000).bert(*batch).pooler_output
    assert_equal(pooled, vectors.outputs["pooled/model_card_unpadded_mean"])


@torch.no_grad()
def test_fine_tuned_classifier(vectors: Vectors) -> None:
    out = vectors.outputs
    model = BarcodeBertForSequenceClassification(small_config(pooling="mean", num_labels=7)).eval()
    model.bert = vectors.masked_lm(pooling="mean").bert
    model.score.load_state_dict({"weight": out["finetune/head_weight"], "bias": out["finetune/head_bias"]})
    ids, mask = vectors.batch()
    truth = out["finetune/labels"].long()
    truth[vectors.meta["rows_with_all_zero_mask"]] = -1
    outputs = model(ids, mask, labels=truth)
    assert_equal(outputs.logits, out["finetune/logits"])
    assert_equal(outputs.loss, out["finetune/loss"].squeeze())
    kmers = mask.sum(dim=1)
    for width in (20, 100, 160):
        short = (kmers <= width) & (kmers > 0)
        assert_equal(model(ids[short, :width], mask[short, :width]).logits, out["finetune/logits"][short])


@torch.no_grad()
def test_masked_lm_losses(vectors: Vectors) -> None:
    model, (ids, mask), out = vectors.masked_lm(), vectors.batch(), vectors.outputs
    inputs = out["mlm/input_ids"].long()
    unmasked = out["mlm/special_ok"] & ~out["mlm/masked_positions"]
    for truth, name in (
        (labels(vectors, "special_ok", ids), "loss_gen3"),
        (labels(vectors, "masked_positions", ids), "loss_masked_only"),
        (ids.masked_fill(~unmasked, -100), "loss_unmasked_only"),
    ):
        assert_equal(model(inputs, attention_mask=mask, labels=truth).loss, out[f"mlm/{name}"].squeeze())
    logits = model(inputs, attention_mask=mask).logits[..., 2:]
    each = cross_entropy(logits.transpose(1, 2), out["mlm/targets"].long(), reduction="none")
    special = out["mlm/special_ok"]
    assert_equal(each[special], out["mlm/per_token_ce"][special])
    # Specials are no labels of the head: they count as little as -100.
    everything = model(inputs, attention_mask=mask, labels=ids).loss
    assert_equal(everything, out["mlm/loss_gen3"].squeeze())


@torch.no_grad()
def test_vocabulary_with_n(vectors: Vectors) -> None:
    model, (ids, mask), out = vectors.masked_lm_with_n(), vectors.batch("gen3_k4_withN"), vectors.outputs
    assert_equal(model.bert(ids, mask).pooler_output, out["mlm/withN_pooled"])
    counted = out["mlm/withN_special_ok"]
    inputs = ids.masked_fill(counted & (out["mlm/uniform_draw"] < 0.5), 0)
    truth = ids.masked_fill(~counted, -100)
    assert_equal(model(inputs, attention_mask=mask, labels=truth).loss, out["mlm/withN_loss"].squeeze())


@pytest.mark.parametrize("training", [False, True])
def test_gradients(vectors: Vectors, training: bool) -> None:
    model = vectors.masked_lm(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train(training)
    ids, mask = vectors.batch()
    inputs = vectors.outputs["mlm/input_ids"].long()
    model(inputs, attention_mask=mask, labels=labels(vectors, "special_ok", ids)).loss.backward()
    expected = vectors.tensors("small_mlm_grads")
    assert expected.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert_equal(parameter.grad, expected[name], 1e-6)


def test_training_trajectory(vectors: Vectors) -> None:
    steps = vectors.tensors("train_trajectory")
    model = vectors.masked_lm(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-3, epochs=3, steps_per_epoch=5)
    for step in range(15):
        ids, mask = steps["ids"][step].long(), steps["mask"][step].long()
        masked = (steps["uniform_draw_used"][step] < 0.5) & (ids > 1)
        loss = model(ids.masked_fill(masked, 0), attention_mask=mask, labels=ids.masked_fill(ids < 2, -100)).loss
        assert_equal(loss.double(), steps["loss"][step])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    for name, parameter in model.state_dict().items():
        # The true gradient of the keys' biases is 0, and Adam makes rounding errors as large as any gradient.
        if not name.endswith("key.bias"):
            assert_equal(parameter, steps[f"final/{name}"])


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(("k", "size"), [(4, 4), (4, 6), (4, 12), (8, 4)])
def test_published_sizes(vectors: Vectors, k: int, size: int) -> None:
    name = f"k{k}_h{size}_l{size}"
    full = vectors.tensors("full_outputs")
    config = BarcodeBertConfig(kmer_size=k, num_attention_heads=size, num_hidden_layers=size)
    model = BarcodeBertForMaskedLM(config).eval()
    model.load_state_dict(recipe(model.state_dict(), vectors.meta["full"][name]["weight_tag"], linear=0.05, table=0.1))
    ids, mask = (array[full["rows"].long()] for array in vectors.batch(f"gen3_k{k}"))
    encoded = model.bert(ids, mask)
    assert_equal(encoded.pooler_output, full[f"{name}/pooled_masked_mean"])
    assert_equal(encoded.last_hidden_state.mean(dim=1), full[f"{name}/pooled_unmasked_mean"])
    first = full[f"{name}/last_hidden_rows_first2_positions_first24"]
    assert_equal(encoded.last_hidden_state[:2, :24], first)
    ids, mask = ids[:8], mask[:8]
    draw = np.random.RandomState(vectors.meta["seed"] + 8).random_sample(tuple(ids.shape)).astype(np.float32)
    masked = (torch.from_numpy(draw) < 0.5) & (ids > 1)
    loss = model(ids.masked_fill(masked, 0), mask, labels=ids.masked_fill(ids < 2, -100)).loss
    assert_equal(loss, full[f"{name}/mlm_loss_first8"].squeeze())
