"""Reference specimens: which of them a library can use, and what it learns from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from datasets import Dataset

from bioscan_hf.data.features import COLUMN_NAMES, RANKS
from bioscan_hf.data.partition import partition
from bioscan_hf.identification.image_space import rows_with_images
from bioscan_hf.identification.keys import Keys
from bioscan_hf.identification.metric import Metric
from bioscan_hf.identification.profile import Profile


def usable(specimens: Dataset, *, with_images: bool, barcodes_needed: bool = True) -> Dataset:
    """Choose the specimens that a library can use, and the columns that it needs.

    Args:
        specimens: N specimens with the columns of the schema.
        with_images: Whether images count, and specimens with one need no barcode.
        barcodes_needed: Whether there must be a barcode at all, for the gene is learnt from them.

    Returns:
        Those with a label at one of the ranks, and a barcode or image.

    Raises:
        ValueError: If there are none, or a column is missing.
    """
    columns = [*COLUMN_NAMES, *(["image"] if with_images and "image" in specimens.column_names else [])]
    if missing := [name for name in columns if name not in specimens.column_names]:
        raise ValueError(f"The specimens need the columns of the schema; {missing} are missing.")
    specimens = specimens.select_columns(columns)
    table = specimens.with_format("arrow")
    labelled = np.zeros(len(specimens), bool)
    for rank in RANKS:
        labelled |= np.array([bool(name) for name in table[rank][:].to_pylist()], bool)
    with_barcode = np.array([bool(barcode) for barcode in table["dna_barcode"][:].to_pylist()], bool)
    seen = with_barcode.copy()
    if with_images:
        seen[rows_with_images(specimens)] = True
    if not (labelled & (with_barcode if barcodes_needed else seen)).any():
        raise ValueError(
            f"A library needs specimens with a label at one of the ranks {list(RANKS)} and a barcode; none of the "
            f"{len(specimens):,} has both."
        )
    return specimens if (labelled & seen).all() else specimens.select(np.flatnonzero(labelled & seen))


def barcodes_of(specimens: Dataset, keys: Keys) -> list[str]:
    """Barcodes of the keys of specimens, (K,); empty for none."""
    column = specimens.with_format("arrow")["dna_barcode"][:]
    return [barcode or "" for barcode in column.take(pa.array(keys.first)).to_pylist()]


def learn_metric(profile: Profile, keys: Keys, barcodes: Sequence[str]) -> Metric:
    """Learn the metric of distinct barcodes, by genus.

    Args:
        profile: Of their gene.
        keys: K keys.
        barcodes: (K,) of the keys; empty for none.
    """
    _, distinct = np.unique(keys.hashes, return_index=True)
    chosen = np.sort(np.random.default_rng(0).permutation(distinct)[:20_000])
    placed = profile.place([barcodes[place] for place in chosen])
    genus = keys.labels[chosen, RANKS.index("genus")]
    return Metric.learn(placed.columns[placed.fits], genus[placed.fits].astype(np.int64))


def hold_out(specimens: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Hold out a part of the specimens: barcodes of species that the rest has, and whole species.

    Returns:
        The rest, and what is held out, which may be nothing.
    """
    splits = np.array(partition(specimens, seed=seed))
    # Specimens without barcode, which have images, are none of them alike.
    held_out = np.isin(splits, ("test", "test_unseen")) & np.array([bool(name) for name in specimens["dna_barcode"][:]])
    return specimens.select(np.flatnonzero(~held_out)), specimens.select(np.flatnonzero(held_out))


def check_apart(specimens: Dataset, calibration: Dataset) -> None:
    """Refuse to learn how sure names are from specimens that are known already: all would seem sure.

    Raises:
        ValueError: If a process id is among both.
    """
    known = set(specimens["processid"][:])
    if shared := [name for name in calibration["processid"][:] if name in known]:
        raise ValueError(
            f"{len(shared):,} of the {len(calibration):,} specimens for calibration are in the library, too, such as "
            f"{shared[0]!r}; give others."
        )
