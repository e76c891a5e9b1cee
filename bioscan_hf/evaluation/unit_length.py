"""Vectors of length 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale vectors (N, D) to length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
