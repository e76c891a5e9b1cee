"""Against a naive definition, on random tables of labels with homonyms and gaps."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from bioscan_hf import BarcodeBertConfig, TaxonTree

RANKS = ("order", "family", "genus", "species")
# Few names: the same one at several places of the tree, and now and then at two ranks.
ROW = st.tuples(*[st.sampled_from([None, "", *(f"{rank} {i}" for i in range(3)), "Homonym"]) for rank in RANKS])
TABLES = st.lists(ROW, min_size=1, max_size=25).filter(lambda rows: any(any(row) for row in rows))


def specimens(rows: Sequence[tuple[str | None, ...]], ranks: tuple[str, ...] = RANKS) -> Dataset:
    columns = list(zip(*rows, strict=True))
    return Dataset.from_dict({rank: list(column) for rank, column in zip(ranks, columns, strict=True)})


def naive_lineages(rows: Sequence[tuple[str | None, ...]]) -> dict[tuple[int, str], tuple[int, ...]]:
    """For each taxon, the places in its lineage of all ranks, by climbing from parent to parent."""
    votes: Counter[tuple[int, str, int, str]] = Counter()
    taxa = {(i, name) for row in rows for i, name in enumerate(row) if name}
    for row in rows:
        present = [(i, name) for i, name in enumerate(row) if name]
        votes.update((*child, *parent) for parent, child in pairwise(present))
    names = [sorted(name for place, name in taxa if place == i) for i in range(len(RANKS))]
    lineages = {}
    for taxon in taxa:
        lineage = [-1] * len(RANKS)
        step: tuple[int, str] | None = taxon
        while step:
            lineage[step[0]] = names[step[0]].index(step[1])
            given = [(-vote[2], -count, vote[3]) for vote, count in votes.items() if vote[:2] == step]
            step = (-min(given)[0], min(given)[2]) if given else None
        lineages[taxon] = tuple(lineage)
    return lineages


@settings(max_examples=50, deadline=None)
@given(TABLES, st.randoms(use_true_random=False))
def test_random_tables(rows: Sequence[tuple[str | None, ...]], shuffle: random.Random) -> None:
    tree = TaxonTree.of(specimens(rows))
    lineages = naive_lineages(rows)
    assert tree.taxa == {rank: sorted(n for i, n in lineages if RANKS[i] == rank) for rank in RANKS}
    # Leaves are the taxa that are in no other taxon's lineage.
    inner = {
        (i, tree.taxa[RANKS[i]][j])
        for taxon, lineage in lineages.items()
        for i, j in enumerate(lineage)
        if j >= 0 and i != taxon[0]
    }
    assert sorted(map(tuple, tree.lineages)) == sorted(lineages[taxon] for taxon in set(lineages) - inner)
    BarcodeBertConfig(**tree.as_config())

    labels = tree.labels(specimens(rows))
    expected = [
        next((lineages[i, name] for i, name in reversed(list(enumerate(row))) if name), (-1,) * len(RANKS))
        for row in rows
    ]
    np.testing.assert_array_equal(labels, expected)

    shuffled = list(rows)
    shuffle.shuffle(shuffled)
    assert TaxonTree.of(specimens(shuffled)) == tree


def test_genus_without_a_species_is_no_leaf_where_others_have_one() -> None:
    data = specimens([("O", "F", "G", "G a"), ("O", "F", "G", None), ("O", "F", "H", None), ("O", None, None, None)])
    tree = TaxonTree.of(data)
    assert tree.lineages == [[0, 0, 0, 0], [0, 0, 1, -1]]
    assert tree.labels(data).tolist() == [[0, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, -1], [0, -1, -1, -1]]


def test_missing_ranks_are_filled_from_other_specimens() -> None:
    data = specimens(
        [("O", "F", "G", "G a"), ("O", None, None, "G a"), (None, None, None, "G a"), ("P", None, "G", "")]
    )
    tree = TaxonTree.of(data)
    assert tree.labels(data).tolist() == [[0, 0, 0, 0]] * 3 + [[0, 0, 0, -1]]
    assert tree.taxa["order"] == ["O", "P"] and [1, -1, -1, -1] in tree.lineages


def test_homonyms_belong_where_most_specimens_have_them() -> None:
    rows = [("O", "F", "G", None)] * 2 + [("P", "E", "G", None)] * 3
    assert TaxonTree.of(specimens(rows)).labels(specimens(rows)).tolist() == [[1, 0, 0, -1]] * 5
    tied = [("O", "F", "G", None), ("P", "E", "G", None)]
    assert TaxonTree.of(specimens(tied)).labels(specimens(tied))[0].tolist() == [1, 0, 0, -1], "the first by name"


def test_unknown_names_have_no_label() -> None:
    tree = TaxonTree.of(specimens([("O", "F", "G", "G a")]))
    others = specimens(
        [("O", "F", "G", "G new"), ("O", "X", "Y", "Y z"), ("X", "X", "X", "X x"), (None, "", None, None)]
    )
    assert tree.labels(others).tolist() == [[0, 0, 0, -1], [0, -1, -1, -1], [-1] * 4, [-1] * 4]


def test_rows_may_be_selected_and_columns_may_be_empty() -> None:
    data = specimens([("O", None, "G", None), ("P", None, "H", None), ("O", None, "I", None)]).select([2, 0])
    tree = TaxonTree.of(data)
    assert tree.taxa == {"order": ["O"], "family": [], "genus": ["G", "I"], "species": []}
    assert tree.labels(data).tolist() == [[0, -1, 1, -1], [0, -1, 0, -1]]
    BarcodeBertConfig(**tree.as_config())


def test_simulated_specimens(sample: Dataset) -> None:
    tree = TaxonTree.of(sample)
    labels = tree.labels(sample)
    for i, rank in enumerate(tree.ranks):
        names = np.array([name or None for name in sample[rank]], dtype=object)
        found = np.array([*tree.taxa[rank], None], dtype=object)[labels[:, i]]
        assert (found[names != None] == names[names != None]).all()  # noqa: E711 (element by element)
    BarcodeBertConfig(**tree.as_config())


@pytest.mark.parametrize("ranks", [(), ("species", "genus"), ("genus", "kind"), ("genus", "genus")])
def test_other_ranks_are_refused(ranks: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="`ranks` must be some of"):
        TaxonTree.of(specimens([("O", "F", "G", "S")]), ranks)


def test_specimens_without_names_are_refused() -> None:
    with pytest.raises(ValueError, match="None of the specimens has a label"):
        TaxonTree.of(specimens([(None, "", None, "")]))
    data = specimens([("O", "F", "G", "S")])
    coded = data.cast_column("genus", ClassLabel(names=["G"]))
    for table, rank in ((coded, "genus"), (data.remove_columns("family"), "family")):
        with pytest.raises(ValueError, match=rf"column of names \(text\).*'{rank}'"):
            TaxonTree.of(table)
        with pytest.raises(ValueError, match=rf"column of names \(text\).*'{rank}'"):
            TaxonTree.of(data).labels(table)
