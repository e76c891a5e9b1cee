"""Folders of every class load as every other class that shares weights with it, and say what they lack."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from bioscan_hf import BarcodeBertForMaskedLM, BarcodeBertModel, KmerEncoder
from tests.hub_server.fixture import LocalHub
from tests.tiny import tiny_config, tiny_heads

MASKED_LM, MAE, ONE_RANK, TAXONOMIC = tiny_heads(initializer_range=0.3)
HEADS = [MASKED_LM, MAE, ONE_RANK, TAXONOMIC]
AUTO = [AutoModelForMaskedLM, AutoModelForPreTraining, *[AutoModelForSequenceClassification] * 2]
FROM_THE_HUB = """
import sys
sys.modules["bioscan_hf"] = None  # a reader without the package
import torch
from transformers import AutoModelForSequenceClassification

model = AutoModelForSequenceClassification.from_pretrained("tester/named", trust_remote_code=True)
with torch.no_grad():
    species = model(torch.tensor([[5, 9, 2, 30]])).log_probabilities[-1]
print(type(model).__name__, " ".join(str(value) for value in species[0].tolist()))
"""


def tokens() -> dict[str, torch.Tensor]:
    ids, mask = map(torch.from_numpy, KmerEncoder(3)(["ACGTACGTACGTACG", "TTTGGG"]))
    return {"input_ids": ids, "attention_mask": mask}


def loaded(auto: Any, folder: Path, **options: Any) -> tuple[Any, dict[str, set]]:
    model, report = auto.from_pretrained(folder, output_loading_info=True, **options)
    return model, {name: keys for name, keys in report.items() if keys}


@torch.no_grad()
@pytest.mark.parametrize(("head", "auto"), list(zip(HEADS, AUTO, strict=True)), ids=lambda value: type(value).__name__)
def test_round_trip(head: Any, auto: Any, tmp_path: Path) -> None:
    head.save_pretrained(tmp_path)
    again, report = loaded(auto, tmp_path)
    assert type(again) is type(head) and not report and not again.training
    assert again.state_dict().keys() == head.state_dict().keys()
    assert torch.equal(again(**tokens()).logits, head.eval()(**tokens()).logits)
    half, _ = loaded(auto, tmp_path, dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}


@torch.no_grad()
@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
def test_encoder_of_any_folder_loads_whole(head: Any, tmp_path: Path) -> None:
    head.eval().save_pretrained(tmp_path)
    encoder, report = loaded(AutoModel, tmp_path)
    assert type(encoder) is BarcodeBertModel and not report
    assert torch.equal(encoder(**tokens()).pooler_output, head.bert(**tokens()).pooler_output)


@torch.no_grad()
def test_every_head_takes_the_encoder_and_reports_what_is_new(tmp_path: Path) -> None:
    encoder = BarcodeBertModel(tiny_config(initializer_range=0.3)).eval()
    encoder.save_pretrained(tmp_path)
    for auto, prefixes in (
        (AutoModelForMaskedLM, {"classifier"}),
        (AutoModelForPreTraining, {"projection", "decoder", "decoder_classifier"}),
        (AutoModelForSequenceClassification, {"score"}),
    ):
        model, report = loaded(auto, tmp_path)
        assert {key.split(".")[0] for key in report.pop("missing_keys")} == prefixes and not report
        assert torch.equal(model.bert(**tokens()).pooler_output, encoder(**tokens()).pooler_output)


@pytest.mark.parametrize(
    ("head", "auto", "missing", "surplus"),
    [
        (MAE, AutoModelForMaskedLM, {"classifier"}, {"decoder", "decoder_classifier", "projection"}),
        (MASKED_LM, AutoModelForPreTraining, {"decoder", "decoder_classifier", "projection"}, {"classifier"}),
        (ONE_RANK, AutoModelForMaskedLM, {"classifier"}, {"score"}),
        (MASKED_LM, AutoModelForSequenceClassification, {"score"}, {"classifier"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, PreTrainedModel) else None,
)
def test_head_of_another_class_is_never_taken(
    head: Any, auto: Any, missing: set[str], surplus: set[str], tmp_path: Path
) -> None:
    head.save_pretrained(tmp_path)
    _, report = loaded(auto, tmp_path)
    assert {key.split(".")[0] for key in report["missing_keys"]} == missing
    assert {key.split(".")[0] for key in report["unexpected_keys"]} == surplus


def test_missing_surplus_and_misshapen_tensors_are_reported(tmp_path: Path) -> None:
    MASKED_LM.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    key = "bert.encoder.layer.0.attention.self.query.weight"
    moved = {"bert.encoder.layer.0.attention.Wqkv.weight": weights[key]}
    save_file({**{k: v for k, v in weights.items() if k != key}, **moved}, path, metadata={"format": "pt"})
    for cls in (BarcodeBertForMaskedLM, BarcodeBertModel):
        _, report = loaded(cls, tmp_path)
        assert [k.removeprefix("bert.") for k in report["missing_keys"]] == [key.removeprefix("bert.")]
        assert len(report["unexpected_keys"]) == 1
    save_file({**weights, key: torch.zeros(3, 3)}, path, metadata={"format": "pt"})
    for cls in (BarcodeBertForMaskedLM, BarcodeBertModel):
        with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
            cls.from_pretrained(tmp_path)


@pytest.mark.slow
@torch.no_grad()
def test_pushed_model_loads_without_the_package(hub: LocalHub, tmp_path: Path) -> None:
    TAXONOMIC.save_pretrained(tmp_path / "named")
    hub.api().create_repo("tester/named", exist_ok=True)
    hub.api().upload_folder(repo_id="tester/named", folder_path=tmp_path / "named")
    name, *values = hub.run(FROM_THE_HUB, tmp_path).stdout.split()
    assert name == "BarcodeBertForTaxonomicClassification"
    expected = TAXONOMIC.eval()(torch.tensor([[5, 9, 2, 30]])).log_probabilities[-1][0]
    torch.testing.assert_close(torch.tensor([float(value) for value in values]), expected)
