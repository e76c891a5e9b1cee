"""How a library sees images: as vectors of a CLIBD, beside those of its own images, or of its barcodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.pixels import decode_image, image_content, scale
from bioscan_hf.evaluation.encoders.base import Encoder
from bioscan_hf.evaluation.unit_length import unit_length
from bioscan_hf.identification.search import ExactIndex
from bioscan_hf.identification.votes import NEIGHBOURS, Neighbours

Report = Callable[[int, int], None]
Tower = Literal["image", "dna"]
# Images that are held at once.
_IMAGES = 1000


class ImageSpace:
    """Images as vectors in the space of a CLIBD.

    Attributes:
        encoders: Its towers: `image` and, if there is one, `dna`.
        vectors: float32 (M, D): of the library's images; where it has none, of its barcodes.
        rows: int64 (M,): the specimen of each.
        keys: int64 (M,): its key.
        tower: Which of the towers made `vectors`.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        vectors: torch.Tensor,
        rows: NDArray[np.int64],
        keys: NDArray[np.int64],
        *,
        tower: Tower = "image",
    ) -> None:
        self.encoders, self.vectors, self.rows, self.keys = encoders, vectors, rows, keys
        self.tower: Tower = tower
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
        tower: Tower = "image" if len(rows_with_images(specimens)) else "dna"
        if tower not in encoders:
            raise ValueError("The specimens have no images, and the model has no tower for DNA to compare images with.")
        none = cls(encoders, torch.empty(0, 0), np.empty(0, np.int64), np.empty(0, np.int64), tower=tower)
        return none.add(specimens, 0, key_of, report)

    def add(self, specimens: Dataset, first: int, key_of: NDArray[np.int32], report: Report) -> ImageSpace:
        """The same with further specimens: with their images, or, where the first ones had none, with their barcodes.

        Vectors of images and of barcodes are not mixed: those of one tower are closer to each other, whatever they
        show.

        Args:
            specimens: A new specimens.
            first: Row of the first of them.
            key_of: (N + A,) key of each, the former ones included, which may have others than before.
            report: As for `of`.
        """
        if self.tower == "image":
            rows = rows_with_images(specimens)
        else:
            # One specimen of each key that is not there yet.
            new, places = np.unique(key_of[first:], return_index=True)
            places = places[~np.isin(new, key_of[self.rows])]
            barcodes = specimens["dna_barcode"][:]
            rows = np.array([row for row in places.tolist() if barcodes[row]], np.int64)
        vectors = self.vectors
        if len(rows):
            added = self.encoders[self.tower].embed(specimens.select(rows), report=report)
            vectors = torch.cat([*([vectors] if len(vectors) else []), torch.from_numpy(unit_length(added))])
        all_rows = np.concatenate([self.rows, rows + first])
        return ImageSpace(self.encoders, vectors, all_rows, key_of[all_rows].astype(np.int64), tower=self.tower)

    def neighbours(
        self, specimens: Dataset, *, k: int = NEIGHBOURS, without: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], Neighbours]:
        """Find what is most like images.

        Args:
            specimens: N specimens with the column `image`.
            k: Neighbours.
            without: By key: whether it is passed over.

        Returns:
            Rows (N, k) of the specimens, and their keys.
        """
        vectors = unit_length(self.encoders["image"].embed(specimens))
        found, cosines = self._index.search(vectors, k, without=None if without is None else without[self.keys])
        return self.rows[found], Neighbours(self.keys[found], cosines, None)

    def why_not(self, image: Mapping[str, Any]) -> str | None:
        """Say why an image, undecoded as `datasets` has it, cannot be embedded; None if it can."""
        # Imported here: most libraries have no images, and transformers takes seconds.
        from bioscan_hf.evaluation.encoders.images import ImageEncoder

        tower = self.encoders["image"]
        try:
            pixels = decode_image(image_content(image))
            if isinstance(tower, ImageEncoder):
                # A long and narrow image may become too large.
                scale(pixels, tower.preprocessing.shorter_side or tower.preprocessing.size)
        except (OSError, ValueError) as error:
            return str(error).splitlines()[0].rstrip(".")
        return None


def rows_with_images(specimens: Dataset) -> NDArray[np.int64]:
    """Rows that have an image."""
    if "image" not in specimens.column_names:
        return np.empty(0, np.int64)
    # Some at a time: a selection of a dataset copies its images.
    batches = specimens.select_columns(["image"]).with_format("arrow").iter(_IMAGES)
    absent = [np.asarray(batch["image"].is_null()) for batch in batches]
    return np.flatnonzero(~np.concatenate(absent)) if absent else np.empty(0, np.int64)
