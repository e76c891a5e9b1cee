"""Pixels of small images, the baseline that needs no training."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.evaluation.encoders.base import Report
from bioscan_hf.evaluation.encoders.image_inputs import DEFAULT_SIZE, pixels_of

_BATCH_SIZE = 64


class PixelEncoder:
    """Averages the pixels of an image over squares.

    The shorter side is scaled to about 224 pixels and the centre cropped, as for models, so that the baseline sees what
    they see.

    Attributes:
        name: How tables and cards call it.
        revision: None, for there are no weights.
        dimension: D.
        description: All that the vectors depend on but the image.
    """

    revision: str | None = None

    def __init__(self, squares: int = 16) -> None:
        """Choose the number of squares.

        Args:
            squares: In a row and in a column, 1 to 224; a vector has 3 * squares**2 entries, row by row, red, green and
                blue of each square, 0 to 1.

        Raises:
            ValueError: If it is out of range.
        """
        if not 1 <= squares <= DEFAULT_SIZE:
            raise ValueError(f"`squares` must be 1 to {DEFAULT_SIZE}; got {squares}.")
        self._squares = squares
        self._width = round(DEFAULT_SIZE / squares)
        self.name = f"{squares}x{squares} pixels"
        self.dimension = 3 * squares**2
        self.description: dict[str, Any] = {"encoder": "pixels", "squares": squares, "size": squares * self._width}

    def embed(self, specimens: Dataset, *, report: Report | None = None) -> NDArray[np.float32]:
        """Compute one vector per specimen.

        Args:
            specimens: N specimens with the columns `processid` and `image`.
            report: Called after each batch with the number of specimens done and of all.

        Returns:
            (N, D), in the order of `specimens`.

        Raises:
            ValueError: See `image_inputs.pixels_of`.
        """
        vectors = np.empty((len(specimens), self.dimension), np.float32)
        squares, width, done = self._squares, self._width, 0
        for pixels in pixels_of(specimens, size=squares * width, batch_size=_BATCH_SIZE):
            means = pixels.view(-1, squares, width, squares, width, 3).float().mean(dim=(2, 4)) / 255
            vectors[done : done + len(pixels)] = means.flatten(1).numpy()
            done += len(pixels)
            if report:
                report(done, len(specimens))
        return vectors
