"""The encoder: what an embedding is, and that it does not depend on the batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError

from bioscan_hf import BarcodeBertForMaskedLM, BarcodeBertModel, KmerEncoder
from tests.tiny import tiny_config, tiny_masked_lm

BARCODES = ["ACGTACGTACGTACG", "TTTGGG", "ACGNACGTTTTTTTT", "CCC"]
WAYS: list[dict[str, Any]] = [
    {},
    {"pooling": "mean"},
    {"attend_to_padding": True, "pooling": "mean"},
    {"attend_to_padding": True},
    {"pooling": "cls", "cls_token_id": 0},
    {"pooling": "mean", "cls_token_id": 0, "vocabulary": "acgt_2023", "attend_to_padding": True},
    {"vocabulary": "acgnt", "pooling": "mean"},
]


def encoder(**fields: Any) -> BarcodeBertModel:
    torch.manual_seed(0)
    return BarcodeBertModel(tiny_config(max_nucleotides=30, initializer_range=0.3, **fields)).eval()


def tokens(model: BarcodeBertModel, barcodes: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    ids, mask = KmerEncoder.from_config(model.config)(barcodes)
    return torch.from_numpy(ids), torch.from_numpy(mask)


@torch.no_grad()
@pytest.mark.parametrize("fields", WAYS, ids=str)
def test_embedding_is_the_same_in_every_batch(fields: dict[str, Any]) -> None:
    model = encoder(**fields)
    together = model(*tokens(model, BARCODES)).pooler_output
    with_longer = model(*tokens(model, [*BARCODES, "ACG" * 10])).pooler_output[:-1]
    torch.testing.assert_close(together, with_longer)
    for barcode, pooled in zip(BARCODES, together, strict=True):
        torch.testing.assert_close(model(*tokens(model, [barcode])).pooler_output[0], pooled)
    assert torch.pdist(together).min() > 0.01, "barcodes have different embeddings"


@torch.no_grad()
@pytest.mark.parametrize("fields", WAYS, ids=str)
def test_embedding_of_hidden_states(fields: dict[str, Any]) -> None:
    model = encoder(**fields)
    ids, mask = tokens(model, BARCODES)
    outputs = model(ids, mask)
    hidden, pooled = outputs.last_hidden_state, outputs.pooler_output
    whole = model.config.attend_to_padding or model.config.pooling == "mean"
    assert hidden.shape[1] == (model.config.max_tokens if whole else ids.shape[1])
    for own, own_mask, value in zip(hidden, mask, pooled, strict=True):
        expected = own[0] if model.config.pooling == "cls" else own.mean(0) if whole else own[own_mask == 1].mean(0)
        torch.testing.assert_close(value, expected)


@torch.no_grad()
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("fields", [{}, {"pooling": "mean"}], ids=str)
def test_barcode_without_kmers_has_a_zero_embedding(fields: dict[str, Any], implementation: str) -> None:
    model = encoder(attn_implementation=implementation, **fields)
    ids, mask = tokens(model, ["AC", *BARCODES])
    pooled = model(ids, mask).pooler_output
    assert not pooled[0].any() and pooled[1:].any(dim=1).all()
    assert not model(ids[:1, :1], mask[:1, :1]).pooler_output.any()


@pytest.mark.parametrize("fields", WAYS, ids=str)
def test_gradients_reach_every_parameter(fields: dict[str, Any]) -> None:
    model = encoder(**fields)
    ids, mask = tokens(model, ["AC", *BARCODES])
    model(ids, mask).pooler_output.square().mul(torch.arange(16)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()
        # The softmax does not change if all keys are shifted.
        assert name.endswith("key.bias") or parameter.grad.any(), name


@torch.no_grad()
def test_padding_read_as_kmers_is_the_unknown_kmer() -> None:
    model = encoder(attend_to_padding=True, pooling="mean", vocabulary="acgnt")
    ids = tokens(model, ["ACGTTT"])[0]
    whole = torch.cat([ids, tokens(model, ["N" * 24])[0]], dim=1)
    torch.testing.assert_close(model(ids).last_hidden_state, model(whole).last_hidden_state)


@torch.no_grad()
def test_longer_barcodes_are_not_cut() -> None:
    model = encoder(pooling="mean")
    ids = torch.arange(2, 42)[None]
    outputs = model(ids)
    assert outputs.last_hidden_state.shape[1] == 40 > model.config.max_tokens
    torch.testing.assert_close(outputs.pooler_output, outputs.last_hidden_state.mean(dim=1))


def test_more_tokens_than_positions_are_refused(masked_lm: BarcodeBertForMaskedLM) -> None:
    with pytest.raises(ValueError, match=r"at most 512 tokens.*got 513.*truncation=True"):
        masked_lm(torch.ones(1, 513, dtype=torch.long))


def test_arguments_that_do_not_fit_the_checkpoint_are_refused(tmp_path: Path) -> None:
    tiny_masked_lm().save_pretrained(tmp_path)
    for arguments in ({"pooling": "cls"}, {"kmer_size": 4}, {"max_nucleotides": 9999}):
        with pytest.raises(StrictDataclassError, match=r"must be|needs"):
            BarcodeBertModel.from_pretrained(tmp_path, **arguments)
    assert BarcodeBertModel.from_pretrained(tmp_path, pooling="mean").config.pooling == "mean"


@torch.no_grad()
def test_attention_of_padding_is_returned_and_nothing_attends_to_it() -> None:
    model = encoder(attn_implementation="eager")
    ids, mask = tokens(model, BARCODES)
    attention = model(ids, mask, output_attentions=True).attentions[0]
    assert attention.shape == (4, 2, 5, 5)
    assert not attention[mask[:, None, None].expand_as(attention) == 0].any()
    assert isinstance(model(ids, mask, return_dict=False), tuple)
    assert len(model(ids, mask, output_hidden_states=True).hidden_states) == 2
