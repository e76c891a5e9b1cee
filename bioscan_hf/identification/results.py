"""Names of queries as a table: one row for each, with columns that a spreadsheet understands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bioscan_hf.data.features import RANKS

_NEAREST = (
    ("processid", pa.string()),
    ("taxon", pa.string()),
    ("dna_bin", pa.string()),
    ("similarity", pa.float32()),
    ("identity", pa.float32()),
)


def results_schema(nearest: int = 1) -> pa.Schema:
    """Columns of the table.

    - `processid`
    - `phylum` ... `species`: the name at each rank, null for none; then `<rank>_probability` that it is right, null if
      there is no name or the library is not calibrated for it.
    - `safe_rank`, `safe_taxon`: the deepest rank that is safe, and the name there; null if none is.
    - `novelty`: probability that the species is not in the library, and `novel`, whether that is the likelier.
    - `nearest_processid`, `nearest_taxon`, `nearest_dna_bin`, `nearest_similarity`, `nearest_identity` of the most
      similar specimen, then `nearest_2_processid` ...; the identity, the share of equal letters, is null for images.
    - `evidence`: `barcode` or `image`, null if there was nothing to go by.
    - `notes`: what is remarkable about the query, joined by `; `.
    - `coord-lat`, `coord-lon`: of the query, in degrees.

    Args:
        nearest: Specimens that are told.
    """
    fields = [pa.field("processid", pa.string())]
    fields += [pa.field(rank, pa.string()) for rank in RANKS]
    fields += [pa.field(f"{rank}_probability", pa.float32()) for rank in RANKS]
    fields += [pa.field("safe_rank", pa.string()), pa.field("safe_taxon", pa.string())]
    fields += [pa.field("novelty", pa.float32()), pa.field("novel", pa.bool_())]
    fields += [
        pa.field(f"{nearest_prefix(place)}{name}", dtype) for place in range(nearest) for name, dtype in _NEAREST
    ]
    fields += [pa.field("evidence", pa.string()), pa.field("notes", pa.string())]
    fields += [pa.field("coord-lat", pa.float64()), pa.field("coord-lon", pa.float64())]
    return pa.schema(fields)


def nearest_prefix(place: int) -> str:
    """How the columns of a nearest specimen begin: `nearest_`, `nearest_2_` ...; the place is from 0."""
    return "nearest_" if place == 0 else f"nearest_{place + 1}_"


def names_of(places: NDArray[np.int64], names: Sequence[str]) -> pa.Array:
    """Names by their places; null for a negative place."""
    return pa.array(names, pa.string()).take(pa.array(np.maximum(places, 0), mask=places < 0))


def numbers(values: NDArray[Any], dtype: pa.DataType | None = None) -> pa.Array:
    """Numbers, with null for NaN."""
    return pa.array(values, dtype or pa.float32(), mask=np.isnan(values))
