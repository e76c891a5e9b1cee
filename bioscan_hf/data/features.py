"""The schema of BIOSCAN-5M: columns, taxonomic ranks, splits, and where an image lies.

Everything that names a column, a rank or a split reads it from here. The columns and splits are those of the released
metadata (Gharaee et al., NeurIPS 2024, arXiv 2406.12723, and the dataset card of `bioscan-ml/BIOSCAN-5M`).
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from typing import Literal

from datasets import Features, Image, Value

RANKS: tuple[str, ...] = ("phylum", "class", "order", "family", "subfamily", "genus", "species")
"""Taxonomic ranks with a label column, from the widest to the narrowest."""


@dataclass(frozen=True)
class Column:
    """One column of the metadata.

    Attributes:
        name: Name in the released CSV.
        dtype: `datasets.Value` type.
        meaning: What the column holds, with its unit.
        missing: When the value is null.
    """

    name: str
    dtype: str
    meaning: str
    missing: str = "unknown"


COLUMNS: tuple[Column, ...] = (
    Column("processid", "string", "BOLD record id, unique; also the image's file name", "never"),
    Column("sampleid", "string", "id given by the collector"),
    Column("taxon", "string", "the most specific taxonomic label of the specimen"),
    Column("phylum", "string", "taxonomic label"),
    Column("class", "string", "taxonomic label"),
    Column("order", "string", "taxonomic label"),
    Column("family", "string", "taxonomic label"),
    Column("subfamily", "string", "taxonomic label"),
    Column("genus", "string", "taxonomic label"),
    Column("species", "string", "binomial, or a placeholder name for a species not yet described"),
    Column("dna_bin", "string", "Barcode Index Number (BIN): cluster of similar barcodes, a proxy for the species"),
    Column("dna_barcode", "string", "about 650 nucleotides of the COI gene: A, C, G, T, N, other IUPAC codes", "never"),
    Column("country", "string", "country of the collection site"),
    Column("province_state", "string", "province or state of the collection site"),
    Column("coord-lat", "float64", "latitude of the collection site, WGS84, decimal degrees"),
    Column("coord-lon", "float64", "longitude of the collection site, WGS84, decimal degrees"),
    Column("image_measurement_value", "int64", "size of the specimen: pixels that it covers in the original image"),
    Column("area_fraction", "float64", "area of the specimen's box over the area of the original image"),
    Column("scale_factor", "float64", "shorter side of the specimen's box over 256 pixels"),
    Column("inferred_ranks", "uint8", "which ranks were inferred, as released (its coding is not published)"),
    Column("split", "string", "partition of the benchmark", "no partition was assigned"),
    Column("index_bioscan_1M_insect", "int64", "row of the specimen in BIOSCAN-1M", "not in BIOSCAN-1M"),
    Column("chunk", "string", "folder of the image: first digits of the MD5 of the process id", "no such folders"),
)
"""The 23 metadata columns, in the order of the released CSV."""

COLUMN_NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)


@dataclass(frozen=True)
class Split:
    """One partition of the benchmark.

    Attributes:
        name: Value of the column `split`.
        group: `unknown` (no species label), `seen`, `unseen` (placeholder species of a seen genus) or `heldout`.
        purpose: What the partition is for.
        chunk_characters: Leading characters of the image folder's name, 0 where images lie in one folder.
    """

    name: str
    group: Literal["unknown", "seen", "unseen", "heldout"]
    purpose: str
    chunk_characters: int = 0


SPLITS: tuple[Split, ...] = (
    Split("pretrain", "unknown", "self-supervised pretraining, no species label", 2),
    Split("train", "seen", "training, and keys of the closed world", 1),
    Split("val", "seen", "model selection, closed world"),
    Split("test", "seen", "closed-world test"),
    Split("key_unseen", "unseen", "retrieval keys of unseen species"),
    Split("val_unseen", "unseen", "model selection, open world"),
    Split("test_unseen", "unseen", "open-world test: species that are not in train, of genera that are"),
    Split("other_heldout", "heldout", "further placeholder species, for novelty detection", 1),
)

SPLIT_NAMES: tuple[str, ...] = tuple(split.name for split in SPLITS)

_CHUNK_CHARACTERS = {split.name: split.chunk_characters for split in SPLITS}

SPLIT_UNIONS: dict[str, tuple[str, ...]] = {
    "seen": tuple(split.name for split in SPLITS if split.group == "seen"),
    "unseen": tuple(split.name for split in SPLITS if split.group == "unseen"),
    "all": SPLIT_NAMES,
}

SPLIT_ALIASES: dict[str, str] = {"validation": "val"}


def published_name(split: str) -> str:
    """Name of a split in the dataset on the Hub, which follows `datasets`: `val` is `validation`.

    The column `split` keeps the released value.

    >>> published_name("val"), published_name("test")
    ('validation', 'test')
    """
    return next((alias for alias, name in SPLIT_ALIASES.items() if name == split), split)


def resolve_split(split: str) -> tuple[str, ...]:
    """Turn a split, a union (`seen`, `unseen`, `all`), an alias or a sum of these into the partitions it stands for.

    Args:
        split: For example `"train"`, `"validation"`, `"seen"` or `"train+val"`.

    Returns:
        Names of partitions, without repeats, in the order of `SPLITS`.

    Raises:
        ValueError: If a part of `split` is not known.

    >>> resolve_split("validation+unseen")
    ('val', 'key_unseen', 'val_unseen', 'test_unseen')
    """
    wanted: set[str] = set()
    for part in split.split("+"):
        name = SPLIT_ALIASES.get(part.strip(), part.strip())
        if name not in SPLIT_NAMES and name not in SPLIT_UNIONS:
            known = [*SPLIT_NAMES, *SPLIT_UNIONS, *SPLIT_ALIASES]
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"`split` must be a sum of {known}; got {part!r}.{hint}")
        wanted.update(SPLIT_UNIONS.get(name, (name,)))
    return tuple(name for name in SPLIT_NAMES if name in wanted)


def bioscan_features(*, image: bool = True) -> Features:
    """The `datasets` features of one specimen: `image` (if asked for) and the 23 metadata columns.

    Args:
        image: Whether the first feature is the specimen's image.
    """
    columns = {column.name: Value(column.dtype) for column in COLUMNS}
    return Features({"image": Image(), **columns} if image else columns)


def image_chunk(processid: str, split: str) -> str | None:
    """Name of the folder, inside its split's folder, that holds a specimen's image.

    The released archives name the folder by the first hexadecimal digits of the MD5 of the process id: two for
    `pretrain`, one for `train` and `other_heldout`; the other splits have no folders.

    >>> image_chunk("AACTA1040-20", "pretrain"), image_chunk("AACTA161-20", "val")
    ('00', None)
    """
    digits = _CHUNK_CHARACTERS.get(split)
    return hashlib.md5(processid.encode(), usedforsecurity=False).hexdigest()[:digits] if digits else None
