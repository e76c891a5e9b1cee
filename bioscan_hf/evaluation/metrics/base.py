"""What the metrics of this folder share: they work in memory, describe themselves, and know what has no label."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import evaluate
import numpy as np
from datasets import Features
from numpy.typing import ArrayLike, NDArray

UNLABELLED = -1
"""The label of a specimen without one."""


class InMemoryMetric(evaluate.Metric, ABC):
    """A metric whose class holds its description: the docstring's first paragraph, and the rest for its inputs.

    It is abstract, as `evaluate.load` takes the first metric of a file that is not.

    Attributes:
        FEATURES: The inputs, or a list of alternatives.
        CITATION: Where the metric comes from, as BibTeX; empty where there is no one source.
    """

    FEATURES: ClassVar[Features | list[Features]]
    CITATION: ClassVar[str] = ""

    def __init__(self, **kwargs: Any) -> None:
        # In memory: no files in the user's cache for some thousand integers.
        super().__init__(**{"keep_in_memory": True, **kwargs})

    def _info(self) -> evaluate.MetricInfo:
        description, _, inputs = inspect.cleandoc(type(self).__doc__ or "").partition("\n\n")
        return evaluate.MetricInfo(
            description=description, citation=self.CITATION, inputs_description=inputs, features=self.FEATURES
        )

    @abstractmethod
    def _compute(self, *args: Any, **kwargs: Any) -> dict[str, float]: ...


def integer_labels(labels: ArrayLike, name: str) -> NDArray[np.int64]:
    """Turn labels into an array.

    Args:
        labels: (N,) or (N, K) integers.
        name: What they are called in the message.

    Raises:
        ValueError: If rows differ in length, or something is no number.
    """
    try:
        return np.asarray(labels, dtype=np.int64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must be integers or booleans, as many for each specimen; a missing label is {UNLABELLED} "
            f"({error})."
        ) from error


def label_rows(labels: ArrayLike, name: str) -> NDArray[np.int64]:
    """Turn labels into an array (N, K); a single label per specimen, (N,), becomes (N, 1).

    Raises:
        ValueError: See `integer_labels`.
    """
    rows = integer_labels(labels, name)
    return rows if rows.ndim == 2 else rows[:, None]


def labelled(references: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which specimens have a label.

    Args:
        references: (N,), or (N, R) of which one label is enough; -1 is none.

    Returns:
        (N,).

    Raises:
        ValueError: If none has.
    """
    known = references != UNLABELLED
    known = known.any(axis=1) if known.ndim == 2 else known
    if not known.any():
        raise ValueError(f"Expected at least one labelled reference; all {len(known)} are {UNLABELLED} (no label).")
    return known


def check_depths(k: Sequence[int], candidates: int) -> None:
    """Refuse depths that the candidates do not reach.

    Args:
        k: Depths.
        candidates: How many there are for each specimen.

    Raises:
        ValueError: If a depth is below 1 or above `candidates`.
    """
    for depth in k:
        if not 1 <= depth <= candidates:
            raise ValueError(f"`k` must lie between 1 and {candidates}, the candidates of a specimen; got {depth}.")
