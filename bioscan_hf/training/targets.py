"""The taxa that a classifier learns, and the labels of specimens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from bioscan_hf.data.taxon_tree import TaxonTree

LABELS = "labels"
UNLABELLED = -1
UNKNOWN = -2
"""Label of a specimen with a name that the classifier does not know: it is always wrong about it."""


@dataclass(frozen=True)
class Targets:
    """Taxa at one rank, or at several.

    Attributes:
        ranks: From broad to fine.
        tree: The taxa.
    """

    ranks: tuple[str, ...]
    tree: TaxonTree

    @classmethod
    def of(cls, specimens: Dataset, ranks: Sequence[str]) -> Targets:
        """The taxa of the specimens that a classifier is trained on.

        Raises:
            ValueError: If no specimen has a name, or all have the same one.
        """
        for rank in ranks:
            names = {name for name in specimens.unique(rank) if name}
            if not names:
                raise ValueError(
                    f"None of the {len(specimens):,} specimens to train on has a name in the column {rank!r}. Choose "
                    "another `rank`, or other specimens by `train_split`."
                )
        tree = TaxonTree.of(specimens, ranks)
        if all(len(tree.taxa[rank]) == 1 for rank in ranks):
            only = {rank: tree.taxa[rank][0] for rank in ranks}
            raise ValueError(f"All specimens to train on have the same label, {only}: there is nothing to learn.")
        return cls(tuple(ranks), tree)

    def label(self, specimens: Dataset, *, only_labelled: bool = False, known: bool = True) -> Dataset:
        """Add the column `labels`: an index for one rank, else one for each.

        Args:
            specimens: With a column per rank.
            only_labelled: Whether to leave out specimens without a label at any rank.
            known: Whether a name that the classifier does not know is no label; else it is `UNKNOWN`.
        """
        labels = self.tree.labels(specimens)
        if not known:
            for i, rank in enumerate(self.ranks):
                column = specimens.with_format("arrow")[:][rank].cast(pa.string())
                named = pc.fill_null(pc.not_equal(column, ""), False).to_numpy(zero_copy_only=False)
                labels[:, i] = np.where(named & (labels[:, i] == UNLABELLED), UNKNOWN, labels[:, i])
        values = labels[:, 0].tolist() if len(self.ranks) == 1 else labels.tolist()
        labelled = specimens.add_column(LABELS, values)
        if only_labelled:
            labelled = labelled.select(np.flatnonzero((labels != UNLABELLED).any(axis=1)))
        return labelled

    def as_config(self) -> dict[str, Any]:
        """Fields of `BarcodeBertConfig`."""
        if len(self.ranks) > 1:
            return self.tree.as_config()
        names = self.tree.taxa[self.ranks[0]]
        return {
            "id2label": dict(enumerate(names)),
            "label2id": {name: i for i, name in enumerate(names)},
            **dict.fromkeys(("ranks", "taxa", "lineages")),
        }
