"""The data of the benchmark of clustering are shaped as it says; test_run.py runs it."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield


def test_embeddings_are_repeated_and_have_a_long_tail() -> None:
    made = import_module("clustering_data").made_embeddings(2000, 1, width=20)
    assert made.vectors.shape == (2000, 20) and made.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(made.vectors, axis=1), 1, atol=1e-6)
    distinct, barcodes = np.unique(made.vectors, axis=0, return_inverse=True)
    assert len(distinct) == round(2000 * 21763 / 47260)
    # Equal vectors are of one species.
    assert len(np.unique(np.stack([barcodes, made.species]), axis=1).T) == len(distinct)
    sizes = np.sort(np.bincount(made.species))[::-1]
    assert len(sizes) == round(2000 * 4363 / 47260) and sizes.min() >= 1
    assert sizes[: len(sizes) // 10].sum() > 2 * sizes[-len(sizes) // 2 :].sum()
    again, other = (import_module("clustering_data").made_embeddings(2000, seed, width=20) for seed in (1, 2))
    np.testing.assert_array_equal(again.vectors, made.vectors)
    assert not np.allclose(other.vectors, made.vectors)
