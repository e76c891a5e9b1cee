"""Pretrained towers become a model without a change to what they compute."""

from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers import (
    AutoModel,
    BertModel,
    CLIPVisionConfig,
    Dinov2Config,
    SiglipVisionConfig,
    SwinConfig,
    ViTModel,
)

from bioscan_hf import BarcodeBertForMaskedLM, BarcodeBertModel, ClibdModel
from tests.models.clibd.made_specimens import made_batch
from tests.tiny import tiny_clibd, tiny_clibd_config, tiny_config, tiny_masked_lm

SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = {
    "clip": CLIPVisionConfig(image_size=8, patch_size=4, intermediate_size=32, **SIZES),
    "dinov2": Dinov2Config(image_size=8, patch_size=4, mlp_ratio=2, **SIZES),
    "siglip": SiglipVisionConfig(image_size=8, patch_size=4, intermediate_size=32, **SIZES),
    "swin": SwinConfig(image_size=8, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=2),
}
KMERS = torch.tensor([[5, 9, 30, 1], [40, 7, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])


@torch.no_grad()
def random_weights(model: Any) -> Any:
    """As if it were trained; statistics of a batch norm, too."""
    torch.manual_seed(1)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5 if "var" in name else 0.3 * torch.randn_like(value))
    return model.eval()


def barcodebert(**fields: Any) -> BarcodeBertModel:
    model: BarcodeBertModel = random_weights(BarcodeBertModel(tiny_config(**fields)))
    return model


def vit() -> ViTModel:
    config: Any = tiny_clibd_config().vision_config
    return ViTModel(config)


def bert() -> BertModel:
    config: Any = tiny_clibd_config().text_config
    return BertModel(config)


def test_towers_keep_their_weights() -> None:
    image, text, dna = vit(), bert(), barcodebert()
    states = [{k: v.clone() for k, v in random_weights(tower).state_dict().items()} for tower in (image, text, dna)]
    model = ClibdModel.from_towers(image=image, dna=dna, text=text, projection_dim=12)
    for tower, state in zip((model.vision_model, model.text_model, model.dna_model), states, strict=True):
        found = tower.state_dict()
        assert not any("pooler" in key for key in found), "parameters that nothing reads"
        assert found.keys() == {key for key in state if "pooler" not in key}
        assert all(torch.equal(value, state[key]) for key, value in found.items())
    assert model.vision_model is image and model.text_model is text
    assert not any(module.training for module in model.modules())
    assert model.vision_projection.weight.shape == (12, 16)
    outputs = model.train()(**made_batch(2, dna_input_ids=KMERS, dna_attention_mask=MASK))
    outputs.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_towers_compute_what_they_computed_before(attention: str) -> None:
    batch = made_batch()
    image, text, dna = random_weights(vit()), random_weights(bert()), barcodebert()
    for tower in (image, text, dna):
        tower.set_attn_implementation(attention)
    texts = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    kmers = {"input_ids": KMERS, "attention_mask": MASK}

    def hidden(*models: Any) -> list[torch.Tensor]:
        given = (*({"pixel_values": batch["pixel_values"]}, texts, kmers),)
        return [model(**inputs).last_hidden_state for model, inputs in zip(models, given, strict=True)]

    expected = hidden(image, text, dna)
    model = ClibdModel.from_towers(image=image, dna=dna, text=text, projection_dim=12)
    torch.testing.assert_close(hidden(model.vision_model, model.text_model, model.dna_model), expected)
    for tower in (model.vision_model, model.text_model, model.dna_model):
        parts: Any = tower.modules()
        assert {part.config._attn_implementation for part in parts if hasattr(part, "config")} == {attention}
    torch.testing.assert_close(hidden(image, text, dna), expected)
    model.set_attn_implementation("eager")
    torch.testing.assert_close(hidden(model.vision_model, model.text_model, model.dna_model), expected)


def test_pooler_of_a_vit_is_kept_where_it_is_read() -> None:
    image = random_weights(vit())
    weight = image.pooler.dense.weight
    model: Any = ClibdModel.from_towers(image=image, dna=barcodebert(), projection_dim=12, vision_pooling="pooler")
    assert model.vision_model.pooler.dense.weight is weight


@torch.no_grad()
@pytest.mark.parametrize("norm", ["none", "batch", "linear"])
@pytest.mark.parametrize("pooling", ["masked_mean", "mean", "cls"])
@pytest.mark.parametrize("head", ["linear", "mlm"])
def test_norm_of_the_embedding_goes_into_the_head(norm: str, pooling: str, head: str) -> None:
    cls_token_id = 0 if pooling == "cls" else None
    source = barcodebert(embedding_norm=norm, pooling=pooling, cls_token_id=cls_token_id)
    ids = torch.where(MASK.bool(), KMERS, 1)
    inputs = {"input_ids": ids, "attention_mask": MASK}
    fields: dict[str, Any] = {"projection_dim": 12, "dna_pooling": pooling, "dna_head": head}
    plain = barcodebert(pooling=pooling, cls_token_id=cls_token_id)
    torch.manual_seed(2)
    model = ClibdModel.from_towers(dna=source, image=vit(), **fields)
    torch.manual_seed(2)
    unfolded = ClibdModel.from_towers(dna=plain, image=vit(), **fields)
    embedding = source(**inputs).pooler_output
    expected = unfolded.dna_projection(unfolded.dna_transform(embedding))
    found = model.get_dna_features(**inputs).pooler_output
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_norm_of_the_embedding_is_never_dropped() -> None:
    image = vit()
    with pytest.raises(ValueError, match="needs a layer that takes it over; got `dna_head='none'`"):
        ClibdModel.from_towers(image=image, dna=barcodebert(embedding_norm="batch"), projection_dim=16, dna_head="none")
    assert ClibdModel.from_towers(image=image, dna=barcodebert(), projection_dim=16, dna_head="none")


def test_encoder_of_a_model_with_a_head_is_taken() -> None:
    source: BarcodeBertForMaskedLM = tiny_masked_lm()
    model = ClibdModel.from_towers(dna=source, image=vit(), projection_dim=16)
    assert model.dna_model.encoder is source.bert.encoder
    dna: Any = model.config.dna_config
    assert (dna.kmer_size, dna.vocabulary, dna.cls_token_id, dna.attend_to_padding) == (3, "acgt", None, False)


def test_towers_that_do_not_fit_are_refused() -> None:
    image = vit()
    with pytest.raises(ValueError, match="must be a BarcodeBERT; got a model of the type 'bert'"):
        ClibdModel.from_towers(image=image, dna=bert())
    with pytest.raises(StrictDataclassClassValidationError, match="two or three"):
        ClibdModel.from_towers(image=image)


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
@pytest.mark.parametrize("name", VISION)
def test_any_vision_transformer_is_a_tower(name: str, pooling: str, tmp_path: Any) -> None:
    fields = {"modalities": ["image", "dna"], "vision_pooling": pooling}
    config = tiny_clibd_config(**fields)
    config.vision_config = VISION[name]
    torch.manual_seed(0)
    model = ClibdModel(config).eval()
    batch = made_batch(input_ids=None, attention_mask=None)
    outputs = model(**batch)
    assert outputs.image_embeds.shape == (6, 16) and outputs.loss > 0
    model.save_pretrained(tmp_path)
    again, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()) and type(again.vision_model) is type(model.vision_model)
    assert torch.equal(again(**batch).image_embeds, outputs.image_embeds)


def test_new_towers_have_no_parameters_that_nothing_reads() -> None:
    assert not any("pooler" in name for name, _ in tiny_clibd().named_parameters())
    assert any("pooler" in name for name, _ in tiny_clibd(vision_pooling="pooler").named_parameters())
