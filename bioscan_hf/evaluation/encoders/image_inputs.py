"""Images as models take them: scaled, cropped, in batches, and normalised as a model was trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from datasets import Dataset

from bioscan_hf.data.images import ImageBatches

DEFAULT_SIZE = 224
# Decode about as many images as a large GPU embeds.
_THREADS = 4
_BYTE = 1 / 255

Colour = tuple[float, float, float]

# As in `transformers.image_utils` and torchvision.
IMAGENET_MEAN: Colour = (0.485, 0.456, 0.406)
IMAGENET_STD: Colour = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image before a model sees it.

    The shorter side is scaled to `size` by Pillow (bilinear), and the centre is cropped: as in the zero-shot clustering
    of BIOSCAN-5M (scottclowe/zs-ssl-clustering), for all models alike. A model's own way, such as to scale to 256 and
    crop 224, is not followed, for it would cut more off long specimens.

    Attributes:
        size: Height and width in pixels.
        mean: Mean of red, green and blue, each 0 to 1; by default ImageNet's.
        std: Standard deviation of red, green and blue, likewise.
        source: Where these are from.
        shorter_side: Pixels of the shorter side before the crop; None for `size`. Of a CLIBD it is what it was trained
            with.
    """

    size: int = DEFAULT_SIZE
    mean: Colour = IMAGENET_MEAN
    std: Colour = IMAGENET_STD
    source: str = "ImageNet"
    shorter_side: int | None = None

    @property
    def description(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}


def read_preprocessing(
    processor: Mapping[str, Any] | None, config: Any, *, source: str, shorter_side: int | None = None
) -> Preprocessing:
    """Read how a model takes images.

    Args:
        processor: Its preprocessor_config.json, of whatever age; None if it has none: the values of ImageNet are taken,
            and the size that the configuration names.
        config: Its configuration, or that of its part for images.
        source: Name of the file of `processor`.
        shorter_side: See `Preprocessing`.

    Raises:
        ValueError: If its images are not square, or have other values than 0 to 1 before they are normalised.
    """
    image_size = getattr(config, "image_size", None) or DEFAULT_SIZE
    if processor is None:
        return Preprocessing(_side(image_size, "config.json"), source="ImageNet; the model has no image processor")
    if processor.get("do_rescale") is False or processor.get("rescale_offset"):
        raise ValueError(
            f"{source}: pixels must be scaled to 0 ... 1; this model takes others, which is not read here."
        )
    if abs(processor.get("rescale_factor", _BYTE) - _BYTE) > 1e-6:
        raise ValueError(f"{source}: `rescale_factor` must be 1/255; got {processor['rescale_factor']}.")
    if processor.get("do_normalize") is False:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    else:
        mean = _colour(processor.get("image_mean", IMAGENET_MEAN), "image_mean", source)
        std = _colour(processor.get("image_std", IMAGENET_STD), "image_std", source)
    # Some models state a size of crops that they do not make.
    crops = processor.get("do_center_crop", "crop_size" in processor and "do_center_crop" not in processor)
    size = processor.get("crop_size") if crops else None
    return Preprocessing(_side(size or processor.get("size") or image_size, source), mean, std, source, shorter_side)


def _side(size: Any, source: str) -> int:
    """Read a side, written as a number, a pair, {"shortest_edge": ...} or {"height": ..., "width": ...}."""
    sides = [size]
    if isinstance(size, Mapping):
        sides = [size["shortest_edge"]] if size.get("shortest_edge") else [size.get("height"), size.get("width")]
    elif isinstance(size, list | tuple):
        sides = list(size)
    if not sides or any(not isinstance(side, int) or side < 1 for side in sides) or len(set(sides)) > 1:
        raise ValueError(f"{source}: images must be square; the size of this model's is {size}.")
    return int(sides[0])


def _colour(values: Any, name: str, source: str) -> Colour:
    numbers = [values] * 3 if isinstance(values, int | float) else list(values or ())
    if len(numbers) != 3:
        raise ValueError(f"{source}: `{name}` must have a number for red, green and blue each; got {values}.")
    red, green, blue = map(float, numbers)
    return red, green, blue


def pixels_of(
    specimens: Dataset, *, size: int, batch_size: int, shorter_side: int | None = None
) -> Iterator[torch.Tensor]:
    """Read the images of specimens.

    Args:
        specimens: Have the columns `processid` and `image` (`datasets.Image`).
        size: Height and width of the result, which is the centre.
        batch_size: Images at a time.
        shorter_side: Pixels of the shorter side before the crop; by default `size`.

    Yields:
        (B, size, size, 3) uint8, in the order of `specimens`.

    Raises:
        ValueError: If a column is missing, or an image is missing or cannot be decoded; the message names the process
            id.
    """
    batches = ImageBatches(
        specimens,
        size=size,
        shorter_side=shorter_side or size,
        batch_size=batch_size,
        columns=["processid"],
        threads=_THREADS,
    )
    try:
        for batch in batches:
            yield batch["pixel_values"]
    except ValueError as error:
        # What follows is advice for callers of `ImageBatches`.
        reason = str(error).partition(" `on_error=")[0]
        raise ValueError(f"{reason} Correct it, or leave the specimen out.") from error
