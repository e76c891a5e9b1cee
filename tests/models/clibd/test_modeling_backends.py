"""The model gives the same numbers however it is computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from bioscan_hf import ClibdModel
from tests.models.clibd.made_specimens import made_batch
from tests.tiny import tiny_clibd

DROPOUT = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}
TWO_LAYERS = {f"{name}_config": {"num_hidden_layers": 2} for name in ("vision", "dna", "text")}
SOME = {"has_image": torch.tensor([1, 1, 0, 1, 1, 1]).bool(), "has_text": torch.tensor([1, 0, 1, 1, 1, 0]).bool()}


def results(
    model: Any, batch: dict[str, Any], *, autocast: bool = False
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss and gradients."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = model(**batch).loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("changes", [{}, SOME], ids=["all", "some"])
@pytest.mark.parametrize("chunk_size", [1, 2, 4, 6])
def test_chunks_change_no_gradient(chunk_size: int, changes: dict[str, Any]) -> None:
    model, batch = tiny_clibd().train(), made_batch(**changes)
    expected = results(model, batch)
    model.chunk_size = chunk_size
    torch.testing.assert_close(results(model, batch), expected, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).loss, expected[0])


def test_chunks_draw_the_same_dropout_in_both_passes() -> None:
    model, batch = tiny_clibd(dna_config=DROPOUT, text_config=DROPOUT).train(), made_batch()
    model.chunk_size = 2
    torch.manual_seed(3)
    loss, gradients = results(model, batch)
    # A small step against the gradient lowers the loss of the very same draws by its square.
    size = 1e-4
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.sub_(size * gradients[name])
    torch.manual_seed(3)
    moved = model(**batch).loss
    expected = size * torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum()
    torch.testing.assert_close(loss - moved, expected, rtol=0.05, atol=0)


@contextmanager
def kept_numbers() -> Iterator[list[int]]:
    """How many numbers the graph keeps for the backward pass, tensor by tensor."""
    sizes: list[int] = []
    seen: set[int] = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        # A chunk in its first pass has nothing kept; parameters and inputs are there anyway.
        if tensor.data_ptr() not in seen and not tensor.is_leaf:
            seen.add(tensor.data_ptr())
            sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


def test_chunks_keep_no_activations() -> None:
    model, batch = tiny_clibd(**TWO_LAYERS).train(), made_batch(12)
    numbers = []
    for chunk_size in (None, 3):
        model.chunk_size = chunk_size
        with kept_numbers() as sizes:
            model(**batch)
        numbers.append(sum(sizes))
    assert numbers[1] < numbers[0] / 5


@pytest.mark.parametrize("bias", [False, True], ids=["info_nce", "sigmoid"])
def test_tiles_change_no_gradient(bias: bool) -> None:
    model = tiny_clibd(loss_type="sigmoid" if bias else "info_nce").train()
    expected = results(model, made_batch())
    model.loss_tile = 4
    torch.testing.assert_close(results(model, made_batch()), expected, atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_equal_texts_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = tiny_clibd(), made_batch()
    for name in ("input_ids", "attention_mask"):
        batch[name] = batch[name][[0, 1, 0, 0, 1, 2]]
    texts = zip(batch["input_ids"].split(1), batch["attention_mask"].split(1), strict=True)
    expected = [model.get_text_features(*text) for text in texts]
    passed: list[int] = []
    whole: Any = model.text_model.forward

    def counted(**given: torch.Tensor) -> Any:
        passed.append(len(given["input_ids"]))
        return whole(**given)

    monkeypatch.setattr(model.text_model, "forward", counted)
    found = model(**batch).text_embeds
    assert passed == [3]
    vectors = torch.nn.functional.normalize(torch.cat([own.pooler_output for own in expected]), dim=-1)
    torch.testing.assert_close(found, vectors)
    # The same letters are another text where more of them count.
    batch["input_ids"][:] = batch["input_ids"][1]
    batch["attention_mask"][:] = torch.tensor([1, 1, 1, 0, 0])
    batch["attention_mask"][3, 2] = 0
    found = model(**batch).text_embeds
    assert passed[1:] == [2] and not torch.allclose(found[3], found[0])


@pytest.mark.parametrize("training", [False, True])
def test_eager_attention_equals_sdpa(training: bool) -> None:
    model = tiny_clibd(dna_config={"attend_to_padding": False}).train(training)
    found = {}
    for name in ("sdpa", "eager"):
        model.set_attn_implementation(name)
        assert model.vision_model.config._attn_implementation == model.dna_model.config._attn_implementation == name
        found[name] = results(model, made_batch())
    torch.testing.assert_close(found["eager"], found["sdpa"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_gradient_checkpointing_changes_no_gradient(chunk_size: int | None) -> None:
    model, batch = tiny_clibd(**TWO_LAYERS).train(), made_batch()
    expected = results(model, batch)
    passes: list[int] = []
    layers = [layer for name, layer in model.named_modules() if name.endswith(("intermediate.dense", "mlp.fc1"))]
    for layer in layers:
        layer.register_forward_hook(lambda *_: passes.append(1))
    model.gradient_checkpointing_enable()
    model.chunk_size = chunk_size
    torch.testing.assert_close(results(model, batch), expected, atol=1e-5, rtol=1e-4)
    assert len(layers) == 6 and len(passes) >= 2 * len(layers)


def test_bfloat16_is_near_float32() -> None:
    model = tiny_clibd().train()
    loss, gradients = results(model, made_batch())
    whole = torch.cat([gradient.flatten() for gradient in gradients.values()])
    mixed_loss, mixed = results(model, made_batch(), autocast=True)
    outputs = model(**made_batch())
    half_model = tiny_clibd().train().bfloat16()
    half_loss, half = results(half_model, made_batch(pixel_values=made_batch()["pixel_values"].bfloat16()))
    for other_loss, others in ((mixed_loss, mixed), (half_loss, half)):
        torch.testing.assert_close(other_loss, loss, atol=0.1, rtol=0.05)
        assert others.keys() == gradients.keys() and other_loss.dtype == torch.float32
        other = torch.cat([gradient.float().flatten() for gradient in others.values()])
        assert other.isfinite().all() and torch.cosine_similarity(other, whole, dim=0) > 0.95
    assert outputs.image_embeds.dtype == torch.float32, "half precision is too coarse to compare vectors"


@pytest.mark.slow
def test_compiled_towers() -> None:
    torch.compiler.reset()
    model: ClibdModel = tiny_clibd()
    expected = results(model, made_batch())
    for tower in (model.vision_model, model.dna_model, model.text_model):
        tower.compile(backend="aot_eager")
    torch.testing.assert_close(results(model, made_batch()), expected, atol=1e-5, rtol=1e-4)
