"""Every head gives the same numbers however it is computed."""

from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from bioscan_hf import BarcodeMAE, KmerEncoder
from bioscan_hf.data.collators import MaskedKmerCollator
from tests.tiny import tiny_heads

NAMES = ["masked_lm", "mae", "one_rank", "taxonomic"]
PLAIN = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3}
BARCODES = ["ACGTACGTACGTACG", "TTTGGGCCC", "ACGNACGTTTTTTTT", "CCCGGGAAATTT"]


@pytest.fixture(params=range(4), ids=NAMES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return tiny_heads(**PLAIN, num_hidden_layers=2)[request.param]


def batch_for(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    batch = MaskedKmerCollator(KmerEncoder(3), label_visible=False)(BARCODES)
    if model.config.ranks:
        batch["labels"] = torch.tensor([[0, 0, 0], [0, 1, -1], [1, -1, -1], [0, 1, 2]])
    elif "Sequence" in type(model).__name__:
        batch["labels"] = torch.tensor([0, 6, -1, 3])
    return batch


def results(
    model: PreTrainedModel, forward: Any = None, autocast: bool = False
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss and gradients."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = (model if forward is None else forward)(**batch_for(model)).loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("training", [False, True])
def test_eager_attention_equals_sdpa(model: PreTrainedModel, training: bool) -> None:
    model.train(training)
    found = {}
    for name in ("sdpa", "eager"):
        model.set_attn_implementation(name)
        found[name] = results(model)
    torch.testing.assert_close(found["eager"], found["sdpa"], atol=1e-5, rtol=1e-4)


def test_gradient_checkpointing_changes_no_gradient(model: PreTrainedModel) -> None:
    model.train()
    expected = results(model)
    passes = []
    layers = [layer for name, layer in model.named_modules() if name.endswith("intermediate.dense")]
    for layer in layers:
        layer.register_forward_hook(lambda *_: passes.append(1))
    model.gradient_checkpointing_enable()
    torch.testing.assert_close(results(model), expected)
    assert len(passes) == 2 * len(layers), "each layer is computed again in the backward pass"


def test_bfloat16_is_near_float32(model: PreTrainedModel) -> None:
    loss, gradients = results(model)
    whole = torch.cat([gradient.flatten() for gradient in gradients.values()])
    mixed_loss, mixed = results(model, autocast=True)
    half_loss, half = results(model.bfloat16())
    for other_loss, others in ((mixed_loss, mixed), (half_loss, half)):
        torch.testing.assert_close(other_loss.float(), loss, atol=0.05, rtol=0.05)
        assert others.keys() == gradients.keys()
        other = torch.cat([gradient.float().flatten() for gradient in others.values()])
        assert other.isfinite().all() and torch.cosine_similarity(other, whole, dim=0) > 0.98
    assert mixed_loss.dtype == half_loss.dtype == torch.float32, "losses are computed in float32"


def compiled_equals_plain(model: PreTrainedModel, backend: str) -> None:
    torch.compiler.reset()
    expected = results(model)
    # Shapes inside depend on which k-mers are visible in BarcodeMAE, and on which are labelled in training.
    whole = "Classification" in type(model).__name__ or not (model.training or isinstance(model, BarcodeMAE))
    compiled = torch.compile(model, backend=backend, fullgraph=whole)
    torch.testing.assert_close(results(model, compiled), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["masked_lm", "taxonomic"])
def test_one_graph_is_traced(name: str) -> None:
    compiled_equals_plain(tiny_heads(**PLAIN)[NAMES.index(name)].eval(), "eager")


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "training"), [("aot_eager", False), ("aot_eager", True), ("inductor", True)])
def test_compiled_model(model: PreTrainedModel, backend: str, training: bool) -> None:
    compiled_equals_plain(model.train(training), backend)
