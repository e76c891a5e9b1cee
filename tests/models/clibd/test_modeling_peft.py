"""LoRA for the attention of all towers, as CLIBD trains it: rank 4, and heads and factor whole."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from bioscan_hf import ClibdModel
from tests.models.clibd.made_specimens import made_batch
from tests.tiny import tiny_clibd

LAYERS = r"vision_model\..*\.(q_proj|v_proj)|(dna|text)_model\..*\.(query|value)"
HEADS = ["vision_projection", "dna_transform", "dna_projection", "text_projection", "logit_scale"]


@pytest.fixture
def adapted(tmp_path: Path) -> PeftModel:
    tiny_clibd(dna_head="mlm").save_pretrained(tmp_path / "base")
    model = ClibdModel.from_pretrained(tmp_path / "base")
    options = LoraConfig(r=4, lora_alpha=4, target_modules=LAYERS, modules_to_save=HEADS)
    found = get_peft_model(model, options)
    assert isinstance(found, PeftModel)
    return found


def step(model: torch.nn.Module) -> float:
    """One step of training; its loss."""
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    loss = model(**made_batch()).loss
    loss.backward()
    assert all(parameter.grad is not None for parameter in trained)
    optimizer.step()
    return float(loss.detach())


def test_adapters_heads_and_factor_are_trained_and_saved(adapted: PeftModel, tmp_path: Path) -> None:
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    lora = {name for name in trained if "lora_" in name}
    # Three towers of one layer, two matrices each for queries and values.
    assert len(lora) == 3 * 2 * 2
    whole = {name.removeprefix("base_model.model.").split(".")[0] for name in trained - lora}
    assert whole == set(HEADS)
    before = {name: parameter.clone() for name, parameter in adapted.named_parameters()}
    losses = [step(adapted) for _ in range(5)]
    assert losses[-1] < losses[0]
    changed = {name for name, parameter in adapted.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == trained
    adapted.eval().save_pretrained(str(tmp_path / "adapter"))
    saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert any("logit_scale.log_scale" in name for name in saved)
    again = PeftModel.from_pretrained(ClibdModel.from_pretrained(tmp_path / "base"), str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        expected = adapted(**made_batch())
        for found, own in zip(again(**made_batch()).to_tuple(), expected.to_tuple(), strict=True):
            torch.testing.assert_close(found, own)


@torch.no_grad()
def test_adapters_can_be_merged(adapted: PeftModel, tmp_path: Path) -> None:
    before = adapted.eval()(**made_batch())
    with torch.enable_grad():
        step(adapted)
    expected = adapted.eval()(**made_batch())
    assert not torch.allclose(expected.image_embeds, before.image_embeds)
    merged = adapted.merge_and_unload()
    assert type(merged) is ClibdModel
    merged.save_pretrained(tmp_path / "merged")
    for model in (merged, ClibdModel.from_pretrained(tmp_path / "merged")):
        found = model(**made_batch())
        torch.testing.assert_close(found.loss, expected.loss, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.dna_embeds, expected.dna_embeds, atol=1e-5, rtol=1e-4)


def test_chunks_train_adapters_alike(adapted: PeftModel) -> None:
    found = []
    model: Any = adapted.base_model.model
    for chunk_size in (None, 2):
        model.chunk_size = chunk_size
        adapted.train().zero_grad()
        adapted(**made_batch()).loss.backward()
        found.append({n: p.grad.clone() for n, p in adapted.named_parameters() if p.grad is not None})
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)
