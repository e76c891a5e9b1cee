"""A library of reference specimens: what queries are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset, concatenate_datasets
from numpy.typing import NDArray

from bioscan_hf import __version__
from bioscan_hf.data.barcodes import barcode_hashes
from bioscan_hf.data.features import COLUMN_NAMES
from bioscan_hf.identification.barcode_space import BarcodeSpace, Seen
from bioscan_hf.identification.calibration_records import Calibration
from bioscan_hf.identification.image_space import ImageSpace
from bioscan_hf.identification.keys import Keys, find_keys
from bioscan_hf.identification.models import ALIGNED, LibraryModel, load_models
from bioscan_hf.identification.packed import Packed
from bioscan_hf.identification.references import (
    barcodes_at,
    shared_names,
    usable,
)
from bioscan_hf.identification.search import CellIndex, ExactIndex, Index
from bioscan_hf.identification.stored import Held, Specimens
from bioscan_hf.identification.votes import Evidence, Neighbours, count_votes

# Cosines of images lie closer together than those of barcodes.
IMAGE_TEMPERATURE = 0.05

Modality = Literal["barcode", "image"]
Dtype = Literal["float32", "float16"]
DTYPES: Mapping[Dtype, type[np.floating[Any]]] = {"float32": np.float32, "float16": np.float16}
Report = Callable[[str, int, int], None]
"""Called with a task, and how many of how many are done."""


class Library:
    """Reference specimens, with what it takes to compare queries with them.

    Attributes:
        info: What it was made of and with, fit for JSON.
        keys: What queries are compared with.
        barcodes: How barcodes are seen.
        letters: Packed letters of the keys in the columns of the gene.
        vectors: (K, D): vectors of the keys, float32 or float16.
        flags: uint8 (K,), see `Seen.flags`.
        index: Finds them.
        model_folders: Of `model` and `image_model`, those to be saved with the library: others do not have them.
        images: How images are seen; None if the library has no model for them.
        calibration: How evidence becomes probability, by modality; one without is not calibrated.
    """

    def __init__(
        self,
        info: Mapping[str, Any],
        specimens: Dataset | Specimens,
        keys: Keys,
        barcodes: BarcodeSpace,
        letters: Packed,
        vectors: torch.Tensor,
        flags: NDArray[np.uint8],
        *,
        index: Index | None = None,
        images: ImageSpace | None = None,
        calibration: Mapping[Modality, Calibration] | None = None,
    ) -> None:
        self.info = dict(info)
        self.keys, self.barcodes = keys, barcodes
        self._specimens: Specimens = Held(specimens) if isinstance(specimens, Dataset) else specimens
        self.model_folders: Mapping[str, Path] = {}
        self.letters, self.vectors, self.flags = letters, vectors, flags
        self.index: Index = index or ExactIndex(vectors)
        self.images = images
        self.calibration = dict(calibration or {})
        self.weights = keys.weights
        self._by_hash = np.argsort(keys.hashes, kind="stable")
        self._hashes = keys.hashes[self._by_hash]

    @property
    def specimens(self) -> Dataset:
        """The specimens, with the 23 columns of the schema, read from the disk each time if the library was loaded."""
        return self._specimens.dataset()

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of the specimens."""
        return self._specimens.columns(names)

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.Table]:
        """Some columns of the specimens, so many rows at a time."""
        return self._specimens.batches(names, size)

    @property
    def dtype(self) -> Dtype:
        """Of the vectors."""
        return "float16" if self.vectors.dtype == torch.float16 else "float32"

    @property
    def taxa(self) -> Mapping[str, Sequence[str]]:
        """Names at each rank."""
        return self.keys.taxa

    @classmethod
    def build(
        cls,
        specimens: Dataset,
        *,
        calibration: Dataset | None = None,
        model: LibraryModel | str | Path = ALIGNED,
        image_model: LibraryModel | str | Path | None = None,
        info: Mapping[str, Any] | None = None,
        dtype: Dtype = "float32",
        cells: bool = False,
        seed: int = 0,
        report: Report | None = None,
    ) -> Library:
        """Make a library.

        Args:
            specimens: N specimens with the columns of the schema, and `image` if there is a model for images. Those
                without a label at any rank are left out.
            calibration: Specimens with labels, of which none is among the others: of species that the library has, and
                of such that it has not. Without them, a part of the specimens is held out: the library is made as if
                it were not there, and asked for their names. Of more than 20,000, some are taken.
            model: By what barcodes are compared, or its name; see `models.load_model`.
            image_model: The CLIBD by which images are compared, or its name; it may also be given as `model`, beside
                `aligned`.
            info: Further facts for the record: `source`, `revision`, `command` ...
            dtype: Of the vectors: float16 needs half the space.
            cells: Whether queries are compared with the keys of the nearest cells only: for millions of keys; needs
                faiss (extra `index`).
            seed: Of what is held out.
            report: Told of the progress.

        Raises:
            ValueError: If there are no specimens with a label and a barcode, the barcodes are not of one gene, an image
                is damaged, or a specimen is among both.
            OSError: If faiss is needed and not installed.
        """
        from bioscan_hf.identification.library_building import build_library

        models = load_models(model, image_model)
        library = build_library(
            specimens, models, calibration=calibration, dtype=dtype, cells=cells, seed=seed, report=report
        )
        library.model_folders = models.folders
        library.info = {"bioscan_hf": __version__, **models.info, **(info or {}), **library.info}
        return library

    def add(self, specimens: Dataset, *, report: Report | None = None) -> Library:
        """A library with further specimens, seen with the same profile and metric, and with the same calibration.

        Args:
            specimens: As for `build`; their process ids must be new.
            report: Told of the progress.

        Raises:
            ValueError: If there is nothing to add, or a process id is there already.
        """
        say: Report = report or (lambda task, done, total: None)
        added = usable(specimens, with_images=self.images is not None, barcodes_needed=False)
        if repeated := shared_names(self._specimens, added):
            raise ValueError(
                f"{len(repeated):,} of the {len(added):,} specimens are in the library already, such as "
                f"{repeated[0]!r}; leave them out."
            )
        together = concatenate_datasets([self.specimens, added.select_columns(list(COLUMN_NAMES))])
        keys = find_keys(together)
        places = np.minimum(np.searchsorted(self._hashes, keys.hashes), len(self._hashes) - 1)
        new = (self._hashes[places] != keys.hashes) | (keys.hashes == 0)
        old = self._by_hash[places]
        seen = self.barcodes.see_blocks(
            barcodes_at(together, keys.first[new]),
            int(new.sum()),
            dtype=DTYPES[self.dtype],
            report=lambda done, total: say("barcodes", done, total),
        )
        letters, vectors, flags = self.letters[old], self.vectors.numpy()[old], self.flags[old]
        letters[new], vectors[new], flags[new] = seen
        if isinstance(self.index, CellIndex):
            say("cells", 0, 1)
        index = CellIndex.build(torch.from_numpy(vectors)) if isinstance(self.index, CellIndex) else None
        images = self.images and self.images.add(
            added, len(self.keys.of_specimen), keys.of_specimen, lambda done, total: say("images", done, total)
        )
        info = {**self.info, "added": self.info.get("added", 0) + len(added)}
        library = Library(
            info,
            together,
            keys,
            self.barcodes,
            letters,
            torch.from_numpy(vectors),
            flags,
            index=index,
            images=images,
            calibration=self.calibration,
        )
        library.model_folders = self.model_folders
        return library

    def ask(
        self, barcodes: Sequence[str], *, without: NDArray[np.bool_] | None = None
    ) -> tuple[Seen, Neighbours, Evidence]:
        """How barcodes are seen, the keys that are most like them, and what these say about their names.

        Args:
            barcodes: N clean barcodes.
            without: (K,): keys that are passed over.
        """
        seen = self._see(barcodes)
        neighbours = self.barcodes.neighbours(seen, self.index, self.letters, without=without)
        return seen, neighbours, count_votes(neighbours, self.keys.labels, self.weights)

    def _see(self, barcodes: Sequence[str]) -> Seen:
        """As `BarcodeSpace.see`; those that are a key's, letter by letter, need no alignment."""
        hashes = barcode_hashes(pa.array(barcodes, pa.string()))
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        is_key = self._hashes[places] == hashes
        others = self.barcodes.see([barcode for barcode, known in zip(barcodes, is_key, strict=True) if not known])
        if not is_key.any():
            return others
        keys = self._by_hash[places[is_key]]
        same = Seen(self.letters[keys], self.vectors[torch.from_numpy(keys)].float().numpy(), self.flags[keys])
        order = np.argsort(np.concatenate([np.flatnonzero(is_key), np.flatnonzero(~is_key)]))
        letters, vectors, flags = (np.concatenate([one, other])[order] for one, other in zip(same, others, strict=True))
        return Seen(letters, vectors, flags)

    def ask_by_image(
        self, specimens: Dataset, *, without: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], Neighbours, Evidence]:
        """The same for images; instead of how they are seen, the rows of the most similar ones of the library.

        Args:
            specimens: N specimens with the column `image`.
            without: (K,): keys that are passed over.

        Raises:
            ValueError: If the library has no model for images.
        """
        if self.images is None:
            raise ValueError("The library has no model for images; build it with an `image_model`, a CLIBD.")
        rows, neighbours = self.images.neighbours(specimens, without=without)
        return rows, neighbours, count_votes(neighbours, self.keys.labels, self.weights, temperature=IMAGE_TEMPERATURE)

    def save(self, folder: str | Path, *, dtype: Dtype | None = None) -> None:
        """Write the library into a folder; see `library_files.save_library`."""
        from bioscan_hf.identification.library_files import save_library

        save_library(self, Path(folder), dtype=dtype)

    @classmethod
    def load(cls, source: str | Path, *, revision: str | None = None, device: str | None = None) -> Library:
        """Load a folder or a repository of the Hub; see `library_loading.load_library`."""
        from bioscan_hf.identification.library_loading import load_library

        return load_library(source, revision=revision, device=device)
