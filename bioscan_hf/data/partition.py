"""Splits for a user's own labelled barcodes, which come without any."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.barcodes import barcode_hashes

_SPLITS = ("pretrain", "train", "test", "test_unseen")
_PRETRAIN, _TRAIN, _TEST, _TEST_UNSEEN = range(4)
_ROWS_AT_A_TIME = 50_000


def partition(
    dataset: Dataset, *, unseen_fraction: float = 0.2, test_fraction: float = 0.2, seed: int = 0
) -> list[str]:
    """Assign specimens to `pretrain`, `train`, `test` and `test_unseen`.

    A barcode is in one split, with all specimens that carry it. Barcodes of specimens without species go to `pretrain`
    unless a named specimen has them, too. A share of the species of genera with several species is `test_unseen` as a
    whole, so that each of its genera still occurs in `train`. Of every other species, a share of the distinct barcodes
    is `test`; a species with one barcode is in `train`. A barcode shared by several species goes with the first of
    them. This follows the idea, not the letter, of BIOSCAN-5M's partition, which relies on the names of undescribed
    species.

    Args:
        dataset: Needs the columns `dna_barcode`, `genus` and `species`.
        unseen_fraction: Share of the eligible species that become unseen.
        test_fraction: Share of the distinct barcodes of a seen species that become test.
        seed: Seed of the draws.

    Returns:
        One split name per specimen.
    """
    rng = np.random.default_rng(seed)
    genera, species = (_names(dataset, rank) for rank in ("genus", "species"))
    unseen = _unseen_species(_genus_of(genera, species), unseen_fraction, rng)
    names = species.dictionary.to_pylist()
    species_of = species.indices.fill_null(-1).to_numpy()

    # Numbers instead of barcodes: five million texts in lists would take four gigabytes.
    barcodes = _hashes(dataset)
    named = np.flatnonzero(species_of >= 0)
    distinct, first = np.unique(barcodes[named], return_index=True)
    owner = species_of[named[first]]
    split_of = np.full(len(distinct), _PRETRAIN)
    # Species and the barcodes of each in the order in which they first occur.
    by_species: defaultdict[int, list[int]] = defaultdict(list)
    for at in np.argsort(first).tolist():
        by_species[int(owner[at])].append(at)
    for code, own in by_species.items():
        if names[code] in unseen:
            split_of[own] = _TEST_UNSEEN
            continue
        count = round(test_fraction * len(own)) if len(own) > 1 else 0
        order = rng.permutation(len(own))
        split_of[np.array(own)[order]] = np.where(np.arange(len(own)) < count, _TEST, _TRAIN)
    return _of_rows(barcodes, distinct, split_of)


def _names(dataset: Dataset, rank: str) -> pa.DictionaryArray:
    """The names at a rank, the empty one as null."""
    column = dataset.with_format("arrow").select_columns(rank)[:][rank].cast(pa.string())
    column = pc.if_else(pc.equal(column, ""), None, column)
    return column.combine_chunks().dictionary_encode()


def _hashes(dataset: Dataset) -> NDArray[np.uint64]:
    batches = dataset.with_format("arrow").select_columns("dna_barcode").iter(_ROWS_AT_A_TIME)
    parts = [barcode_hashes(batch["dna_barcode"].cast(pa.string())) for batch in batches]
    return np.concatenate([np.empty(0, np.uint64), *parts])


def _of_rows(barcodes: NDArray[np.uint64], distinct: NDArray[np.uint64], split_of: NDArray[np.int_]) -> list[str]:
    """Name of the split of each barcode; `pretrain` for those that are not among the distinct ones."""
    splits = np.full(len(barcodes), _PRETRAIN)
    if len(distinct):
        at = np.searchsorted(distinct, barcodes).clip(max=len(distinct) - 1)
        splits = np.where(distinct[at] == barcodes, split_of[at], _PRETRAIN)
    found: list[str] = np.array(_SPLITS, object)[splits].tolist()
    return found


def _genus_of(genera: pa.DictionaryArray, species: pa.DictionaryArray) -> dict[str, str]:
    """The genus of each species: that of the last specimen with both names."""
    both = pa.table({"genus": genera, "species": species}).drop_null()
    codes = both["species"].combine_chunks().indices.to_numpy()
    _, from_the_end = np.unique(codes[::-1], return_index=True)
    last = both.take(len(codes) - 1 - from_the_end)
    return dict(zip(last["species"].to_pylist(), last["genus"].to_pylist(), strict=True))


def _unseen_species(genus_of: dict[str, str], fraction: float, rng: np.random.Generator) -> set[str]:
    """Draw species so that every genus keeps at least one."""
    left: defaultdict[str, int] = defaultdict(int)
    for genus in genus_of.values():
        left[genus] += 1
    eligible = sorted(name for name, genus in genus_of.items() if left[genus] > 1)
    wanted = round(fraction * len(eligible))
    chosen: set[str] = set()
    for i in rng.permutation(len(eligible)):
        name = eligible[i]
        if len(chosen) < wanted and left[genus_of[name]] > 1:
            chosen.add(name)
            left[genus_of[name]] -= 1
    return chosen
