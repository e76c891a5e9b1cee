"""Adapters for the attention's `query` and `value`, as CLIBD trains them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    AutoPeftModelForFeatureExtraction,
    AutoPeftModelForSequenceClassification,
    LoraConfig,
    TaskType,
    get_peft_model,
)
from safetensors.torch import load_file
from transformers import PreTrainedModel

from bioscan_hf import BarcodeBertModel, KmerEncoder
from tests.tiny import tiny_heads

HEADS = {type(model).__name__: model for model in tiny_heads(initializer_range=0.3)}


def tokens() -> dict[str, torch.Tensor]:
    ids, mask = map(torch.from_numpy, KmerEncoder(3)(["ACGTACGTACGTACG", "TTTGGG"]))
    return {"input_ids": ids, "attention_mask": mask}


def saved(name: str, folder: Path) -> PreTrainedModel:
    """A model that was loaded from a folder, so that its adapter knows where the rest is."""
    HEADS[name].save_pretrained(folder)
    return type(HEADS[name]).from_pretrained(folder)


def lora(task: TaskType | None = None) -> LoraConfig:
    return LoraConfig(r=2, target_modules=["query", "value"], task_type=task, init_lora_weights=False)


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
def test_adapter_of_any_head_can_be_merged(name: str, tmp_path: Path) -> None:
    model = saved(name, tmp_path).eval()
    before = model(**tokens()).logits
    adapted = get_peft_model(model, lora()).eval()
    after = adapted(**tokens()).logits
    assert not torch.allclose(after, before)
    merged = adapted.merge_and_unload()
    assert type(merged).__name__ == name
    torch.testing.assert_close(merged(**tokens()).logits, after, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["BarcodeBertForSequenceClassification", "BarcodeBertForTaxonomicClassification"])
def test_classifier_is_saved_with_its_adapter(name: str, tmp_path: Path) -> None:
    adapted = get_peft_model(saved(name, tmp_path / "base"), lora(TaskType.SEQ_CLS))
    trained = {key for key, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert {key.split(".")[-2] for key in trained if "lora" not in key} == {"default"}
    with torch.no_grad():
        for key, parameter in adapted.named_parameters():
            if "score" in key and parameter.requires_grad:
                parameter.add_(1.5)
    adapted.eval().save_pretrained(str(tmp_path / "adapter"))
    assert any("score" in key for key in load_file(tmp_path / "adapter" / "adapter_model.safetensors"))
    options: dict[str, Any] = {} if "Taxonomic" in name else {"num_labels": 7}
    again = AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / "adapter", **options).eval()
    assert type(again.get_base_model()).__name__ == name
    with torch.no_grad():
        torch.testing.assert_close(again(**tokens()).logits, adapted(**tokens()).logits)


@torch.no_grad()
def test_adapter_of_the_encoder(tmp_path: Path) -> None:
    HEADS["BarcodeBertForMaskedLM"].save_pretrained(tmp_path / "base")
    model = BarcodeBertModel.from_pretrained(tmp_path / "base")
    adapted = get_peft_model(model, lora(TaskType.FEATURE_EXTRACTION)).eval()
    adapted.save_pretrained(str(tmp_path / "adapter"))
    again = AutoPeftModelForFeatureExtraction.from_pretrained(tmp_path / "adapter").eval()
    torch.testing.assert_close(again(**tokens()).pooler_output, adapted(**tokens()).pooler_output)
