"""Embeddings, poolings and losses of the model, computed by hand beside it; what may be missing, and what may not."""

import math
from itertools import combinations
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from torch.nn.functional import layer_norm, normalize

from bioscan_hf import ClibdModel
from tests.models.clibd.made_specimens import made_batch
from tests.models.clibd.naive_loss import naive_loss
from tests.tiny import tiny_clibd

EMBEDS = ("image_embeds", "dna_embeds", "text_embeds")
INPUTS = {
    "image": ("pixel_values",),
    "dna": ("dna_input_ids", "dna_attention_mask"),
    "text": ("input_ids", "attention_mask"),
}
DNA_POOLINGS = ["masked_mean", "mean", "cls", "head_mean", "head_softmax_mean"]
READS_MASK = {"attend_to_padding": False}


def without(modality: str) -> dict[str, Any]:
    """Changes to a batch."""
    return dict.fromkeys(INPUTS[modality])


def masked_mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.stack([own[there.bool()].mean(dim=0) for own, there in zip(hidden, mask, strict=True)])


@torch.no_grad()
@pytest.mark.parametrize(
    ("head", "pooling"),
    [
        *((head, pooling) for head in ("linear", "mlm") for pooling in DNA_POOLINGS),
        *(("none", pooling) for pooling in DNA_POOLINGS[:3]),
    ],
)
@pytest.mark.parametrize("reads_mask", [False, True])
def test_barcodes_are_pooled(head: str, pooling: str, reads_mask: bool) -> None:
    model = tiny_clibd(dna_pooling=pooling, dna_head=head, dna_config={"attend_to_padding": not reads_mask})
    batch = made_batch()
    ids, mask = batch["dna_input_ids"], batch["dna_attention_mask"]
    found = model.get_dna_features(ids, mask).pooler_output
    if not reads_mask or pooling == "mean":
        # A barcode of the greatest length has 8 k-mers, and the first token.
        ids, mask = (torch.nn.functional.pad(own, (0, 1), value=fill) for own, fill in ((ids, 2), (mask, 0)))
    if not reads_mask:
        mask = torch.ones_like(ids)
    hidden = model.dna_model(input_ids=ids, attention_mask=mask if reads_mask else None).last_hidden_state

    def projected(states: torch.Tensor) -> torch.Tensor:
        weights = model.state_dict()
        if head == "mlm":
            dense, norm = ("dna_transform.dense", "dna_transform.LayerNorm")
            states = torch.nn.functional.gelu(states @ weights[f"{dense}.weight"].T + weights[f"{dense}.bias"])
            states = layer_norm(states, (16,), weights[f"{norm}.weight"], weights[f"{norm}.bias"], eps=1e-12)
        if head != "none":
            states = states @ weights["dna_projection.weight"].T + weights["dna_projection.bias"]
        return states

    expected = {
        "masked_mean": lambda: projected(masked_mean(hidden, mask)),
        "mean": lambda: projected(hidden.mean(dim=1)),
        "cls": lambda: projected(hidden[:, 0]),
        "head_mean": lambda: masked_mean(projected(hidden), mask),
        "head_softmax_mean": lambda: masked_mean(projected(hidden).softmax(dim=-1), mask),
    }[pooling]()
    torch.testing.assert_close(found, expected)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["masked_mean", "mean", "cls"])
def test_texts_are_pooled(pooling: str) -> None:
    model, batch = tiny_clibd(text_pooling=pooling), made_batch()
    ids, mask = batch["input_ids"], batch["attention_mask"]
    found = model.get_text_features(ids, mask).pooler_output
    if pooling == "mean":
        ids, mask = (torch.nn.functional.pad(own, (0, 15)) for own in (ids, mask))
    hidden = model.text_model(input_ids=ids, attention_mask=mask).last_hidden_state
    pooled = {"masked_mean": masked_mean(hidden, mask), "mean": hidden.mean(dim=1), "cls": hidden[:, 0]}[pooling]
    torch.testing.assert_close(found, model.text_projection(pooled))


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
def test_images_are_pooled(pooling: str) -> None:
    model, pixels = tiny_clibd(vision_pooling=pooling), made_batch()["pixel_values"]
    outputs = model.vision_model(pixel_values=pixels)
    hidden = outputs.last_hidden_state
    assert hidden.shape == (6, 5, 16)
    pooled = {"cls": hidden[:, 0], "mean": hidden[:, 1:].mean(dim=1), "pooler": outputs.pooler_output}[pooling]
    torch.testing.assert_close(model.get_image_features(pixels).pooler_output, model.vision_projection(pooled))


@torch.no_grad()
@pytest.mark.parametrize("pooling", DNA_POOLINGS)
@pytest.mark.parametrize("reads_mask", [False, True])
def test_an_embedding_does_not_depend_on_its_batch(pooling: str, reads_mask: bool) -> None:
    fields = {} if pooling.startswith("head") else {"text_pooling": pooling}
    model = tiny_clibd(dna_pooling=pooling, dna_config={"attend_to_padding": not reads_mask}, **fields)
    ids = torch.tensor([[0, 9, 30, 5]])
    for embed, fill in ((model.get_dna_features, 2), (model.get_text_features, 0)):
        ids = ids.clamp(max=11 if fill == 0 else 66)
        alone = embed(ids, torch.ones_like(ids)).pooler_output
        torch.testing.assert_close(embed(ids).pooler_output, alone)
        mask = torch.nn.functional.pad(torch.ones_like(ids), (0, 4))
        padded = embed(torch.nn.functional.pad(ids, (0, 4), value=fill), mask).pooler_output
        torch.testing.assert_close(padded, alone)


@pytest.mark.parametrize("fields", [{}, {"loss_type": "sigmoid"}, {"loss_targets": "mean"}, {"loss_targets": "mask"}])
def test_loss_is_that_of_the_unit_vectors(fields: dict[str, Any]) -> None:
    ids: dict[str, Any] = {
        "group_ids": torch.tensor([0, 0, 1, -1, 2, 1]),
        "caption_ids": torch.tensor([0, 1, 1, 2, 3, 4]),
    }
    model = tiny_clibd(**fields).train()
    outputs = model(**made_batch(), **ids)
    embeds = [outputs[name] for name in EMBEDS]
    for own in embeds:
        torch.testing.assert_close(own.norm(dim=-1), torch.ones(6))
    there = torch.ones(6, dtype=torch.bool)
    expected = naive_loss(
        dict(zip(INPUTS, [own.double() for own in embeds], strict=True)),
        dict.fromkeys(INPUTS, there),
        model.logit_scale().double(),
        None if model.logit_scale.bias is None else model.logit_scale.bias.double(),
        pairs=list(combinations(INPUTS, 2)),
        targets=model.config.loss_targets,
        **ids,
    )
    torch.testing.assert_close(outputs.loss.double(), expected, rtol=1e-5, atol=0)
    outputs.loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_a_modality_may_be_missing_for_the_whole_batch() -> None:
    model = tiny_clibd()
    whole = model(**made_batch())
    for left_out in INPUTS:
        outputs = model(**made_batch(**without(left_out)))
        assert getattr(outputs, f"{left_out}_embeds") is None and outputs.loss > 0
        for name in set(INPUTS) - {left_out}:
            torch.testing.assert_close(outputs[f"{name}_embeds"], whole[f"{name}_embeds"])
        assert (outputs.logits_per_image is None) == (left_out in ("image", "text"))
        alone = model(**{key: made_batch()[key] for key in INPUTS[left_out]})
        assert alone.loss is None
        torch.testing.assert_close(alone[f"{left_out}_embeds"], whole[f"{left_out}_embeds"])


@pytest.mark.parametrize("rubbish", [float("nan"), 0.0])
def test_a_modality_may_be_missing_for_some_specimens(rubbish: float) -> None:
    model = tiny_clibd(dna_config=READS_MASK).train()
    there = {"has_image": [1, 1, 0, 1, 1, 1], "has_dna": [0, 1, 1, 1, 0, 1], "has_text": [0, 0, 1, 1, 1, 1]}
    has = {name: torch.tensor(values).bool() for name, values in there.items()}
    batch = made_batch()
    whole = model(**batch)
    # What a missing one has in its place counts for nothing.
    batch["pixel_values"][~has["has_image"]] = rubbish
    batch["dna_attention_mask"][~has["has_dna"]] = 0
    batch["attention_mask"][~has["has_text"]] = 0
    outputs = model(**batch, **has)
    present = dict(zip(INPUTS, has.values(), strict=True))
    for name, own in present.items():
        torch.testing.assert_close(outputs[f"{name}_embeds"], whole[f"{name}_embeds"] * own[:, None])
    expected = naive_loss(
        {name: outputs[f"{name}_embeds"] for name in INPUTS},
        present,
        model.logit_scale(),
        pairs=list(combinations(INPUTS, 2)),
    )
    torch.testing.assert_close(outputs.loss, expected.float(), rtol=1e-5, atol=0)
    outputs.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("modality", INPUTS)
def test_a_modality_that_no_specimen_has_gives_its_tower_gradients_of_zero(modality: str) -> None:
    model = tiny_clibd(dna_config=READS_MASK).train()
    batch = made_batch()
    batch[f"has_{modality}"] = torch.zeros(6, dtype=torch.bool)
    batch[INPUTS[modality][-1]] = torch.zeros_like(batch[INPUTS[modality][-1]])
    outputs = model(**batch)
    assert not outputs[f"{modality}_embeds"].any() and outputs.loss > 0
    outputs.loss.backward()
    tower = {"image": model.vision_model, "dna": model.dna_model, "text": model.text_model}[modality]
    for parameter in tower.parameters():
        assert parameter.grad is not None and not parameter.grad.any()


@torch.no_grad()
def test_images_are_compared_with_any_number_of_texts() -> None:
    model, batch = tiny_clibd(), made_batch()
    batch = {
        key: batch[key][:2] if key == "pixel_values" else batch[key] for key in (*INPUTS["image"], *INPUTS["text"])
    }
    outputs = model(**batch)
    assert outputs.loss is None and outputs.logits_per_image.shape == (2, 6)
    vectors = [
        normalize(features.pooler_output, dim=-1)
        for features in (
            model.get_image_features(batch["pixel_values"]),
            model.get_text_features(batch["input_ids"], batch["attention_mask"]),
        )
    ]
    torch.testing.assert_close(outputs.logits_per_image, vectors[0] @ vectors[1].T / 0.07)
    torch.testing.assert_close(outputs.logits_per_text, outputs.logits_per_image.T)
    assert model(**made_batch(), return_loss=False).loss is None


@pytest.mark.parametrize("modalities", list(combinations(INPUTS, 2)))
def test_models_of_two_modalities(modalities: tuple[str, str]) -> None:
    model = tiny_clibd(modalities=modalities).train()
    (missing,) = set(INPUTS) - set(modalities)
    tower = {"image": "vision", "dna": "dna", "text": "text"}[missing]
    assert not any(name.startswith(tower) for name, _ in model.named_parameters())
    outputs = model(**made_batch(**without(missing)))
    outputs.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    with pytest.raises(ValueError, match=f"no tower for the modality '{missing}'; it has those for {modalities[0]}, "):
        model(**made_batch())


def test_loss_pairs_choose_what_is_aligned() -> None:
    bound = tiny_clibd(loss_pairs=["dna-image", "image-text"])
    assert bound.config.pairs == [("image", "dna"), ("image", "text")]
    pairs = [tiny_clibd(loss_pairs=[pair])(**made_batch()).loss for pair in ("image-dna", "image-text")]
    torch.testing.assert_close(bound(**made_batch()).loss, torch.stack(pairs).mean())


def test_factor_has_a_bound_from_which_it_comes_back() -> None:
    model = tiny_clibd().train()
    with torch.no_grad():
        model.logit_scale.log_scale.fill_(7.0)
    torch.testing.assert_close(model.eval().logit_scale(), torch.tensor(100.0))
    assert model.logit_scale.log_scale == 7.0, "evaluation changes no weights"
    optimizer = torch.optim.SGD([model.logit_scale.log_scale], lr=1e-3)
    loss = model.train()(**made_batch()).loss
    loss.backward()
    optimizer.step()
    # These embeddings are random, so that less of a factor is better.
    assert 4 < model.logit_scale.log_scale < math.log(100)
    free = tiny_clibd(logit_scale_max=None, logit_scale_init_value=7.0)
    torch.testing.assert_close(free.train().logit_scale(), torch.tensor(math.exp(7.0)))


def test_a_model_that_was_trained_with_groups_compares_without_them() -> None:
    outputs, plain = tiny_clibd(loss_targets="mean")(**made_batch()), tiny_clibd()(**made_batch())
    assert outputs.loss is None and plain.loss is not None
    torch.testing.assert_close(outputs.logits_per_image, plain.logits_per_image)


def test_errors_say_what_to_do() -> None:
    model = tiny_clibd()
    with pytest.raises(ValueError, match="Nothing to embed: give `pixel_values`"):
        model()
    with pytest.raises(ValueError, match=r"at most 12 tokens; got 13\. Tokenize with `truncation=True`"):
        model.get_dna_features(torch.full((1, 13), 5))
    with pytest.raises(ValueError, match="`loss_targets='mean'` needs `group_ids`"):
        tiny_clibd(loss_targets="mean").train()(**made_batch())
    config = tiny_clibd().config
    config.loss_pairs = ["image-barcode"]  # after the configuration has checked itself
    with pytest.raises(StrictDataclassClassValidationError, match="got 'image-barcode'"):
        ClibdModel(config)


def test_outputs_come_as_a_tuple_if_asked() -> None:
    model, batch = tiny_clibd(), made_batch()
    outputs = model(**batch)
    for found, expected in zip(model(**batch, return_dict=False), outputs.to_tuple(), strict=True):
        assert torch.equal(found, expected)
    features = model.get_image_features(batch["pixel_values"], output_hidden_states=True)
    assert len(features.hidden_states) == 2 and features.last_hidden_state.shape == (6, 5, 16)
