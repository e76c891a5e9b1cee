"""Made specimens with the published numbers of BIOSCAN-5M: rows, distinct barcodes, taxa and BINs, split by split.

Barcodes differ along a tree: genera within families, BINs within genera, and within a BIN by some letters. Places,
sizes and lengths are plausible, not measured. At another number of rows everything is scaled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from clustering_data import long_tailed
from numpy.typing import NDArray
from scale_parts import SPECIMENS

from bioscan_hf.data.features import COLUMNS, RANKS, SPLIT_NAMES, SPLITS, bioscan_features, image_chunk
from bioscan_hf.data.release import PUBLISHED

# Taxa and BINs of the whole release (repository bioscan-ml/BIOSCAN-5M, its table of categories).
TAXA = {"class": 10, "order": 55, "family": 934, "subfamily": 1542, "genus": 7605}
FEWEST = {"class": 10, "order": 55, "family": 60, "subfamily": 90, "genus": 180}
BINS = 324_411
# Share of the specimens without species that have a name at the rank: the rest of that table.
LABELLED = {"phylum": 1.0, "class": 0.99914, "order": 0.99661, "family": 0.95338, "subfamily": 0.2137, "genus": 0.1611}
BIN_SHARE = 0.9971
LENGTHS = {658: 0.62, 657: 0.07, 654: 0.05, 651: 0.05, 630: 0.06, 600: 0.05, 560: 0.03, 520: 0.03, 661: 0.02, 690: 0.02}
N_SHARE = 0.08
ROWS_PER_TABLE = 50_000

_LETTERS = np.frombuffer(b"ACGTN", np.uint8)
_AT_RICH = (0.30, 0.16, 0.15, 0.39)
_WIDTH = max(LENGTHS)
_SYLLABLES = ["ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "xo", "zy", "tri"]
_VARIED = 300  # within a BIN, barcodes differ before this letter, and N stand after it
_DIGITS = 8  # letters that number the barcodes of a BIN
Ints = NDArray[np.integer]
Texts = NDArray[np.object_]
Random = np.random.Generator


@dataclass(frozen=True)
class _World:
    """What all specimens are drawn from: a parent per taxon, the letters of genera and BINs, and the barcodes."""

    parents: dict[str, Ints]  # of each taxon, and of each BIN, in the rank above
    species: int  # the first BINs are those of a species each
    genus_codes: Ints  # (genera, _WIDTH), 0 to 3
    bin_places: Ints
    bin_codes: Ints
    varied: Ints  # of each BIN, where its barcodes differ first
    known: NDArray[np.float64]  # of each BIN: the lower, the more ranks are named
    bin_of: Ints  # of each barcode
    variant: Ints  # number of a barcode in its BIN
    lengths: Ints
    n_at: Ints  # -1 for no N


def made_specimens(rows: int = SPECIMENS, seed: int = 5) -> Iterator[pa.Table]:
    """Make specimens.

    Args:
        rows: How many, at least 200.
        seed: Fixes them all.

    Yields:
        `ROWS_PER_TABLE` of them, with the schema of the metadata; the splits are mixed, as in the released table.
    """
    random = np.random.default_rng(seed)
    sizes = _sizes(rows)
    groups = {split.name: split.group for split in SPLITS}
    counts = {name: max(sizes[s][2] for s in sizes if groups[s] == name) for name in ("seen", "unseen", "heldout")}
    starts = dict(zip(counts, np.cumsum([0, *counts.values()]), strict=False))
    species = sum(counts.values())
    bins = max(round(BINS * rows / SPECIMENS), species + 50)
    bin_of, barcode, split_of, total = [], [], [], 0
    for code, (split, (specimens, barcodes, names)) in enumerate(sizes.items()):
        # Names are drawn from those of the group; without names, from all BINs.
        group = groups[split]
        own = starts[group] + random.permutation(counts[group])[:names] if names else random.permutation(bins)
        own = own[:barcodes]
        bin_of.append(own[long_tailed(barcodes, len(own), 0.75, random)])
        barcode.append(total + long_tailed(specimens, barcodes, 0.5, random))
        split_of.append(np.full(specimens, code, np.int8))
        total += barcodes
    world = _world(np.concatenate(bin_of), bins, species, rows / SPECIMENS, random)
    order = random.permutation(rows)
    barcode_of, split_code = np.concatenate(barcode)[order], np.concatenate(split_of)[order]
    names_of = {rank: _names(len(world.parents[rank]), rank) for rank in TAXA}
    for start in range(0, rows, ROWS_PER_TABLE):
        part = slice(start, start + ROWS_PER_TABLE)
        yield _table(world, names_of, start, barcode_of[part], split_code[part], random)


def write_metadata(path: Path, rows: int = SPECIMENS, seed: int = 5) -> None:
    """Write made specimens as the released CSV has them; arguments as of `made_specimens`."""
    gaps = [column.name for column in COLUMNS if column.dtype == "int64"]  # pandas writes these as 146774.0
    writer = None
    for table in made_specimens(rows, seed):
        for name in gaps:
            text = pc.binary_join_element_wise(table[name].cast(pa.string()), ".0", "")
            table = table.set_column(table.column_names.index(name), name, text)
        writer = writer or pa.csv.CSVWriter(path, table.schema, write_options=pa.csv.WriteOptions(quoting_style="none"))
        writer.write_table(table)
    assert writer is not None
    writer.close()


def _sizes(rows: int) -> dict[str, tuple[int, int, int]]:
    """Specimens, barcodes and species of each split, those of the whole release scaled; pretrain has the rest."""
    found = {}
    for split, published in PUBLISHED.items():
        species, barcodes, specimens = (
            max(round(count * rows / SPECIMENS), 6) if count else 0
            for count in (published.species, published.barcodes, published.specimens)
        )
        found[split] = (max(specimens, barcodes, species), max(barcodes, species), species)
    rest = rows - sum(specimens for split, (specimens, _, _) in found.items() if split != "pretrain")
    return {**found, "pretrain": (rest, min(rest, found["pretrain"][1]), 0)}


def _world(bin_of: Ints, bins: int, species: int, share: float, random: Random) -> _World:
    count = len(bin_of)
    taxa = {rank: max(round(number * share), FEWEST[rank]) for rank, number in TAXA.items()}
    above = (1, *taxa.values())
    parents: dict[str, Ints] = {
        rank: long_tailed(number, wider, 0.5, random)
        for (rank, number), wider in zip(taxa.items(), above, strict=False)
    }
    # Every genus has a named species as far as these go.
    parents["dna_bin"] = np.concatenate(
        [np.arange(species) % taxa["genus"], random.integers(0, taxa["genus"], bins - species)]
    )

    def codes(*shape: int) -> Ints:
        return random.choice(4, shape, p=_AT_RICH).astype(np.uint8)

    def mutated(own: Ints, rate: float) -> Ints:
        return np.where(random.random(own.shape) < rate, codes(*own.shape), own)

    families = mutated(np.repeat(codes(1, _WIDTH), taxa["family"], 0), 0.14)
    genera = mutated(families[parents["subfamily"][parents["genus"]]], 0.09)
    by_bin = np.argsort(bin_of, kind="stable")
    first = np.searchsorted(bin_of[by_bin], np.arange(bins))
    variant = np.empty(count, np.int64)
    variant[by_bin] = np.arange(count) - first[bin_of[by_bin]]
    return _World(
        parents=parents,
        species=species,
        genus_codes=genera,
        bin_places=random.integers(0, _WIDTH, (bins, 26)).astype(np.int16),
        bin_codes=codes(bins, 26),
        varied=random.integers(0, _VARIED, bins).astype(np.int16),
        known=random.random(bins),
        bin_of=bin_of,
        variant=variant,
        lengths=random.choice(list(LENGTHS), count, p=list(LENGTHS.values())).astype(np.int16),
        n_at=np.where(random.random(count) < N_SHARE, random.integers(_VARIED, min(LENGTHS) - 4, count), -1),
    )


def _barcodes(world: _World, barcodes: Ints) -> pa.Array:
    bins, rows = world.bin_of[barcodes], np.arange(len(barcodes))[:, None]
    codes = world.genus_codes[world.parents["dna_bin"][bins]]
    codes[rows, world.bin_places[bins]] = world.bin_codes[bins]
    # Last, so that no two barcodes of a BIN are equal: the letters of their numbers, at places that are never the same.
    places = (world.varied[bins][:, None] + 37 * np.arange(_DIGITS)) % _VARIED
    codes[rows, places] ^= ((world.variant[barcodes][:, None] >> 2 * np.arange(_DIGITS)) & 3).astype(np.uint8)
    n_at = world.n_at[barcodes]
    codes[rows[n_at >= 0], n_at[n_at >= 0][:, None] + np.arange(4)] = 4
    lengths = world.lengths[barcodes]
    letters = _LETTERS[codes][np.arange(_WIDTH) < lengths[:, None]]
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.StringArray.from_buffers(len(barcodes), pa.py_buffer(ends), pa.py_buffer(letters))


def _table(
    world: _World, names: dict[str, Texts], first: int, barcodes: Ints, splits: Ints, random: Random
) -> pa.Table:
    count = len(barcodes)
    bins = world.bin_of[barcodes]
    named = splits != SPLIT_NAMES.index("pretrain")
    numbers = range(first, first + count)
    taxon = {"genus": world.parents["dna_bin"][bins]}
    for rank, above in pairwise(reversed(TAXA)):
        taxon[above] = world.parents[rank][taxon[rank]]
    genera = names["genus"][taxon["genus"]]
    columns: dict[str, Any] = {"phylum": ["Arthropoda"] * count}
    for rank in TAXA:
        known = named | (world.known[bins] < LABELLED[rank])
        columns[rank] = _where(known, names[rank][taxon[rank]])
    columns["species"] = _where(named, _texts(f"{genus} {_word(own)}" for genus, own in zip(genera, bins, strict=True)))
    columns["taxon"] = [next(filter(None, row)) for row in zip(*(columns[rank] for rank in RANKS[::-1]), strict=True)]
    columns["processid"] = [_processid(number) for number in numbers]
    columns["sampleid"] = [f"MADE{number // 95:05}-{number % 95:02}" for number in numbers]
    columns["dna_bin"] = _where(random.random(count) < BIN_SHARE, _texts(f"BOLD:A{_code(own)}" for own in bins))
    columns["dna_barcode"] = _barcodes(world, barcodes)
    sites, there = random.zipf(1.6, count) % 1700, random.random(count) < 0.998
    columns["country"] = _where(there, _texts(f"Country {site}" for site in range(47))[sites % 47])
    columns["province_state"] = _where(there, _texts(f"Province {site}" for site in range(102))[sites % 102])
    columns["coord-lat"] = _where(there, np.round(sites * 0.0731 - 54, 4))
    columns["coord-lon"] = _where(there, np.round(sites * 0.1937 - 155, 4))
    columns["image_measurement_value"] = _where(random.random(count) < 0.9995, random.gamma(2, 9000, count).astype(int))
    columns["area_fraction"] = random.beta(2, 6, count).round(6)
    columns["scale_factor"] = (random.gamma(6, 0.35, count) + 0.2).round(6)
    columns["inferred_ranks"] = random.choice(5, count, p=[0.97, 0.01, 0.01, 0.005, 0.005])
    columns["split"] = _texts(SPLIT_NAMES)[splits].tolist()
    columns["index_bioscan_1M_insect"] = _where(random.random(count) < 0.2065, np.arange(first, first + count))
    columns["chunk"] = list(map(image_chunk, columns["processid"], columns["split"]))
    schema = bioscan_features(image=False).arrow_schema
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _texts(texts: Iterable[str]) -> Texts:
    return np.array(list(texts), object)


def _where(there: NDArray[np.bool_], values: NDArray[Any]) -> list[Any]:
    """None where they are not there."""
    found: list[Any] = np.where(there, values.astype(object), np.array(None)).tolist()
    return found


def _names(count: int, rank: str) -> Texts:
    ending = {"class": "a", "order": "ptera", "family": "idae", "subfamily": "inae", "genus": "us"}[rank]
    return _texts(f"{_word(number)}{ending}".capitalize() for number in range(count))


def _word(number: int) -> str:
    """A word of its own for each number."""
    return "".join(_SYLLABLES[number >> shift & 15] for shift in (16, 12, 8, 4, 0) if number >> shift or shift < 8)


def _code(number: int) -> str:
    return f"{chr(65 + number // 260000 % 26)}{chr(65 + number // 10000 % 26)}{number % 10000:04}"


def _processid(number: int) -> str:
    """As `MADEBC0123-22`; they rise as text."""
    return f"MADE{chr(65 + number // 260000)}{chr(65 + number // 10000 % 26)}{number % 10000:04}-{10 + number % 14}"
