"""Queries named: by their barcodes, by their photographs, or by both, each for itself."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.queries import Queries
from bioscan_hf.identification.results import results_schema
from bioscan_hf.identification.writers import result_writer

Row = dict[str, Any]
"""A row of the results, see `results_schema`."""


@dataclass(frozen=True)
class Answered:
    """What was found for N queries.

    Attributes:
        queries: What was asked for.
        table: A row for each query, or two for one with barcode and photograph, in the order of the queries; columns as
            `Identifier` gives them.
        max_error: Share of the names at the safe rank that may be wrong.
    """

    queries: Queries
    table: pa.Table
    max_error: float

    @cached_property
    def rows(self) -> list[list[Row]]:
        """The rows of each query."""
        both = [_has_both(self.queries, place) for place in range(len(self))]
        rows = iter(self.table.to_pylist())
        return [[next(rows) for _ in range(1 + two)] for two in both]

    def __len__(self) -> int:
        return len(self.queries.processids)

    def csv(self) -> bytes:
        """The results as `bioscan identify --output names.csv` writes them."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "names.csv"
            with result_writer(path, self.table.schema) as write:
                write(self.table)
            return path.read_bytes()


def answer(identifier: Identifier, queries: Queries) -> Answered:
    """Name queries.

    Args:
        identifier: Names them.
        queries: One with a barcode and an image is named by both, where the library can compare images.
    """
    by_barcode = identifier.identify(queries._replace(images=None))
    images = queries.images or [None] * len(queries.processids)
    pictured = [place for place, image in enumerate(images) if image]
    by_image = results_schema(identifier.nearest).empty_table()
    if pictured:
        by_image = identifier.identify(
            Queries(
                [queries.processids[place] for place in pictured],
                [None] * len(pictured),
                [images[place] for place in pictured],
                [None] * len(pictured),
                queries.latitudes[pictured],
                queries.longitudes[pictured],
            )
        )
    order: list[int] = []
    row_of = {place: row for row, place in enumerate(pictured, len(by_barcode))}
    for place in range(len(queries.processids)):
        if place not in row_of or queries.barcodes[place]:
            order.append(place)
        if place in row_of:
            order.append(row_of[place])
    table = pa.concat_tables([by_barcode, by_image]).take(np.array(order, np.int64))
    return Answered(queries, table, identifier.max_error)


def _has_both(queries: Queries, place: int) -> bool:
    return bool(queries.barcodes[place] and queries.images and queries.images[place])


def agreed_rank(rows: Sequence[Row]) -> str | None:
    """The deepest rank at which two rows have the same name; None if there is none."""
    one, other = rows
    same = [rank for rank in RANKS if one[rank] is not None and one[rank] == other[rank]]
    return same[-1] if same else None
