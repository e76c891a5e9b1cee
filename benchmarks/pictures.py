"""Made photographs of insects, of about the size and weight of those in the package cropped_256."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SHORTER_SIDE = 256
QUALITY = 67
"""Chosen so that a file has 7.6 kB in the mean, as in cropped_256 (39.1 GB of 5,150,850 images)."""


def jpegs(count: int, seed: int) -> Iterator[bytes]:
    """JPEG files of made photographs, whose shorter side is 256 pixels.

    Args:
        count: How many.
        seed: Fixes them all.
    """
    random = np.random.default_rng(seed)
    for _ in range(count):
        file = io.BytesIO()
        _photograph(random).save(file, "JPEG", quality=QUALITY)
        yield file.getvalue()


def _photograph(random: np.random.Generator) -> Image.Image:
    """A dark body with legs and wings on a bright ground with a gradient, slightly blurred, with a camera's noise."""
    longer_side = int(SHORTER_SIDE * random.uniform(1.0, 1.7))
    shape = (SHORTER_SIDE, longer_side) if random.random() < 0.7 else (longer_side, SHORTER_SIDE)
    slopes = [np.linspace(-0.5, 0.5, length) * random.uniform(-0.12, 0.12) for length in shape]
    ground = np.array([0.86, 0.865, 0.86]) * random.uniform(0.92, 1.05)
    pixels = ground + (slopes[0][:, None] + slopes[1])[..., None]
    image = Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8))
    _draw_insect(ImageDraw.Draw(image, "RGBA"), image.width, image.height, random)
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(0.8)), np.float32)
    pixels = pixels + random.normal(0, 5, (*shape, 1)) + random.normal(0, 1, (*shape, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))


def _draw_insect(draw: ImageDraw.ImageDraw, width: int, height: int, random: np.random.Generator) -> None:
    x, y = width / 2, height / 2
    length, breadth = width * random.uniform(0.25, 0.42), height * random.uniform(0.08, 0.22)
    colour = random.integers(30, 130, 3)

    def ellipse(left: float, top: float, right: float, bottom: float, fill: np.ndarray, opacity: int) -> None:
        draw.ellipse([left, top, right, bottom], fill=(*fill.astype(int).tolist(), opacity))

    for segment in range(3):
        middle, half = x + (segment - 1) * 0.8 * length, breadth * (1 - 0.2 * segment)
        shade = colour * (0.7 + 0.2 * segment)
        ellipse(middle - length / 2, y - half, middle + length / 2, y + half, shade, 235)
    for _ in range(6):
        hip, side = x + random.uniform(-length, length), random.choice([-1, 1])
        knee = hip + random.uniform(-25, 25), y + side * random.uniform(30, 80)
        foot = hip + random.uniform(-50, 50), y + side * random.uniform(80, 125)
        draw.line([(hip, y), knee, foot], fill=(*colour.tolist(), 220), width=int(random.integers(2, 5)))
    for side in (-1, 1):
        middle = y + side * 0.3 * breadth
        ellipse(x - 0.6 * length, middle - height / 5, x + 1.1 * length, middle + height / 5, np.full(3, 190), 90)
    for _ in range(40):
        spot_x, spot_y = x + random.uniform(-length, length), y + random.uniform(-breadth, breadth)
        radius = random.uniform(1, 6)
        box = spot_x - radius, spot_y - radius, spot_x + radius, spot_y + radius
        ellipse(*box, random.integers(10, 200, 3), 120)
