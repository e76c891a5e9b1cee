import numpy as np
import pytest
from numpy.typing import NDArray

from bioscan_hf.identification import metric as module
from bioscan_hf.identification.letters import UNKNOWN
from bioscan_hf.identification.metric import Metric


def made_columns(count: int, width: int = 60, *, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Barcodes of genera, which differ in some columns between, and in others within genera; and their genera."""
    draw = np.random.default_rng(seed)
    groups = draw.integers(0, max(2, count // 8), count)
    columns = np.tile(draw.integers(0, 4, width), (count, 1))
    between = width // 3
    columns[:, :between] = draw.integers(0, 4, (groups.max() + 1, between))[groups]
    noisy = draw.random((count, between)) < 0.4
    columns[:, between : 2 * between][noisy] = draw.integers(0, 4, noisy.sum())
    columns[draw.random(columns.shape) < 0.05] = UNKNOWN
    return columns.astype(np.uint8), groups


def naive_cosines(
    columns: NDArray[np.uint8], groups: NDArray[np.int64], queries: NDArray[np.uint8], dimension: int
) -> NDArray[np.float64]:
    """Cosines of queries with each other, as the definition has them, letter by letter."""
    count, width = columns.shape
    letters = [(column, base) for column in range(width) for base in range(4)]

    def centred(rows: NDArray[np.uint8]) -> NDArray[np.float64]:
        values = np.zeros((len(rows), len(letters)))
        for place, (column, base) in enumerate(letters):
            known = columns[:, column] != UNKNOWN
            mean = (columns[known, column] == base).mean() if known.any() else 0
            own = rows[:, column]
            values[:, place] = np.where(own == UNKNOWN, 0, (own == base) - mean)
        return values

    seen = np.array([(columns[:, column] == base).sum() for column, base in letters])
    of_all = np.array([(columns[:, column] != UNKNOWN).sum() for column, _ in letters])
    used = (seen >= min(3, 1 + count // 10)) & (seen < of_all)
    rows = centred(columns)[:, used]
    own = [rows[groups == group] for group in set(groups.tolist()) - {-1} if (groups == group).sum() > 1]
    weights = np.eye(rows.shape[1])
    if own:
        within = np.concatenate([part - part.mean(axis=0) for part in own])
        covariance = within.T @ within / len(within)
        covariance += 0.1 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        values, directions = np.linalg.eigh(covariance)
        weights = directions @ np.diag(values**-0.25) @ directions.T
    scaled = rows @ weights
    _, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    vectors = centred(queries)[:, used] @ weights @ directions[:, -dimension:]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors @ vectors.T)


@pytest.mark.parametrize(("count", "dimension"), [(400, 12), (400, 1), (60, 12), (25, 6)])
def test_cosines_are_those_of_the_definition(count: int, dimension: int) -> None:
    columns, groups = made_columns(count)
    groups[: count // 10] = -1
    queries, _ = made_columns(30, seed=0)
    vectors = Metric.learn(columns, groups, dimension=dimension).vectors(queries)
    assert vectors.shape == (30, dimension)
    np.testing.assert_allclose(vectors @ vectors.T, naive_cosines(columns, groups, queries, dimension), atol=2e-3)


def test_without_groups_of_several_only_the_principal_components() -> None:
    columns, _ = made_columns(300)
    none, alone = np.full(300, -1), np.arange(300)
    tables = [Metric.learn(columns, groups, dimension=8).table for groups in (none, alone)]
    assert (tables[0] == tables[1]).all()
    vectors = Metric(tables[0]).vectors(columns[:30])
    np.testing.assert_allclose(vectors @ vectors.T, naive_cosines(columns, none, columns[:30], 8), atol=2e-3)


def test_what_varies_within_genera_counts_less() -> None:
    columns, groups = made_columns(600)
    columns[columns == UNKNOWN] = 0
    metric = Metric.learn(columns, groups)
    between, within = columns[:50].copy(), columns[:50].copy()
    other = np.random.default_rng(1).permutation(600)[:50]
    between[:, :20], within[:, 20:40] = columns[other, :20], columns[other, 20:40]
    own, of_others, of_relatives = (metric.vectors(each) for each in (columns[:50], between, within))
    assert (own * of_relatives).sum(axis=1).mean() > (own * of_others).sum(axis=1).mean() + 0.3


def test_vectors_are_of_length_one_or_zero_where_nothing_is_known() -> None:
    columns, groups = made_columns(100)
    columns[7] = UNKNOWN
    vectors = Metric.learn(columns, groups, dimension=10).vectors(columns)
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths[7] == 0
    np.testing.assert_allclose(np.delete(lengths, 7), 1, atol=1e-5)


def test_vectors_do_not_depend_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    columns, groups = made_columns(100)
    metric = Metric.learn(columns, groups, dimension=10)
    whole = metric.vectors(columns)
    np.testing.assert_allclose(np.concatenate([metric.vectors(row[None]) for row in columns]), whole, atol=1e-5)
    monkeypatch.setattr(module, "_BATCH", 7)
    np.testing.assert_allclose(metric.vectors(columns), whole, atol=1e-5)
    assert metric.vectors(columns[:0]).shape == (0, 10)


def test_an_unknown_letter_adds_nothing() -> None:
    columns, groups = made_columns(100)
    metric = Metric.learn(columns, groups, dimension=10)
    rows = columns[:20]
    sums = [sum(metric.table[i, code] for i, code in enumerate(row) if code != UNKNOWN) for row in rows.tolist()]
    expected = np.array(sums) / np.linalg.norm(sums, axis=1, keepdims=True)
    np.testing.assert_allclose(metric.vectors(rows), expected, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12])
def test_learnt_from_few(count: int) -> None:
    columns = np.random.default_rng(0).integers(0, 4, (count, 600)).astype(np.uint8)
    metric = Metric.learn(columns, np.arange(count))
    cosines = metric.vectors(columns) @ metric.vectors(columns).T
    assert metric.dimension == count
    assert np.isfinite(cosines).all()
    if count > 1:  # with one, there is nothing to compare by
        np.testing.assert_allclose(cosines.diagonal(), 1, atol=1e-4)
        assert (cosines - 2 * np.eye(count)).max() < 0.5


@pytest.mark.parametrize(("count", "sites"), [(1000, 12), (200, 1), (40, 0)])
def test_learnt_from_barcodes_that_hardly_vary(count: int, sites: int) -> None:
    draw = np.random.default_rng(0)
    columns = np.tile(draw.integers(0, 4, 200), (count, 1)).astype(np.uint8)
    columns[:, :sites] = draw.integers(0, 4, (count, sites))
    metric = Metric.learn(columns, draw.integers(0, count // 5, count))
    assert metric.dimension == max(1, 4 * sites)
    vectors = metric.vectors(columns)
    assert np.isfinite(vectors).all()
    if sites:
        assert (vectors @ vectors[0] > 0.999).tolist() == (columns == columns[0]).all(axis=1).tolist()


def test_learning_is_repeatable_and_of_so_many_barcodes(monkeypatch: pytest.MonkeyPatch) -> None:
    columns, groups = made_columns(200)
    assert (Metric.learn(columns, groups).table == Metric.learn(columns, groups).table).all()
    monkeypatch.setattr(module, "_LEARNT_FROM", 50)
    chosen = np.sort(np.random.default_rng(0).permutation(200)[:50])
    fewer = Metric.learn(columns, groups)
    assert (fewer.table == Metric.learn(columns[chosen], groups[chosen]).table).all()


def test_no_barcodes() -> None:
    with pytest.raises(ValueError, match="A metric needs barcodes"):
        Metric.learn(np.empty((0, 60), np.uint8), [])
