"""What a library's probabilities are calibrated on, and with: queries whose names are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.calibration import LEAST, Logistic, rank_probabilities
from bioscan_hf.identification.novelty import novelty_features
from bioscan_hf.identification.safe import safe_thresholds
from bioscan_hf.identification.votes import Evidence, Neighbours


@dataclass(frozen=True)
class Calibration:
    """How evidence becomes probability.

    Attributes:
        ranks: For each of `RANKS`, the probability that a name is right; None where too few queries had a label.
        novelty: Probability that the species is not in the library; None where too few queries had one.
        probabilities: float32 (N, ranks): of the queries that it was fitted on; NaN for none.
        right: float32 (N, ranks): whether their names were right: 1, 0, or NaN if that is not known.
        novel: float32 (N,): whether their species is not in the library; NaN if that is not known.
        processids: N process ids.
    """

    ranks: tuple[Logistic | None, ...]
    novelty: Logistic | None
    probabilities: NDArray[np.float32]
    right: NDArray[np.float32]
    novel: NDArray[np.float32]
    processids: list[str]

    @classmethod
    def fit(
        cls, specimens: Dataset, neighbours: Neighbours, evidence: Evidence, taxa: Mapping[str, Sequence[str | None]]
    ) -> Calibration:
        """Compare the names of specimens with their labels.

        Args:
            specimens: N specimens that are not in the library.
            neighbours: Their neighbours.
            evidence: Their names.
            taxa: Names of the library at each rank; None in the place of one that it is to be taken not to have.
        """
        labels = known_labels(specimens, taxa)
        right = np.where((labels == UNLABELLED) | (evidence.names < 0), np.nan, evidence.names == labels)
        ranks = []
        for rank in range(len(RANKS)):
            known = ~np.isnan(right[:, rank])
            enough = known.sum() >= LEAST
            ranks.append(Logistic.fit(evidence.features[known, rank], right[known, rank] == 1) if enough else None)
        species = labels[:, -1]
        novel = np.where(species == UNLABELLED, np.nan, species == ABSENT)
        known = ~np.isnan(novel)
        both = known.sum() >= LEAST and 0 < novel[known].sum() < known.sum()
        novelty = Logistic.fit(novelty_features(neighbours, evidence)[known], novel[known] == 1) if both else None
        probabilities = rank_probabilities(evidence.names, evidence.features, ranks)
        return cls(
            tuple(ranks),
            novelty,
            probabilities.astype(np.float32),
            right.astype(np.float32),
            novel.astype(np.float32),
            list(specimens["processid"]),
        )

    def thresholds(self, max_error: float) -> NDArray[np.float64]:
        """See `safe_thresholds`."""
        return safe_thresholds(self.probabilities, self.right, self.novel, max_error)

    def to_json(self) -> dict[str, Any]:
        """The models, fit for JSON."""
        models = zip((*RANKS, "novelty"), (*self.ranks, self.novelty), strict=True)
        return {name: model and model.to_json() for name, model in models}

    def to_table(self) -> pa.Table:
        """The queries that it was fitted on, a row each."""
        columns: dict[str, Any] = {"processid": self.processids}
        for place, rank in enumerate(RANKS):
            columns[f"{rank}_probability"] = _nullable(self.probabilities[:, place], pa.float32())
            columns[f"{rank}_right"] = _nullable(self.right[:, place], pa.bool_())
        columns["novel"] = _nullable(self.novel, pa.bool_())
        return pa.table(columns)

    @classmethod
    def load(cls, models: Mapping[str, Any], table: pa.Table) -> Calibration:
        """Of `to_json` and `to_table`."""
        fitted = {name: content and Logistic.from_json(content) for name, content in models.items()}

        def matrix(ending: str) -> NDArray[np.float32]:
            return np.stack([_floats(table[f"{rank}_{ending}"]) for rank in RANKS], axis=1)

        return cls(
            tuple(fitted[rank] for rank in RANKS),
            fitted["novelty"],
            matrix("probability"),
            matrix("right"),
            _floats(table["novel"]),
            table["processid"].to_pylist(),
        )


UNLABELLED, ABSENT = -1, -2
"""In the place of a label: there is none, or the library does not have it."""


def known_labels(specimens: Dataset, taxa: Mapping[str, Sequence[str | None]]) -> NDArray[np.int64]:
    """Labels of specimens as places in the names of a library, (N, ranks); `UNLABELLED` or `ABSENT` for others."""
    labels = np.full((len(specimens), len(RANKS)), UNLABELLED)
    for place, rank in enumerate(RANKS):
        places = {name: number for number, name in enumerate(taxa[rank])}
        names = specimens[rank][:]
        labels[:, place] = [places.get(name, ABSENT) if name else UNLABELLED for name in names]
    return labels


def _nullable(values: NDArray[np.float32], dtype: pa.DataType) -> pa.Array:
    missing = np.isnan(values)
    return pa.array(np.where(missing, 0, values), pa.float32(), mask=missing).cast(dtype)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    values = column.cast(pa.float32()).to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float32)
