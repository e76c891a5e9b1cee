import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, pipeline

from bioscan_hf import BarcodeBertConfig, BarcodeBertForMaskedLM, BarcodeBertModel, KmerEncoder, build_tokenizer
from tests.tiny import tiny_config

BARCODES = ["ACGTACGTACGTACG", "TTTGGG", "ACGNACGTTTTTTTT"]


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    ids, mask = KmerEncoder(3)(BARCODES)
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}


@torch.no_grad()
def test_embedding_is_the_mean_of_the_barcodes_own_kmers(
    masked_lm: BarcodeBertForMaskedLM, batch: dict[str, torch.Tensor]
) -> None:
    outputs = masked_lm.bert(**batch)
    for hidden, mask, pooled in zip(
        outputs.last_hidden_state, batch["attention_mask"], outputs.pooler_output, strict=True
    ):
        torch.testing.assert_close(pooled, hidden[mask == 1].mean(dim=0))


@torch.no_grad()
def test_padding_changes_nothing(masked_lm: BarcodeBertForMaskedLM, batch: dict[str, torch.Tensor]) -> None:
    together = masked_lm.bert(**batch).pooler_output
    for barcode, pooled in zip(BARCODES, together, strict=True):
        alone = torch.from_numpy(KmerEncoder(3)([barcode])[0])
        torch.testing.assert_close(masked_lm.bert(alone).pooler_output[0], pooled)


@torch.no_grad()
def test_barcode_without_kmers_has_a_zero_embedding(masked_lm: BarcodeBertForMaskedLM) -> None:
    ids = torch.ones(1, 4, dtype=torch.long)
    assert not masked_lm.bert(ids, attention_mask=torch.zeros_like(ids)).pooler_output.any()


def test_loss_is_the_cross_entropy_over_labelled_positions(
    masked_lm: BarcodeBertForMaskedLM, batch: dict[str, torch.Tensor]
) -> None:
    labels = batch["input_ids"].masked_fill(batch["input_ids"] < 2, -100)
    labels[0, :2] = -100
    outputs = masked_lm(**batch, labels=labels)
    log_probability = outputs.logits.log_softmax(dim=-1)
    values = [log_probability[i, j, labels[i, j]] for i, j in (labels >= 0).nonzero().tolist()]
    torch.testing.assert_close(outputs.loss, -torch.stack(values).mean())
    outputs.loss.backward()
    word_embeddings = masked_lm.bert.embeddings.word_embeddings.weight
    assert word_embeddings.grad is not None and not word_embeddings.grad[0].any(), "[MASK] stays zero, as published"


@torch.no_grad()
def test_special_tokens_are_never_predicted(masked_lm: BarcodeBertForMaskedLM, batch: dict[str, torch.Tensor]) -> None:
    logits = masked_lm(**batch).logits
    assert logits.shape == (3, 5, 66) and (logits.argmax(dim=-1) >= 2).all()


@torch.no_grad()
def test_attention_implementations_agree(batch: dict[str, torch.Tensor], tmp_path: Path) -> None:
    BarcodeBertModel(tiny_config()).save_pretrained(tmp_path)
    eager, sdpa = (AutoModel.from_pretrained(tmp_path, attn_implementation=name) for name in ("eager", "sdpa"))
    torch.testing.assert_close(eager(**batch).pooler_output, sdpa(**batch).pooler_output)
    assert eager(**batch, output_attentions=True).attentions[0].shape == (3, 2, 5, 5)
    assert len(sdpa(**batch, output_hidden_states=True).hidden_states) == 2
    assert isinstance(sdpa(**batch, return_dict=False), tuple)


@torch.no_grad()
def test_one_folder_serves_both_classes(
    masked_lm: BarcodeBertForMaskedLM, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    masked_lm.save_pretrained(tmp_path)
    encoder, again = AutoModel.from_pretrained(tmp_path), AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert type(encoder) is BarcodeBertModel and type(again) is BarcodeBertForMaskedLM
    assert torch.equal(encoder(**batch).pooler_output, masked_lm.bert(**batch).pooler_output)
    assert torch.equal(again(**batch).logits, masked_lm(**batch).logits)


def test_fill_mask_pipeline_names_kmers(masked_lm: BarcodeBertForMaskedLM) -> None:
    fill = pipeline("fill-mask", model=masked_lm, tokenizer=build_tokenizer(3))
    answers = fill("ACG[MASK]TTT", top_k=3)
    assert all(len(answer["token_str"]) == 3 and set(answer["token_str"]) <= set("ACGT") for answer in answers)


@torch.no_grad()
def test_embeddings_and_loss_equal_the_reference(shared: Path) -> None:
    folder = shared / "parity" / "barcodebert"
    config = BarcodeBertConfig(
        kmer_size=4, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    model = BarcodeBertForMaskedLM(config).eval()
    model.load_state_dict(load_file(folder / "small_weights.safetensors"))
    expected = load_file(folder / "small_outputs.safetensors")
    records = json.loads((folder / "inputs.json").read_text())
    ids, mask = map(torch.from_numpy, KmerEncoder(4)([record["seq"] for record in records]))
    pooled = model.bert(ids, mask).pooler_output
    reference = expected["pooled/gen3_masked_mean_one_by_one"]
    defined = ~reference.isnan().any(dim=1)
    torch.testing.assert_close(pooled[defined], reference[defined], atol=1e-5, rtol=0)
    inputs = expected["mlm/input_ids"].long()
    for positions, loss in (("special_ok", "loss_gen3"), ("masked_positions", "loss_masked_only")):
        labels = ids.masked_fill(~expected[f"mlm/{positions}"].bool(), -100)
        value = model(inputs, attention_mask=mask, labels=labels).loss
        torch.testing.assert_close(value, expected[f"mlm/{loss}"].squeeze(), atol=1e-5, rtol=0)
