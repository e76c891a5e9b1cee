from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from bioscan_hf.training.alignment_arguments import AlignmentArguments
from bioscan_hf.training.settings import PRESETS, make_settings

GIVEN: dict[str, Any] = {"data": "some/data", "output": Path("o")}


def preset(name: str, **flags: Any) -> AlignmentArguments:
    return make_settings(AlignmentArguments, {**GIVEN, **flags}, Path(name))


def differences(one: AlignmentArguments, other: AlignmentArguments) -> dict[str, Any]:
    """Fields of the first that the other has otherwise."""
    names = [field.name for field in fields(AlignmentArguments)]
    return {name: getattr(one, name) for name in names if getattr(one, name) != getattr(other, name)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": "image,sound"}, r"`modalities` must be some of \['image', 'dna', 'text'\]; got 'image,sound'"),
        ({"modalities": "image"}, "`modalities` must be two or three of"),
        ({"modalities": "image,image,dna"}, "`modalities` must be some of .* got 'image,image,dna'"),
        ({"modalities": "image,dna", "freeze": "text"}, r"`freeze` must be among .*\['image', 'dna'\]; got \['text'\]"),
        ({"modalities": "image,dna", "require": "text"}, "`require` must be among the modalities"),
        ({"freeze": "images"}, "`freeze` must be some of"),
        ({"freeze": "image,dna,text", "method": "lora"}, "nothing for adapters; leave `method` out"),
        ({"augment": False, "min_crop": 0.5}, "`min_crop` is for `augment`, which is off"),
        ({"loss_pairs": "image-sound"}, r"`loss_pairs` must name pairs of .*, as image-dna; got 'image-sound'"),
        ({"loss_pairs": "image-image"}, "`loss_pairs` must name pairs .* got 'image-image'"),
        ({"loss_pairs": "image,dna"}, "`loss_pairs` must name pairs .* got 'image'"),
        ({"loss_pairs": "image-dna"}, "`loss_pairs` compares text with nothing; name a pair, or leave it out of `mod"),
        ({"loss_pairs": ""}, "compares dna and image and text with nothing"),
        ({"modalities": "dna,text", "loss_pairs": "image-dna"}, r"must name pairs of \['dna', 'text'\]"),
        ({"batch_size": 1}, "`batch_size` must be at least 2; got 1"),
        ({"jitter": 0.7}, "`jitter` must be at least 0 and at most 0.5; got 0.7"),
        ({"loss_type": "triplet"}, r"`loss_type` must be one of \['info_nce', 'sigmoid'\]; got 'triplet'"),
    ],
)
def test_what_makes_no_sense_is_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlignmentArguments(**GIVEN, **changes)


def test_lists_of_words_may_have_blanks_and_any_order() -> None:
    given = AlignmentArguments(**GIVEN, modalities=" text, image", freeze=" image ", require="text , image")
    assert given.modality_names == ["image", "text"]
    assert (given.frozen_names, given.required_names) == (["image"], ["text", "image"])
    assert given.pair_names is None
    given = AlignmentArguments(**GIVEN, loss_pairs="dna-image, text-dna")
    assert given.pair_names == ["dna-image", "text-dna"]
    assert not AlignmentArguments(**GIVEN).frozen_names and not AlignmentArguments(**GIVEN).required_names


def test_the_recipe_of_the_paper_is_the_default_but_for_what_it_says() -> None:
    found = differences(preset("clibd"), AlignmentArguments(**GIVEN))
    assert found == {
        "train_split": "pretrain+train",
        "normalise_images": False,
        "text_form": "clibd",
        "max_grad_norm": 1e9,
        "mixed_precision": "bf16",
        "metric_for_best_model": "overall",
        "save_strategy": "epoch",
        "save_total_limit": 2,
        "num_workers": 8,
    }
    assert preset("clibd").more_is_better


def test_the_recipe_with_adapters_is_that_of_june_2024() -> None:
    found = differences(preset("clibd-lora"), preset("clibd"))
    assert found == {
        "method": "lora",
        "learn_temperature": False,
        "jitter": 0.5,
        "num_train_epochs": 4,
        "batch_size": 400,
        "learning_rate": 1e-3,
        "scale_learning_rate": False,
        "lr_scheduler_type": "constant",
        "warmup_ratio": 0,
        "weight_decay": 0,
    }


@pytest.mark.parametrize("name", PRESETS)
def test_a_recipe_names_each_setting_once_and_says_where_it_is_from(name: str) -> None:
    text = (files("bioscan_hf.training") / "presets" / f"{name}.yaml").read_text()
    lines = [line.split(":")[0] for line in text.splitlines() if line and not line.startswith("#")]
    assert len(set(lines)) == len(lines) == len(yaml.safe_load(text))
    assert f"--config {name}" in text and "Source: bioscan-ml/clibd" in text
    assert not {"data", "output", "dna_model"} & set(lines), "they are the user's"


def test_the_number_of_steps_is_that_of_the_paper() -> None:
    """2,483 steps in an epoch of the 4,966,959 specimens that are trained on, with four GPUs."""
    assert 4_966_959 // (4 * preset("clibd").batch_size) == 2483


def test_what_is_given_beside_a_recipe_wins() -> None:
    given = preset("clibd", image_model="new:tiny", modalities="image,dna", normalise_images=True, batch_size=8)
    assert (given.image_model, given.modalities, given.normalise_images) == ("new:tiny", "image,dna", True)
    assert replace(given, batch_size=500).text_model == "prajjwal1/bert-small"
