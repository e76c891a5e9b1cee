"""What a table of specimens holds: sizes of splits, ranks and classes, barcodes, places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from bioscan_hf.data.barcodes import barcode_hashes
from bioscan_hf.data.features import RANKS, SPLIT_NAMES
from bioscan_hf.data.release import Published

ROWS_AT_A_TIME = 50_000
TREE_RANKS = ("class", "order", "family")
CELLS = 180 * 360
"""Of one degree on the Earth."""
COLUMNS = ("split", *RANKS, "dna_bin", "dna_barcode", "country", "coord-lat", "coord-lon")


@dataclass(frozen=True)
class SplitStatistics:
    """One split.

    Attributes:
        split: Name, None for the specimens without a split.
        specimens: Number of specimens.
        barcodes: Number of distinct barcodes.
        species: Number of species.
        published: What these three should be.
    """

    split: str | None
    specimens: int
    barcodes: int
    species: int
    published: Published | None = None


@dataclass(frozen=True)
class RankStatistics:
    """One rank, `dna_bin` or `dna_barcode`.

    Attributes:
        rank: Name of the column.
        categories: Number of distinct values.
        labelled: Specimens that have a value.
        labelled_percent: Their share in percent.
        missing: Specimens that have none.
        imbalance_ratio: Specimens of the largest category over those of the smallest; None without categories.
        category_sizes: Pairs of a size in specimens, the largest first, and the number of categories of that size.
    """

    rank: str
    categories: int
    labelled: int
    labelled_percent: float
    missing: int
    imbalance_ratio: float | None
    category_sizes: list[tuple[int, int]]


@dataclass(frozen=True)
class BarcodeStatistics:
    """Letters of the barcodes.

    Attributes:
        lengths: Pairs of a length in letters and the number of barcodes of that length, the shortest first.
        with_n: Barcodes with a letter N (unknown nucleotide).
        with_other_letters: Barcodes with letters other than A, C, G, T and N.
    """

    lengths: list[tuple[int, int]]
    with_n: int
    with_other_letters: int


@dataclass(frozen=True)
class Statistics:
    """What a table of specimens holds.

    Attributes:
        specimens: Number of specimens.
        splits: In the order of `features.SPLITS`; those without specimens are left out.
        ranks: From the widest to the narrowest, then `dna_bin` and `dna_barcode`.
        barcodes: Their letters.
        countries: Pairs of a country, None for unknown, and its specimens; the largest first.
        places: Latitude and longitude of the middle of each cell of one degree where specimens come from, in decimal
            degrees (WGS84), and their number.
        taxa: Class, order and family, None where there is no label, and their specimens; the largest first.
    """

    specimens: int
    splits: list[SplitStatistics]
    ranks: list[RankStatistics]
    barcodes: BarcodeStatistics
    countries: list[tuple[str | None, int]]
    places: list[tuple[float, float, int]]
    taxa: list[tuple[str | None, str | None, str | None, int]]


def compute_statistics(
    specimens: Dataset,
    *,
    published: Mapping[str, Published] | None = None,
    report: Callable[[int], object] | None = None,
) -> Statistics:
    """Count what a table of specimens holds, in one pass and little memory.

    Args:
        specimens: Rows with the columns of `features.COLUMNS`.
        published: What the sizes of the splits should be, such as `release.PUBLISHED`.
        report: Called with the number of specimens read since the last call.

    Returns:
        The figures.

    Raises:
        ValueError: If there are no specimens.
    """
    if not len(specimens):
        raise ValueError("There are no specimens to count; the table is empty.")
    taxa, countries, splits, bins, barcodes = [], [], [], [], []
    lengths, cells, letters = np.zeros(0, np.int64), np.zeros(CELLS, np.int64), np.zeros(2, np.int64)
    for table in _tables(specimens):
        taxa.append(_count(table, ["split", *RANKS]))
        countries.append(_count(table, ["country"]))
        splits.append(pc.index_in(table["split"], pa.array(SPLIT_NAMES)).fill_null(-1).to_numpy().astype(np.int8))
        bins.append(barcode_hashes(table["dna_bin"]))
        barcodes.append(barcode_hashes(table["dna_barcode"]))
        lengths = _add(lengths, np.bincount(pc.binary_length(table["dna_barcode"].drop_null()).to_numpy()))
        letters += _unusual_letters(table["dna_barcode"].drop_null())
        cells += count_cells(table["coord-lat"].to_numpy(), table["coord-lon"].to_numpy())
        if report is not None:
            report(len(table))
    taxonomy = _sum(taxa, ["split", *RANKS])
    hashes = np.concatenate(barcodes)
    sizes = {rank: _sizes_of_names(taxonomy, rank) for rank in RANKS}
    sizes |= {"dna_bin": _sizes_of_hashes(np.concatenate(bins)), "dna_barcode": _sizes_of_hashes(hashes)}
    return Statistics(
        specimens=len(specimens),
        splits=_split_statistics(taxonomy, np.concatenate(splits), hashes, published or {}),
        ranks=[_rank_statistics(rank, own, len(specimens)) for rank, own in sizes.items()],
        barcodes=BarcodeStatistics(_pairs(lengths), *letters.tolist()),
        countries=_rows(_sum(countries, ["country"])),
        places=places_of_cells(cells),
        taxa=_rows(_sum([taxonomy], TREE_RANKS)),
    )


def _tables(specimens: Dataset) -> Iterator[pa.Table]:
    return specimens.select_columns(list(COLUMNS)).with_format("arrow").iter(ROWS_AT_A_TIME)


def _count(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """How often each combination of values occurs: the columns and, last, `specimens`."""
    counted = table.group_by(list(columns)).aggregate([([], "count_all")])
    return counted.rename_columns([*columns, "specimens"])


def _sum(parts: Sequence[pa.Table], columns: Sequence[str]) -> pa.Table:
    """Counts of several tables of `_count` together, by some of their columns, the largest first."""
    summed = pa.concat_tables(parts).group_by(list(columns)).aggregate([("specimens", "sum")])
    summed = summed.rename_columns([*columns, "specimens"])
    # Ties by name: the same data give the same file.
    return summed.sort_by([("specimens", "descending"), *((column, "ascending") for column in columns)])


def _rows(table: pa.Table) -> list[tuple]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _sizes_of_names(taxonomy: pa.Table, rank: str) -> np.ndarray:
    summed = _sum([taxonomy], [rank])
    return summed.filter(pc.is_valid(summed[rank]))["specimens"].to_numpy()


def _sizes_of_hashes(hashes: np.ndarray) -> np.ndarray:
    return np.unique(hashes[hashes != 0], return_counts=True)[1]


def _rank_statistics(rank: str, sizes: np.ndarray, specimens: int) -> RankStatistics:
    labelled = int(sizes.sum())
    values, counts = np.unique(sizes, return_counts=True)
    return RankStatistics(
        rank=rank,
        categories=len(sizes),
        labelled=labelled,
        labelled_percent=100 * labelled / specimens,
        missing=specimens - labelled,
        imbalance_ratio=float(sizes.max() / sizes.min()) if len(sizes) else None,
        category_sizes=list(zip(values[::-1].tolist(), counts[::-1].tolist(), strict=True)),
    )


def _split_statistics(
    taxonomy: pa.Table, splits: np.ndarray, barcodes: np.ndarray, published: Mapping[str, Published]
) -> list[SplitStatistics]:
    species = taxonomy.group_by(["split"]).aggregate([("species", "count_distinct")])
    species_of = dict(zip(species["split"].to_pylist(), species["species_count_distinct"].to_pylist(), strict=True))
    found = []
    for code, split in (*enumerate(SPLIT_NAMES), (-1, None)):
        own = barcodes[splits == code]
        if len(own):
            distinct = len(np.unique(own[own != 0]))
            known = None if split is None else published.get(split)
            found.append(SplitStatistics(split, len(own), distinct, species_of[split], known))
    return found


def _unusual_letters(barcodes: pa.ChunkedArray) -> tuple[int, int]:
    """How many barcodes have an N, and how many a letter that is not A, C, G, T or N."""
    # Few have either: what is left without the usual letters at both ends is empty for most of them.
    rest = pc.ascii_trim(barcodes, "ACGT")
    rest = rest.filter(pc.greater(pc.binary_length(rest), 0))
    found = pc.match_substring(rest, "N"), pc.match_substring_regex(rest, "[^ACGTN]")
    return tuple(pc.sum(column, min_count=0).as_py() for column in found)


def count_cells(latitudes: np.ndarray, longitudes: np.ndarray) -> np.ndarray:
    """Count the specimens in each cell of one degree.

    Args:
        latitudes: (N,) decimal degrees, NaN where there is none.
        longitudes: (N,) likewise.

    Returns:
        (`CELLS`,) from south to north and there from west to east.
    """
    valid = (np.abs(latitudes) <= 90) & (np.abs(longitudes) <= 180)  # False for null, which is NaN
    rows = np.minimum(latitudes[valid] + 90, 179).astype(np.int64)
    columns = np.minimum(longitudes[valid] + 180, 359).astype(np.int64)
    return np.bincount(rows * 360 + columns, minlength=CELLS)


def places_of_cells(cells: np.ndarray) -> list[tuple[float, float, int]]:
    """Latitude and longitude of the middle of each cell that is not empty, and its count.

    Args:
        cells: (`CELLS`,) as from `count_cells`.
    """
    return [(at // 360 - 89.5, at % 360 - 179.5, count) for at, count in _pairs(cells)]


def _add(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Sum of two histograms of different length."""
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    longer = longer.copy()
    longer[: len(shorter)] += shorter
    return longer


def _pairs(histogram: np.ndarray) -> list[tuple[int, int]]:
    (filled,) = np.nonzero(histogram)
    return list(zip(filled.tolist(), histogram[filled].tolist(), strict=True))
