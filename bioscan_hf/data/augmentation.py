"""Training views of images: random crops, flips, rotations and colours, made with Pillow from a seed.

The steps and their distributions are those of CLIBD (bioscan-ml/clibd 7d73f80, `bioscanclip/util/dataset.py`), which
uses torchvision on floats. Pillow works on bytes and leaves Python's lock while it scales and turns.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from bioscan_hf.data.pixels import crop, scale

# As in torchvision's `RandomResizedCrop.get_params`.
_TRIES = 10

Range = tuple[float, float]


@dataclass(frozen=True)
class ImageAugmentation:
    """Makes the image that is trained on of the image that is stored.

    The shorter side is scaled to `shorter_side`, a random part is cropped and scaled to `size` (torchvision's
    `RandomResizedCrop`), and that is flipped, rotated, and changed in its colours. Both scalings are one here
    (bilinear), so that an image of another size stays a little sharper than in the reference; and the filter looks a
    little beyond the part, so that pixels at its edge differ.

    Attributes:
        size: Height and width of the result in pixels.
        shorter_side: Pixels of the shorter side of what is cropped.
        scale: Smallest and largest part of the area; uniform in between.
        ratio: Smallest and largest width over height of the part; its logarithm is uniform in between.
        horizontal_flip: Chance to be mirrored, left to right.
        vertical_flip: Chance to be mirrored, top to bottom.
        rotation: Largest angle, degrees, in both directions; nearest pixels, and black corners.
        jitter: Strength of the changes of brightness, contrast, saturation and hue, 0 to 0.5, in random order, as
            torchvision's `ColorJitter` of four times this number. CLIBD had 0.5 from June to August 2024, and none
            since. It takes longer than all other steps together, mostly for the hue.
    """

    size: int = 224
    shorter_side: int = 256
    scale: Range = (0.08, 1.0)
    ratio: Range = (3 / 4, 4 / 3)
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.5
    rotation: float = 45.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1 or self.shorter_side < 1:
            raise ValueError(f"`size` and `shorter_side` must be at least 1; got {self.size} and {self.shorter_side}.")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"`scale` must be two parts of the area, above 0 and up to 1; got {self.scale}.")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"`ratio` must be two ratios above 0, the smaller one first; got {self.ratio}.")
        if not 0 <= self.horizontal_flip <= 1 or not 0 <= self.vertical_flip <= 1:
            raise ValueError(
                "`horizontal_flip` and `vertical_flip` must be chances, 0 to 1; "
                f"got {self.horizontal_flip} and {self.vertical_flip}."
            )
        if not 0 <= self.rotation <= 180:
            raise ValueError(f"`rotation` must be 0 to 180 degrees; got {self.rotation}.")
        if not 0 <= self.jitter <= 0.5:
            raise ValueError(f"`jitter` must be 0 to 0.5; got {self.jitter}.")

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """Make a training view.

        Args:
            image: (height, width, 3) uint8.
            seed: Decides everything that is random; the same in every version of Python.

        Returns:
            (size, size, 3) uint8.

        Raises:
            ValueError: If the image has another type or shape.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise ValueError(f"`image` must be uint8 (height, width, 3); got {image.dtype} {image.shape}.")
        # Of its methods, only `random` promises the same numbers in all versions.
        draw = random.Random(seed).random
        box = self._box(image.shape[0], image.shape[1], draw)
        view = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BILINEAR, box=box)
        if draw() < self.horizontal_flip:
            view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if draw() < self.vertical_flip:
            view = view.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        angle = _uniform(-self.rotation, self.rotation, draw)
        if angle:
            view = view.rotate(angle, Image.Resampling.NEAREST)
        if self.jitter:
            view = self._jittered(view, draw)
        return np.asarray(view)

    def _box(self, height: int, width: int, draw: Callable[[], float]) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the part, in pixels of the image as it is stored."""
        # Size of the scaled image, which is never made; cut to whole pixels, as in `pixels.scale`.
        short = min(height, width)
        tall, wide = (int(self.shorter_side * length / short) for length in (height, width))
        top, left, part_height, part_width = self._part(tall, wide, draw)
        y, x = height / tall, width / wide
        # A product may be larger than the side by its rounding, which Pillow refuses.
        return left * x, top * y, min((left + part_width) * x, width), min((top + part_height) * y, height)

    def _part(self, height: int, width: int, draw: Callable[[], float]) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part: `RandomResizedCrop.get_params` of torchvision."""
        for _ in range(_TRIES):
            area = height * width * _uniform(*self.scale, draw)
            ratio = math.exp(_uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), draw))
            part_width, part_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < part_width <= width and 0 < part_height <= height:
                return (
                    int(draw() * (height - part_height + 1)),
                    int(draw() * (width - part_width + 1)),
                    part_height,
                    part_width,
                )
        # An elongated image: the largest part with an allowed ratio, from its centre.
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        part_width, part_height = min(width, round(height * ratio)), min(height, round(width / ratio))
        return (height - part_height) // 2, (width - part_width) // 2, part_height, part_width

    def _jittered(self, view: Image.Image, draw: Callable[[], float]) -> Image.Image:
        low, high = 1 - self.jitter, 1 + self.jitter
        brightness, contrast, saturation = (_uniform(low, high, draw) for _ in range(3))
        hue = _uniform(-self.jitter, self.jitter, draw)
        steps: list[Callable[[Image.Image], Image.Image]] = [
            lambda view: ImageEnhance.Brightness(view).enhance(brightness),
            lambda view: ImageEnhance.Contrast(view).enhance(contrast),
            lambda view: ImageEnhance.Color(view).enhance(saturation),
            lambda view: _turn_hue(view, hue),
        ]
        for step in sorted(steps, key=lambda _: draw()):
            view = step(view)
        return view


def evaluation_view(image: np.ndarray, *, size: int = 224, shorter_side: int = 256) -> np.ndarray:
    """Make the image that is evaluated on of the image that is stored: scaled, and the centre cropped.

    CLIBD does the same on floats; the difference is at most the rounding to bytes, 1/255.

    Args:
        image: (height, width, 3) uint8.
        size: Height and width of the result in pixels, at most `shorter_side`.
        shorter_side: Pixels of the shorter side before cropping.

    Returns:
        (size, size, 3) uint8.
    """
    return crop(scale(image, shorter_side), size)


def _uniform(low: float, high: float, draw: Callable[[], float]) -> float:
    return low + (high - low) * draw()


def _turn_hue(view: Image.Image, turn: float) -> Image.Image:
    """Turn the colour wheel by a part of it, -0.5 to 0.5, as torchvision does with an image of Pillow."""
    hue, saturation, value = view.convert("HSV").split()
    hue = hue.point([(level + int(255 * turn)) % 256 for level in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")
