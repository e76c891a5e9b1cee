"""Reference specimens: which of them a library can use, and what it learns from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.features import COLUMN_NAMES, RANKS
from bioscan_hf.data.partition import partition
from bioscan_hf.evaluation.encoders.base import BarcodeEncoder
from bioscan_hf.identification.barcode_space import BarcodeSpace
from bioscan_hf.identification.image_space import rows_with_images
from bioscan_hf.identification.keys import Keys
from bioscan_hf.identification.metric import Metric
from bioscan_hf.identification.profile import Profile
from bioscan_hf.identification.stored import Held, Specimens

LEARNT_FROM = 20_000
"""Distinct barcodes that a library learns from at most how to see barcodes."""

_ROWS_AT_A_TIME = 20_000


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
    labelled = np.zeros(len(specimens), bool)
    for rank in RANKS:
        labelled |= has_text(specimens, rank)
    with_barcode = has_text(specimens, "dna_barcode")
    seen = with_barcode.copy()
    if with_images:
        seen[rows_with_images(specimens)] = True
    if not (labelled & (with_barcode if barcodes_needed else seen)).any():
        raise ValueError(
            f"A library needs specimens with a label at one of the ranks {list(RANKS)} and a barcode; none of the "
            f"{len(specimens):,} has both."
        )
    return specimens if (labelled & seen).all() else specimens.select(np.flatnonzero(labelled & seen))


def has_text(specimens: Dataset, name: str) -> NDArray[np.bool_]:
    """Which specimens have a value in a column of text that is not empty, (N,)."""
    parts = [np.zeros(0, bool)]
    for table in specimens.select_columns([name]).with_format("arrow").iter(_ROWS_AT_A_TIME):
        lengths = pc.binary_length(table[name].cast(pa.string()))
        parts.append(np.asarray(pc.fill_null(pc.greater(lengths, 0), False)))
    return np.concatenate(parts)


def barcodes_at(specimens: Dataset, rows: NDArray[np.int64]) -> Iterator[list[str]]:
    """Barcodes of some specimens, empty for none, some thousand at a time.

    Args:
        specimens: N specimens.
        rows: Ascending.
    """
    first = 0
    for table in specimens.select_columns(["dna_barcode"]).with_format("arrow").iter(_ROWS_AT_A_TIME):
        here = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + len(table))] - first
        first += len(table)
        if len(here):
            chosen = table["dna_barcode"].cast(pa.string()).take(pa.array(here))
            yield pc.fill_null(chosen, "").to_pylist()


def learn_space(
    specimens: Dataset,
    keys: Keys,
    kept: NDArray[np.bool_],
    encoder: BarcodeEncoder | None,
    report: Callable[[str], None],
) -> BarcodeSpace:
    """Learn how barcodes are seen, from some of them.

    Args:
        specimens: N specimens.
        keys: Their K keys.
        kept: (K,): those to learn from.
        encoder: What makes vectors; None for a metric that is learnt, too.
        report: Told what is learnt.

    Raises:
        ValueError: If the barcodes are not of one gene.
    """
    places = np.flatnonzero(kept & (keys.hashes != 0))
    distinct = places[np.unique(keys.hashes[places], return_index=True)[1]]
    chosen = np.sort(np.random.default_rng(0).permutation(distinct)[:LEARNT_FROM])
    barcodes = list(chain.from_iterable(barcodes_at(specimens, keys.first[chosen])))
    report("profile of the gene")
    profile = Profile.learn(barcodes)
    if encoder is not None:
        return BarcodeSpace(profile, None, encoder)
    report("metric")
    placed = profile.place(barcodes)
    genus = keys.labels[chosen, RANKS.index("genus")]
    return BarcodeSpace(profile, Metric.learn(placed.columns[placed.fits], genus[placed.fits].astype(np.int64)))


def hold_out(specimens: Dataset, keys: Keys, seed: int) -> NDArray[np.bool_]:
    """Hold out some keys: barcodes of species that the rest has, and whole species.

    Args:
        specimens: N specimens.
        keys: Their K keys.
        seed: Of the draws.

    Returns:
        (K,): which are held out, with all specimens that have their barcodes; maybe none.
    """
    named = has_text(specimens, "species")
    hashes = keys.hashes[keys.of_specimen][named]
    ranks = specimens.select_columns(["genus", "species"]).with_format("arrow")[:].filter(pa.array(named))
    # Barcodes are told apart only, for which their hashes do.
    splits = np.array(partition(Dataset(ranks.append_column("dna_barcode", pa.array(hashes))), seed=seed))
    # Specimens without barcode, which have images, are none of them alike.
    held_out = hashes[np.isin(splits, ("test", "test_unseen")) & (hashes != 0)]
    return np.isin(keys.hashes, held_out)


def check_apart(specimens: Dataset, calibration: Dataset) -> None:
    """Refuse to learn how sure names are from specimens that are known already: all would seem sure.

    Raises:
        ValueError: If a process id is among both.
    """
    if shared := shared_names(Held(specimens), calibration):
        raise ValueError(
            f"{len(shared):,} of the {len(calibration):,} specimens for calibration are in the library, too, such as "
            f"{shared[0]!r}; give others."
        )


def shared_names(specimens: Specimens, others: Dataset) -> list[str]:
    """Process ids of `others` that specimens have, too."""
    names = others.with_format("arrow")["processid"][:]
    known = [
        batch["processid"].filter(pc.is_in(batch["processid"], value_set=names))
        for batch in specimens.batches(["processid"], _ROWS_AT_A_TIME)
    ]
    shared = pa.chunked_array([chunk for column in known for chunk in column.chunks], pa.string())
    return list(names.filter(pc.is_in(names, value_set=shared)).to_pylist())
