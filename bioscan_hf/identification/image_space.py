"""How a library sees images: as vectors of a CLIBD, beside those of its own images, or of its barcodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.pixels import decode_image
from bioscan_hf.evaluation.embeddings import unit_length
from bioscan_hf.evaluation.encoders.base import Encoder
from bioscan_hf.identification.search import ExactIndex
from bioscan_hf.identification.votes import NEIGHBOURS, Neighbours

Report = Callable[[int, int], None]


class ImageSpace:
    """Images as vectors in the space of a CLIBD.

    Attributes:
        encoders: Its towers: `image` and, if there is one, `dna`.
        vectors: float32 (M, D): of the library's images; where it has none, of its barcodes.
        rows: int64 (M,): the specimen of each.
        keys: int64 (M,): its key.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        vectors: torch.Tensor,
        rows: NDArray[np.int64],
        keys: NDArray[np.int64],
    ) -> None:
        self.encoders, self.vectors, self.rows, self.keys = encoders, vectors, rows, keys
        self._index = ExactIndex(vectors)

    @classmethod
    def of(
        cls, specimens: Dataset, key_of: NDArray[np.int32], encoders: Mapping[str, Encoder], report: Report
    ) -> ImageSpace:
        """Embed the images of specimens, or, if there are none, their barcodes.

        Args:
            specimens: N specimens.
            key_of: (N,) key of each.
            encoders: Towers of a CLIBD.
            report: Told how many of how many are done.

        Raises:
            ValueError: If there are no images, and no tower for DNA; or an image is damaged.
        """
        if "image" not in encoders:
            raise ValueError("The model has no tower for images; give a CLIBD that has one.")
        rows = rows_with_images(specimens)
        if len(rows):
            tower = encoders["image"]
        elif "dna" in encoders:
            tower = encoders["dna"]
            # One specimen of each key.
            _, rows = np.unique(key_of, return_index=True)
            barcodes = specimens["dna_barcode"]
            rows = np.array([row for row in rows if barcodes[int(row)]], np.int64)
        else:
            raise ValueError("The specimens have no images, and the model has no tower for DNA to compare images with.")
        vectors = unit_length(tower.embed(specimens.select(rows), report=report))
        return cls(encoders, torch.from_numpy(vectors), rows, key_of[rows].astype(np.int64))

    def add(self, specimens: Dataset, first: int, key_of: NDArray[np.int32], report: Report) -> ImageSpace:
        """The same with further specimens; where the first ones had no images, their barcodes are added.

        Args:
            specimens: A new specimens.
            first: Row of the first of them.
            key_of: (N + A,) key of each, the former ones included, which may have others than before.
            report: As for `of`.
        """
        of_barcodes = "image" not in specimens.column_names or not len(rows_with_images(specimens))
        rows, vectors = self.rows, self.vectors
        if not of_barcodes or "dna" in self.encoders:
            added = ImageSpace.of(specimens, key_of[first:], self.encoders, report)
            rows = np.concatenate([rows, added.rows + first])
            vectors = torch.cat([vectors, added.vectors])
        return ImageSpace(self.encoders, vectors, rows, key_of[rows].astype(np.int64))

    def neighbours(self, specimens: Dataset, *, k: int = NEIGHBOURS) -> tuple[NDArray[np.int64], Neighbours]:
        """Find what is most like images.

        Args:
            specimens: N specimens with the column `image`.
            k: Neighbours.

        Returns:
            Rows (N, k) of the specimens, and their keys.
        """
        vectors = unit_length(self.encoders["image"].embed(specimens))
        found, cosines = self._index.search(vectors, k)
        return self.rows[found], Neighbours(self.keys[found], cosines, None)


def rows_with_images(specimens: Dataset) -> NDArray[np.int64]:
    """Rows that have an image."""
    if "image" not in specimens.column_names:
        return np.empty(0, np.int64)
    column = specimens.with_format("arrow")["image"][:]
    return np.flatnonzero(~np.asarray(column.is_null()))


def why_no_image(image: Mapping[str, Any]) -> str | None:
    """Say why an image, undecoded as `datasets` has it, cannot be looked at; None if it can."""
    try:
        decode_image(image["bytes"] or Path(image["path"]).read_bytes())
    except (OSError, ValueError) as error:
        return str(error).splitlines()[0].rstrip(".")
    return None
