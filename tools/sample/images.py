"""Drawings of specimens in the light of an imaging robot."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .anatomy import Shape, Specimen, rotate

SIZE = 96
"""Side of an image in pixels."""
QUALITY = 80
"""JPEG quality: 1.8 kB per image."""
OVERSAMPLING = 3
"""Everything is drawn so many times larger and then reduced, which smooths the edges."""
MARGIN = 1.2
"""Side of the crop over the longer side of the organism."""
ORIGINAL = (1024, 768)
"""Pixels of the original photograph, as in BIOSCAN-5M."""
PIXELS_PER_MM = 75.0
"""Scale of the original photograph; half of the crops then cover less than 0.11 of it (0.075 in 25 real rows)."""


@dataclass
class Photograph:
    """A posed specimen in its crop.

    Attributes:
        shapes: Its shapes, in crops: the crop is the square from (0, 0) to (1, 1).
        side: Side of the crop in pixels of the original.
        covered: Share of the crop that the organism covers.
    """

    shapes: list[Shape]
    side: int
    covered: float

    @classmethod
    def take(cls, traits: np.ndarray, order: int, rng: np.random.Generator) -> Photograph:
        """Pose a specimen of a species and frame it.

        Args:
            traits: Traits of the species (T,).
            order: Index of its order.
            rng: Source of posture, direction and size.
        """
        specimen = Specimen(traits, order, rng)
        angle = rng.uniform(0, 2 * np.pi)
        # Seen a little from the front or from behind, the body is shorter.
        view = np.array([rng.uniform(0.85, 1.0), 1.0])
        for shape in specimen.shapes:
            shape.points = rotate(shape.points * view, angle)
        corners = np.concatenate([shape.points for shape in specimen.shapes])
        low, high = corners.min(axis=0), corners.max(axis=0)
        side = MARGIN * (high - low).max()
        shift = 0.5 + rng.uniform(-0.04, 0.04, 2)
        for shape in specimen.shapes:
            shape.points = (shape.points - (low + high) / 2) / side + shift
            shape.width /= side
        millimetres = side * specimen.t["length"] * float(np.exp(rng.normal(0, 0.08)))
        pixels = int(np.clip(round(millimetres * PIXELS_PER_MM), 40, ORIGINAL[1]))
        mask = paint(Image.new("L", (64, 64)), specimen.shapes, silhouette=True)
        return cls(specimen.shapes, pixels, float(np.asarray(mask).mean() / 255))

    def develop(self, rng: np.random.Generator) -> bytes:
        """The JPEG of the specimen on its tray.

        Args:
            rng: Source of light, focus and noise.
        """
        large = (SIZE * OVERSAMPLING,) * 2
        body = [shape for shape in self.shapes if shape.layer < 2]
        mask = paint(Image.new("L", large), body, silhouette=True)
        everything = paint(mask.copy(), self.shapes, silhouette=True)
        picture = tray(rng).resize(large, Image.Resampling.BILINEAR)
        # A soft shadow beside the organism, the shaded body, and the clear wings over it.
        shadow = ImageChops.offset(everything, 7, 7).filter(ImageFilter.GaussianBlur(9)).point(lambda v: v * 0.13)
        picture.paste((70, 72, 80), mask=shadow)
        paint(picture, body)
        picture = Image.composite(relief(picture, mask), picture, mask)
        paint(picture, [shape for shape in self.shapes if shape.layer == 2])
        small = picture.reduce(OVERSAMPLING).filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.7))))
        exposure = rng.normal(1, 0.04) * np.array([1, 1, 1]) + rng.normal(0, 0.008, 3)
        noisy = np.asarray(small, float) * exposure + rng.normal(0, 2.0, (SIZE, SIZE, 1))
        buffer = io.BytesIO()
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=QUALITY, optimize=True)
        return buffer.getvalue()


def paint(picture: Image.Image, shapes: list[Shape], *, silhouette: bool = False) -> Image.Image:
    """Draw `shapes` onto a square picture, layer by layer; as a silhouette in plain white if so asked."""
    draw = ImageDraw.Draw(picture) if silhouette else ImageDraw.Draw(picture, "RGBA")
    size = picture.width
    for shape in sorted(shapes, key=lambda shape: shape.layer):
        fill = 255 if silhouette else tuple(round(255 * part) for part in (*shape.colour, shape.opacity))
        points = [(x * size, y * size) for x, y in shape.points.tolist()]
        if shape.width:
            draw.line(points, fill=fill, width=max(1, round(shape.width * size)), joint="curve")
        else:
            draw.polygon(points, fill=fill)
    return picture


def relief(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """`picture` with the body of `mask` rounded by light from the upper left."""
    height = np.asarray(mask.filter(ImageFilter.GaussianBlur(9)), float) / 255
    slope = height - np.roll(height, (7, 7), axis=(0, 1))
    shine = 55 * np.clip(slope - 0.12, 0, None) * (height > 0.6)
    light = (0.6 + 0.38 * height + 0.8 * slope)[..., None]
    return Image.fromarray(np.clip(np.asarray(picture) * light + 4 * shine[..., None], 0, 255).astype(np.uint8))


def tray(rng: np.random.Generator) -> Image.Image:
    """An empty well: grey-white, lit from one side, with the rings of its moulded ground."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    centre = rng.uniform(-0.7, 0.7, 2)
    radius = np.hypot(x - centre[0], y - centre[1])
    level = rng.normal(0.83, 0.035) + rng.uniform(-0.1, 0.1) * x + rng.uniform(-0.1, 0.1) * y
    level = level + 0.02 * np.sin(radius * rng.uniform(10, 25)) - 0.08 * np.clip(np.hypot(x, y) - 0.3, 0, 1)
    colour = np.array([0.985, 1.0, 1.01]) + rng.normal(0, 0.006, 3)
    return Image.fromarray(np.clip(255 * level[..., None] * colour, 0, 255).astype(np.uint8))
