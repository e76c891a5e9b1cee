from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel

from bioscan_hf import BarcodeBertModel, BarcodeMAE, KmerEncoder
from tests.tiny import tiny_config

BARCODES = ["ACGTACGTACGTACGCCC", "TTTGGGAAACCC", "ACGNACGTTTTTTTT"]


def model(**fields: Any) -> BarcodeMAE:
    torch.manual_seed(0)
    return BarcodeMAE(tiny_config(initializer_range=0.3, **fields)).eval()


def tokens(mae: BarcodeMAE, masked: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    ids, mask = map(torch.from_numpy, KmerEncoder.from_config(mae.config)(BARCODES))
    if masked is None:
        masked = (torch.arange(ids.shape[1]) % 2 == 1) & (mask == 1)
    labels = ids.masked_fill(~masked, -100)
    return {
        "input_ids": ids.masked_fill(masked, mae.config.mask_token_id),
        "attention_mask": mask,
        "labels": labels,
    }


def encoder_inputs(mae: BarcodeMAE, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the encoder was given."""
    seen: dict[str, torch.Tensor] = {}

    def remember(_: Any, arguments: tuple, named: dict[str, Any]) -> None:
        seen.update(named, input_ids=arguments[0])

    with mae.bert.register_forward_pre_hook(remember, with_kwargs=True), torch.no_grad():
        mae(**batch)
    return seen


@pytest.mark.parametrize("fields", [{}, {"cls_token_id": 0}, {"vocabulary": "acgt_2023"}], ids=str)
def test_encoder_reads_the_visible_kmers_at_their_places(fields: dict[str, Any]) -> None:
    mae = model(**fields)
    masked = torch.zeros(3, 6 + (mae.config.cls_token_id is not None), dtype=torch.bool)
    masked[:, 2:4] = masked[0, -1] = True
    batch = tokens(mae, masked & (tokens(mae, masked)["attention_mask"] == 1))
    seen = encoder_inputs(mae, batch)
    visible = batch["attention_mask"].bool() & (batch["labels"] < 0)
    assert seen["input_ids"].shape[1] == visible.sum(dim=1).max() < batch["input_ids"].shape[1]
    for row in range(3):
        own = seen["attention_mask"][row] == 1
        assert seen["position_ids"][row, own].tolist() == visible[row].nonzero()[:, 0].tolist()
        assert seen["input_ids"][row, own].tolist() == batch["input_ids"][row, visible[row]].tolist()


@torch.no_grad()
def test_prediction_does_not_depend_on_what_is_hidden() -> None:
    mae = model()
    batch = tokens(mae)
    before = mae(**batch).logits
    mae.bert.embeddings.word_embeddings.weight[0] = 99.0  # what [MASK] would look like to the encoder
    torch.testing.assert_close(mae(**batch).logits, before, rtol=0, atol=0)
    hidden = (batch["labels"] >= 0).nonzero()[0].tolist()
    seen = ((batch["labels"] < 0) & (batch["attention_mask"] == 1)).nonzero()[0].tolist()
    batch["input_ids"][seen[0], seen[1]] = 7
    assert not torch.allclose(mae(**batch).logits[tuple(hidden)], before[tuple(hidden)])


@torch.no_grad()
def test_padding_changes_nothing() -> None:
    mae = model()
    batch = tokens(mae)
    together = mae(**batch)
    padded = {
        "input_ids": torch.nn.functional.pad(batch["input_ids"], (0, 5), value=1),
        "attention_mask": torch.nn.functional.pad(batch["attention_mask"], (0, 5)),
        "labels": torch.nn.functional.pad(batch["labels"], (0, 5), value=-100),
    }
    torch.testing.assert_close(mae(**padded).loss, together.loss)
    for row, kmers in enumerate(batch["attention_mask"].sum(dim=1).tolist()):
        alone = mae(**{name: value[row : row + 1, :kmers] for name, value in batch.items()})
        torch.testing.assert_close(alone.logits[0], together.logits[row, :kmers])
        without_mask = mae(batch["input_ids"][row : row + 1, :kmers])
        assert without_mask.loss is None
        torch.testing.assert_close(without_mask.logits, alone.logits)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_barcode_without_visible_kmers(implementation: str) -> None:
    mae = model(attn_implementation=implementation)
    batch = tokens(mae)
    alone = mae(**{name: value[1:2] for name, value in batch.items()}).logits
    batch["labels"][0] = batch["input_ids"][0]
    batch["input_ids"][0] = 0
    batch["attention_mask"][2] = 0
    batch["labels"][2] = -100
    outputs = mae(**batch)
    torch.testing.assert_close(outputs.logits[1:2, :4], alone[:, :4])
    outputs.loss.backward()
    assert all(p.grad.isfinite().all() for p in mae.parameters() if p.grad is not None)
    nothing = {name: value[:1] for name, value in batch.items()}
    assert mae(**nothing).loss.isfinite()


def test_vector_of_masked_places_is_learnt() -> None:
    mae = model()
    place = mae.decoder.embeddings.word_embeddings.weight
    assert place.shape == (1, 16) and not place.any()
    mae(**tokens(mae)).loss.backward()
    assert place.grad is not None and place.grad.any()
    untouched = [name for name, p in mae.named_parameters() if p.grad is None]
    assert not untouched


def test_encoder_is_a_model_of_its_own(tmp_path: Path) -> None:
    mae = model()
    mae.save_pretrained(tmp_path)
    encoder, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(encoder) is BarcodeBertModel and not any(report.values())
    batch = tokens(mae)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    with torch.no_grad():
        assert torch.equal(encoder(ids, mask).pooler_output, mae.bert(ids, mask).pooler_output)


def test_attention_implementation_is_the_decoders_too(tmp_path: Path) -> None:
    model().save_pretrained(tmp_path)
    mae = BarcodeMAE.from_pretrained(tmp_path, attn_implementation="eager")
    assert mae.decoder.config._attn_implementation == mae.bert.config._attn_implementation == "eager"
    mae.set_attn_implementation("sdpa")
    assert mae.decoder.config._attn_implementation == mae.bert.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("fields", [{"attend_to_padding": True}, {"mlm_head": "transform"}], ids=str)
def test_earlier_generations_have_no_such_objective(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="attend_to_padding=False"):
        model(**fields)
