"""What a configuration makes of its fields, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import StrictDataclassClassValidationError, StrictDataclassFieldValidationError
from transformers import AutoConfig, BertConfig, ViTConfig

from bioscan_hf import ClibdConfig
from bioscan_hf.models.clibd.configuration_clibd import ClibdDnaConfig
from tests.tiny import tiny_clibd_config


def test_defaults_are_the_model_of_the_paper() -> None:
    config = ClibdConfig()
    vision, dna, text = config.vision_config, config.dna_config, config.text_config
    assert isinstance(vision, ViTConfig) and isinstance(dna, ClibdDnaConfig) and isinstance(text, BertConfig)
    assert (vision.hidden_size, vision.num_hidden_layers, vision.patch_size, vision.layer_norm_eps) == (
        768,
        12,
        16,
        1e-6,
    )
    assert (dna.hidden_size, dna.num_hidden_layers, dna.vocab_size, dna.max_tokens) == (768, 12, 4**5 + 3, 133)
    assert (text.hidden_size, text.num_hidden_layers, text.num_attention_heads) == (512, 4, 8)
    assert config.pairs == [("image", "dna"), ("image", "text"), ("dna", "text")]


@pytest.mark.parametrize("modalities", [["image", "dna"], ["text", "image"], ("dna", "text"), ["text", "dna", "image"]])
def test_saved_and_loaded(modalities: Any, tmp_path: Path) -> None:
    config = tiny_clibd_config(
        modalities=modalities, taxa=["Aus bus", "Cus dus"], loss_pairs=["-".join(modalities[:2])]
    )
    assert config.modalities == [name for name in ("image", "dna", "text") if name in modalities]
    assert config.id2label == {0: "Aus bus", 1: "Cus dus"} and config.label2id == {"Aus bus": 0, "Cus dus": 1}
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert type(again) is ClibdConfig and again.to_json_string() == config.to_json_string()
    assert again.pairs == config.pairs and len(again.pairs) == 1
    towers = {"image": again.vision_config, "dna": again.dna_config, "text": again.text_config}
    assert {name for name, tower in towers.items() if tower is not None} == set(modalities)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modalities": ["image"]}, r"two or three of \['image', 'dna', 'text'\]; got \['image'\]"),
        ({"modalities": ["image", "dna", "barcode"]}, "got .*'barcode'"),
        ({"modalities": ["dna", "dna"]}, r"got \['dna', 'dna'\]"),
        ({"loss_pairs": ["image_dna"]}, "as 'image-dna'; got 'image_dna'"),
        ({"loss_pairs": ["image-image"]}, "got 'image-image'"),
        ({"modalities": ["image", "dna"], "loss_pairs": ["image-text"]}, r"pairs of \['image', 'dna'\]"),
        ({"loss_pairs": []}, "at least one pair"),
        ({"dna_head": "none", "projection_dim": 8}, "as wide as the embedding space, 8; its `hidden_size` is 16"),
        ({"dna_head": "none", "dna_pooling": "head_mean"}, "needs a `dna_head`"),
        ({"dna_pooling": "cls", "dna_config": {"cls_token_id": None}}, "needs a `cls_token_id`"),
        ({"hierarchy_weight": 1.0}, "at least 0 and below 1; got 1.0"),
        ({"taxa": ["Aus", "Cus", "Aus"]}, r"\['Aus'\] are there more than once"),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(StrictDataclassClassValidationError, match=message):
        tiny_clibd_config(**fields)


@pytest.mark.parametrize(
    "fields", [{"dna_pooling": "max"}, {"loss_targets": "species"}, {"loss_type": "clip"}, {"dna_head": "bert"}]
)
def test_unknown_choices_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(StrictDataclassFieldValidationError, match=next(iter(fields))):
        tiny_clibd_config(**fields)
