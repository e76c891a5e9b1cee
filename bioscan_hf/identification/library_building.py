"""A library of specimens: what it learns, how it sees them, and how sure its names are."""

from __future__ import annotations

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.identification.barcode_space import FITS
from bioscan_hf.identification.calibration_records import Calibration
from bioscan_hf.identification.image_space import ImageSpace, rows_with_images
from bioscan_hf.identification.keys import Keys, find_keys
from bioscan_hf.identification.library import DTYPES, Dtype, Library, Modality, Report
from bioscan_hf.identification.models import LibraryModels
from bioscan_hf.identification.references import (
    LEARNT_FROM,
    barcodes_at,
    check_apart,
    has_text,
    hold_out,
    learn_space,
    usable,
)
from bioscan_hf.identification.search import CellIndex, load_faiss
from bioscan_hf.identification.votes import Evidence

# Specimens that probabilities are fitted on at most.
_CALIBRATED_ON = 20_000


def build_library(
    specimens: Dataset,
    models: LibraryModels,
    *,
    calibration: Dataset | None,
    dtype: Dtype,
    cells: bool,
    seed: int,
    report: Report | None,
) -> Library:
    """Make a library; arguments and errors are those of `Library.build`.

    Returns:
        The library, whose `info` says no more than what it was calibrated on.
    """
    say: Report = report or (lambda task, done, total: None)
    if cells:
        load_faiss()  # an error now, rather than after the work
    specimens = usable(specimens, with_images=models.images is not None)
    keys = find_keys(specimens)

    def make(kept: NDArray[np.bool_], task: str = "", images: ImageSpace | None = None) -> Library:
        return _make(specimens, keys, models, say, kept, dtype=dtype, cells=cells, task=task, images=images)

    everything, calibrated_on = np.ones(len(keys.first), bool), None
    if calibration is not None:
        check_apart(specimens, calibration)
        library = make(everything)
        library.calibration = _calibrated(library, calibration, say)
        calibrated_on = "given specimens"
    elif (held_out := hold_out(specimens, keys, seed)).any():
        library = make(~held_out, "held out: ")
        asked = specimens.select(np.flatnonzero(held_out[keys.of_specimen]))
        calibrations = _calibrated(library, asked, say, without=held_out)
        if np.count_nonzero(~held_out) < LEARNT_FROM:
            # What was held out teaches, too. Of more keys, no more is learnt from, and the library stays as it is.
            library = make(everything, images=library.images)
        library.calibration = calibrations
        calibrated_on = "a part of the specimens, held out"
    else:
        library = make(everything)
    library.info = {"calibrated_on": calibrated_on if library.calibration else None}
    return library


def _make(
    specimens: Dataset,
    keys: Keys,
    models: LibraryModels,
    report: Report,
    kept: NDArray[np.bool_],
    *,
    dtype: Dtype,
    cells: bool,
    task: str,
    images: ImageSpace | None,
) -> Library:
    """Everything but the calibration; how barcodes are seen is learnt from the keys that are kept."""
    space = learn_space(specimens, keys, kept, models.barcodes.encoder, lambda what: report(f"{task}{what}", 0, 1))
    seen = space.see_blocks(
        barcodes_at(specimens, keys.first),
        len(keys.first),
        dtype=DTYPES[dtype],
        report=lambda done, total: report(f"{task}barcodes", done, total),
    )
    vectors, index = torch.from_numpy(seen.vectors), None
    if cells:
        report(f"{task}cells", 0, 1)
        index = CellIndex.build(vectors)
    library = Library({}, specimens, keys, space, seen.letters, vectors, seen.flags, index=index)
    if models.towers is not None:
        library.images = images or ImageSpace.of(
            specimens, keys.of_specimen, models.towers, lambda done, total: report(f"{task}images", done, total)
        )
    return library


def _calibrated(
    library: Library, specimens: Dataset, report: Report, *, without: NDArray[np.bool_] | None = None
) -> dict[Modality, Calibration]:
    """Ask for the names of specimens that the library does not have, or has with keys that are passed over."""
    report("calibration", 0, 1)
    if len(specimens) > _CALIBRATED_ON:
        chosen = np.random.default_rng(0).permutation(len(specimens))[:_CALIBRATED_ON]
        specimens = specimens.select(np.sort(chosen))
    taxa = library.keys.taxa_of(np.ones(len(library.keys.first), bool) if without is None else ~without)
    found: dict[Modality, Calibration] = {}
    with_barcode = specimens.select(np.flatnonzero(has_text(specimens, "dna_barcode")))
    if len(with_barcode):
        seen, neighbours, evidence = library.ask(with_barcode["dna_barcode"][:], without=without)
        fits = np.flatnonzero(seen.has(FITS))
        found["barcode"] = Calibration.fit(
            with_barcode.select(fits),
            neighbours.at(fits),
            Evidence(evidence.names[fits], evidence.features[fits]),
            taxa,
        )
    if library.images is not None:
        with_image = specimens.select(rows_with_images(specimens))
        if len(with_image):
            _, neighbours, evidence = library.ask_by_image(with_image, without=without)
            found["image"] = Calibration.fit(with_image, neighbours, evidence, taxa)
    return found
