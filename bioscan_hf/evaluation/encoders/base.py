"""What an encoder is: it turns specimens, or nothing but their barcodes, into vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.tokenization.letters import why_no_barcode

Report = Callable[[int, int], None]
"""Called with what is done and what there is in all: distinct barcodes, or specimens where barcodes do not count."""


class Encoder(Protocol):
    """Turns specimens into vectors."""

    @property
    def name(self) -> str:
        """How tables and cards call it."""

    @property
    def revision(self) -> str | None:
        """Digest or commit of its weights; None if it has none, or they come from no file."""

    def embed(self, specimens: Dataset, *, report: Report | None = None) -> NDArray[np.float32]:
        """Compute one vector per specimen.

        Args:
            specimens: N specimens.
            report: Told of the progress.

        Returns:
            (N, D), in the order of `specimens`, of any length.
        """


class BarcodeEncoder(ABC):
    """An encoder that sees the barcode only, so that specimens with equal barcodes have equal vectors.

    Attributes:
        name: How tables and cards call it.
        revision: Digest or commit of its weights; None if it has none, or they come from no file.
        dimension: D, the entries of a vector.
        min_letters: Letters that a barcode needs.
        max_letters: Letters that count; None for all.
        description: All that the vectors depend on but the barcode: fit for JSON, and equal for encoders that give
            equal vectors.
    """

    name: str
    revision: str | None = None
    dimension: int
    min_letters: int = 1
    max_letters: int | None = None
    description: dict[str, Any]

    @abstractmethod
    def encode(self, barcodes: Sequence[str], *, report: Report | None = None) -> NDArray[np.float32]:
        """Compute one vector per barcode.

        Args:
            barcodes: N barcodes, which are not checked; equal ones are computed as often as they are given.
            report: Called after each batch with the number of barcodes done and of all.

        Returns:
            (N, D), in the order of `barcodes`, of any length.
        """

    def embed(self, specimens: Dataset, *, report: Report | None = None) -> NDArray[np.float32]:
        """Compute one vector per specimen, and each distinct barcode once: BIOSCAN-5M has each of them twice.

        Args:
            specimens: N specimens with the columns `processid` and `dna_barcode`.
            report: Called after each batch with the number of distinct barcodes done and of all.

        Returns:
            (N, D), in the order of `specimens`, of any length.

        Raises:
            ValueError: If a column is missing, or a barcode is bad (see `why_no_barcode`); the message names the
                process id.
        """
        processids, barcodes = (column(specimens, name) for name in ("processid", "dna_barcode"))
        check_barcodes(processids, barcodes, min_letters=self.min_letters)
        # Sorted, so that the batches, and with them the rounding, do not depend on the order of the specimens.
        distinct = sorted(set(barcodes))
        places = {barcode: place for place, barcode in enumerate(distinct)}
        vectors = self.encode(distinct, report=report)
        return vectors[np.fromiter(map(places.__getitem__, barcodes), np.int64, len(barcodes))]


def check_barcodes(processids: Sequence[str], barcodes: Sequence[object], *, min_letters: int = 1) -> None:
    """Refuse specimens whose barcodes are none.

    Args:
        processids: N process ids.
        barcodes: Their barcodes, clean already (see `clean_barcode`).
        min_letters: Letters that a barcode needs.

    Raises:
        ValueError: If a barcode is bad; the message has its process id and the reason (see `why_no_barcode`).
    """
    first: dict[object, str] = {}
    for processid, barcode in zip(processids, barcodes, strict=True):
        first.setdefault(barcode, processid)
    for barcode, processid in first.items():
        reason = why_no_barcode(barcode, min_letters=min_letters)
        if reason is not None:
            raise ValueError(
                f"The barcode of {processid!r} cannot be embedded: {reason}; correct it, or leave the specimen out."
            )


def column(specimens: Dataset, name: str) -> list[Any]:
    """A column as a list.

    Raises:
        ValueError: If there is no such column.
    """
    if name not in specimens.column_names:
        raise ValueError(f"The specimens need the column {name!r}; they have {specimens.column_names}.")
    values: list[Any] = specimens.with_format(None)[name][:]
    return values


def by_length(barcodes: Sequence[str], batch_size: int) -> list[NDArray[np.int64]]:
    """Put short barcodes with short ones, so that little is computed for padding.

    Args:
        barcodes: N barcodes.
        batch_size: Barcodes in a batch; the last has fewer.

    Returns:
        Rows of the barcodes of each batch, the shortest first.

    Raises:
        ValueError: If `batch_size` is less than 1.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1; got {batch_size}.")
    order = np.argsort(np.fromiter(map(len, barcodes), np.int64, len(barcodes)), kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
