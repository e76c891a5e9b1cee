import numpy as np
import pytest
from numpy.typing import NDArray

from bioscan_hf.identification import packed
from bioscan_hf.identification.letters import UNKNOWN
from bioscan_hf.identification.packed import identities, known_letters, pack


def made_columns(count: int, width: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Related barcodes, of which some know little."""
    draw = np.random.default_rng(seed)
    columns = np.tile(draw.integers(0, 4, width), (count, 1))
    changed = draw.random(columns.shape) < draw.uniform(0, 1, (count, 1))
    columns[changed] = draw.integers(0, 4, changed.sum())
    columns[draw.random(columns.shape) < draw.uniform(0, 0.8, (count, 1))] = UNKNOWN
    return columns.astype(np.uint8)


def naive_identity(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    pairs = [(a, b) for a, b in zip(one.tolist(), other.tolist(), strict=True) if UNKNOWN not in (a, b)]
    return sum(a == b for a, b in pairs) / len(pairs) if len(pairs) >= 50 else 0


@pytest.mark.parametrize("width", [1, 50, 63, 64, 65, 128, 300])
def test_identity_is_the_share_of_equal_letters(width: int) -> None:
    queries, keys = made_columns(6, width), made_columns(9, width, seed=1)
    keys[:2] = queries[:2]
    found = np.random.default_rng(2).integers(0, 9, (6, 4))
    found[:2, 0] = [0, 1]
    expected = [[naive_identity(queries[row], keys[key]) for key in found[row]] for row in range(6)]
    result = identities(pack(queries), pack(keys), found)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert width < 300 or len(np.unique(result)) > 10


@pytest.mark.parametrize(("shared", "expected"), [(49, 0), (50, 0.9)])
def test_too_few_letters_say_nothing(shared: int, expected: float) -> None:
    one = np.zeros((1, 200), np.uint8)
    one[:, shared:] = UNKNOWN
    other = np.zeros((1, 200), np.uint8)
    other[:, :5] = 1
    assert identities(pack(one), pack(other), np.array([[0]])) == pytest.approx(expected)


def test_many_comparisons_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = pack(made_columns(20, 200))
    found = np.random.default_rng(0).integers(0, 20, (20, 5))
    whole = identities(letters, letters, found)
    monkeypatch.setattr(packed, "_AT_A_TIME", 7)
    assert (identities(letters, letters, found) == whole).all()


def test_known_letters() -> None:
    columns = made_columns(8, 130)
    assert known_letters(pack(columns)).tolist() == (columns != UNKNOWN).sum(axis=1).tolist()


def test_no_barcodes() -> None:
    letters = pack(np.empty((0, 130), np.uint8))
    assert letters.shape == (0, 3, 3) and letters.dtype == np.uint64
    assert known_letters(letters).shape == (0,)
    assert identities(letters, pack(made_columns(3, 130)), np.empty((0, 2), np.int64)).shape == (0, 2)
