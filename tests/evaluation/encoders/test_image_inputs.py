from types import SimpleNamespace
from typing import Any

import pytest
from transformers import (
    BeitImageProcessorPil,
    CLIPImageProcessorPil,
    ConvNextImageProcessorPil,
    DeiTImageProcessorPil,
    SiglipImageProcessorPil,
    ViTImageProcessorPil,
)

from bioscan_hf.evaluation.encoders.image_inputs import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, read_preprocessing

HALF = (0.5, 0.5, 0.5)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGENET = {"image_mean": list(IMAGENET_MEAN), "image_std": list(IMAGENET_STD)}

# What checkpoints on the Hub say, some of them written by processors of long ago.
WRITTEN: dict[str, tuple[dict[str, Any], int, Any]] = {
    "facebook/dino-vitb16": ({**IMAGENET, "size": 224, "do_normalize": True, "resample": 2}, 224, IMAGENET_MEAN),
    "facebook/dinov2-base": (
        {
            **IMAGENET,
            "size": {"shortest_edge": 256},
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "rescale_factor": 0.00392156862745098,
        },
        224,
        IMAGENET_MEAN,
    ),
    "openai/clip-vit-base-patch16": (
        {"size": 224, "crop_size": 224, "do_center_crop": True, "image_mean": CLIP_MEAN, "image_std": HALF},
        224,
        CLIP_MEAN,
    ),
    "facebook/convnext-tiny-224": ({**IMAGENET, "size": 224, "crop_pct": 0.875}, 224, IMAGENET_MEAN),
    "ViT": (ViTImageProcessorPil().to_dict(), 224, HALF),
    "CLIP": (CLIPImageProcessorPil().to_dict(), 224, CLIP_MEAN),
    "SigLIP": (SiglipImageProcessorPil(size={"height": 384, "width": 384}).to_dict(), 384, HALF),
    "BEiT, which states a crop but makes none": (
        BeitImageProcessorPil(size={"height": 384, "width": 384}).to_dict(),
        384,
        HALF,
    ),
    "DeiT": (DeiTImageProcessorPil().to_dict(), 224, HALF),
    "ConvNeXt": (ConvNextImageProcessorPil(size={"shortest_edge": 288}).to_dict(), 288, HALF),
    "not normalised": ({**IMAGENET, "size": [64, 64], "do_normalize": False}, 64, (0, 0, 0)),
    "crop only": ({"crop_size": 48, "image_mean": 0.5, "image_std": 0.5}, 48, HALF),
    "no size": (IMAGENET, 96, IMAGENET_MEAN),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_processors_write_is_read(name: str) -> None:
    processor, size, mean = WRITTEN[name]
    found = read_preprocessing(processor, SimpleNamespace(image_size=96), source="preprocessor_config.json")
    assert (found.size, found.source) == (size, "preprocessor_config.json")
    assert found.mean == pytest.approx(mean)
    assert found.description["mean"] == list(found.mean)


def test_without_processor_imagenet_and_the_size_of_the_configuration() -> None:
    note = "ImageNet; the model has no image processor"
    for image_size, size in ((64, 64), ((48, 48), 48), (None, 224)):
        found = read_preprocessing(None, SimpleNamespace(image_size=image_size), source="")
        assert found == Preprocessing(size, IMAGENET_MEAN, IMAGENET_STD, note)
    assert read_preprocessing(None, SimpleNamespace(), source="").size == 224


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": {"height": 224, "width": 448}}, r"must be square; the size of this model's is {'height': 224"),
        ({"size": {"longest_edge": 224}}, "must be square"),
        ({"size": [8, 9]}, "must be square"),
        ({"size": "large"}, "must be square"),
        ({"do_rescale": False}, "pixels must be scaled to 0"),
        ({"rescale_offset": True}, "pixels must be scaled to 0"),
        ({"rescale_factor": 1 / 127.5}, "`rescale_factor` must be 1/255; got 0.0078"),
        ({"image_mean": [0.5]}, r"`image_mean` must have a number for red, green and blue each; got \[0.5\]"),
        ({"image_std": None}, "`image_std` must have a number"),
    ],
)
def test_other_preparation_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"p.json: .*{message}"):
        read_preprocessing({**IMAGENET, "size": 224, **change}, SimpleNamespace(), source="p.json")
