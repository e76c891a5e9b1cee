"""Photographs of a library's specimens, found by their process ids and decoded when they are looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
from datasets import Dataset

from bioscan_hf.data.anywhere import load_anywhere
from bioscan_hf.data.pixels import decode_image
from bioscan_hf.identification.image_space import rows_with_images


class Pictures:
    """Photographs by process id."""

    def __init__(self, specimens: Dataset | None = None) -> None:
        """Take those of some specimens; without any there are no pictures.

        Args:
            specimens: With `processid` and undecoded `image`, which may be null.
        """
        self._row_of: dict[str, int] = {}
        if specimens is not None:
            pictured = specimens.select(rows_with_images(specimens))
            self._images = pictured.select_columns(["image"]).with_format("arrow")
            self._row_of = {name: row for row, name in enumerate(pictured["processid"][:])}

    @classmethod
    def open(cls, source: str | Path) -> Pictures:
        """Find the photographs of a source.

        Args:
            source: As in `load_anywhere`: a folder of images, whose names are process ids or in a table, a Parquet file
                with images, a folder with the released archives, or `sample`.

        Raises:
            FileNotFoundError: If there is no such file or folder.
            ValueError: If it has no images.
        """
        return cls(load_anywhere(source, ["processid", "image"], on_error="skip"))

    def __contains__(self, processid: str) -> bool:
        return processid in self._row_of

    def of(self, processid: str) -> PIL.Image.Image | None:
        """The photograph of a specimen, upright and in RGB; None if there is none, or it cannot be decoded."""
        row = self._row_of.get(processid)
        if row is None:
            return None
        stored = self._images[row]["image"][0].as_py()
        try:
            pixels: np.ndarray = decode_image(stored["bytes"] or Path(stored["path"]).read_bytes())
        except (OSError, ValueError):
            return None
        return PIL.Image.fromarray(pixels)
