"""A library of reference specimens: what queries are compared with."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
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
from bioscan_hf.identification.barcode_space import FITS, BarcodeSpace, Seen
from bioscan_hf.identification.calibration_records import Calibration
from bioscan_hf.identification.image_space import ImageSpace, rows_with_images
from bioscan_hf.identification.keys import Keys, find_keys
from bioscan_hf.identification.models import ALIGNED, LibraryModel, LibraryModels, load_models
from bioscan_hf.identification.packed import Packed
from bioscan_hf.identification.profile import Profile
from bioscan_hf.identification.references import barcodes_of, check_apart, hold_out, learn_metric, usable
from bioscan_hf.identification.search import ExactIndex, Index
from bioscan_hf.identification.votes import Evidence, Neighbours, count_votes

# Cosines of images lie closer together than those of barcodes.
IMAGE_TEMPERATURE = 0.05

Modality = Literal["barcode", "image"]
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
        specimens: Dataset | Callable[[Sequence[str]], pa.Table],
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
        self._specimens = specimens
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
        if isinstance(self._specimens, Dataset):
            return self._specimens
        return Dataset(self._specimens(COLUMN_NAMES), fingerprint=uuid.uuid4().hex)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of the specimens."""
        if isinstance(self._specimens, Dataset):
            return self._specimens.select_columns(list(names)).with_format("arrow")[:]
        return self._specimens(names)

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
        seed: int = 0,
        report: Report | None = None,
    ) -> Library:
        """Make a library.

        Args:
            specimens: N specimens with the columns of the schema, and `image` if there is a model for images. Those
                without a label at any rank are left out.
            calibration: Specimens with labels, of which none is among the others: of species that the library has, and
                of such that it has not. Without them, a part of the specimens is held out, a second library is made of
                the rest, and asked for their names.
            model: By what barcodes are compared, or its name; see `models.load_model`.
            image_model: The CLIBD by which images are compared, or its name; it may also be given as `model`, beside
                `aligned`.
            info: Further facts for the record: `source`, `revision`, `command` ...
            seed: Of what is held out.
            report: Told of the progress.

        Raises:
            ValueError: If there are no specimens with a label and a barcode, the barcodes are not of one gene, an image
                is damaged, or a specimen is among both.
        """
        say: Report = report or (lambda task, done, total: None)
        models = load_models(model, image_model)
        specimens = usable(specimens, with_images=models.images is not None)
        calibrations: dict[Modality, Calibration] = {}
        calibrated_on = "given specimens"
        if calibration is None:
            calibrated_on = "a part of the specimens, held out"
            rest, held_out = hold_out(specimens, seed)
            if len(held_out):
                calibrations = cls._make(rest, models, say, task="held out: ")._calibrated(held_out, say)
        else:
            check_apart(specimens, calibration)
        library = cls._make(specimens, models, say)
        if calibration is not None:
            calibrations = library._calibrated(calibration, say)
        library.calibration = calibrations
        library.model_folders = models.folders
        library.info = {
            "bioscan_hf": __version__,
            **models.info,
            **(info or {}),
            "calibrated_on": calibrated_on if calibrations else None,
        }
        return library

    @classmethod
    def _make(
        cls,
        specimens: Dataset,
        models: LibraryModels,
        report: Report,
        *,
        task: str = "",
    ) -> Library:
        """Everything but the calibration."""
        keys = find_keys(specimens)
        barcodes = barcodes_of(specimens, keys)
        report(f"{task}profile of the gene", 0, 1)
        profile = Profile.learn([barcode for barcode in barcodes if barcode])
        metric = None
        if models.barcodes.encoder is None:
            report(f"{task}metric", 0, 1)
            metric = learn_metric(profile, keys, barcodes)
        space = BarcodeSpace(profile, metric, models.barcodes.encoder)
        seen = space.see(barcodes, report=lambda done, total: report(f"{task}barcodes", done, total))
        kept = specimens.select_columns(list(COLUMN_NAMES))
        library = cls({}, kept, keys, space, seen.letters, torch.from_numpy(seen.vectors), seen.flags)
        if models.towers is not None:
            library.images = ImageSpace.of(
                specimens, keys.of_specimen, models.towers, lambda done, total: report(f"{task}images", done, total)
            )
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
        here = set(self.columns(["processid"])["processid"].to_pylist())
        if repeated := [name for name in added["processid"][:] if name in here]:
            raise ValueError(
                f"{len(repeated):,} of the {len(added):,} specimens are in the library already, such as "
                f"{repeated[0]!r}; leave them out."
            )
        together = concatenate_datasets([self.specimens, added.select_columns(list(COLUMN_NAMES))])
        keys = find_keys(together)
        known = {value: place for place, value in enumerate(self.keys.hashes.tolist()) if value}
        old = np.array([known.get(value, -1) for value in keys.hashes.tolist()])
        barcodes = np.array(barcodes_of(together, keys), object)
        seen = self.barcodes.see(barcodes[old < 0].tolist(), report=lambda done, total: say("barcodes", done, total))
        letters = self.letters[np.maximum(old, 0)]
        vectors, flags = self.vectors.numpy()[np.maximum(old, 0)], self.flags[np.maximum(old, 0)]
        letters[old < 0], vectors[old < 0], flags[old < 0] = seen
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
            images=images,
            calibration=self.calibration,
        )
        library.model_folders = self.model_folders
        return library

    def ask(self, barcodes: Sequence[str]) -> tuple[Seen, Neighbours, Evidence]:
        """How barcodes are seen, the keys that are most like them, and what these say about their names.

        Args:
            barcodes: N clean barcodes.
        """
        seen = self._see(barcodes)
        neighbours = self.barcodes.neighbours(seen, self.index, self.letters)
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

    def ask_by_image(self, specimens: Dataset) -> tuple[NDArray[np.int64], Neighbours, Evidence]:
        """The same for images; instead of how they are seen, the rows of the most similar ones of the library.

        Args:
            specimens: N specimens with the column `image`.

        Raises:
            ValueError: If the library has no model for images.
        """
        if self.images is None:
            raise ValueError("The library has no model for images; build it with an `image_model`, a CLIBD.")
        rows, neighbours = self.images.neighbours(specimens)
        return rows, neighbours, count_votes(neighbours, self.keys.labels, self.weights, temperature=IMAGE_TEMPERATURE)

    def _calibrated(self, specimens: Dataset, report: Report) -> dict[Modality, Calibration]:
        report("calibration", 0, 1)
        found: dict[Modality, Calibration] = {}
        with_barcode = specimens.select(np.flatnonzero([bool(barcode) for barcode in specimens["dna_barcode"][:]]))
        if len(with_barcode):
            seen, neighbours, evidence = self.ask(with_barcode["dna_barcode"][:])
            fits = np.flatnonzero(seen.has(FITS))
            found["barcode"] = Calibration.fit(
                with_barcode.select(fits),
                neighbours.at(fits),
                Evidence(evidence.names[fits], evidence.features[fits]),
                self.taxa,
            )
        if self.images is not None:
            with_image = specimens.select(rows_with_images(specimens))
            if len(with_image):
                _, neighbours, evidence = self.ask_by_image(with_image)
                found["image"] = Calibration.fit(with_image, neighbours, evidence, self.taxa)
        return found

    def save(
        self, folder: str | Path, *, dtype: Literal["float32", "float16"] = "float32", cells: bool = False
    ) -> None:
        """Write the library into a folder; see `library_files.save_library`."""
        from bioscan_hf.identification.library_files import save_library

        save_library(self, Path(folder), dtype=dtype, cells=cells)

    @classmethod
    def load(cls, source: str | Path, *, revision: str | None = None, device: str | None = None) -> Library:
        """Load a folder or a repository of the Hub; see `library_loading.load_library`."""
        from bioscan_hf.identification.library_loading import load_library

        return load_library(source, revision=revision, device=device)
