from collections import Counter
from functools import cache

import numpy as np
import pytest

from bioscan_hf.app.taxa import COLOURS, LibraryTaxa
from bioscan_hf.identification.library import Library
from tests.identification.made_library import library, specimens, with_column, without

TAXA = LibraryTaxa(library())
ROWS = [
    dict(zip(("class", "order", "family", "genus", "species"), names, strict=True))
    for names in zip(
        *(specimens("train")[rank][:] for rank in ("class", "order", "family", "genus", "species")), strict=True
    )
]


@cache
def built(*without_ranks: str) -> LibraryTaxa:
    return LibraryTaxa(Library.build(without(specimens("train", 12), *without_ranks)))


def test_counts_below_are_those_of_the_specimens() -> None:
    naive = Counter((row["class"], row["order"], row["family"]) for row in ROWS)
    assert {(a, b, c): count for a, b, c, count in TAXA.below(())} == naive
    order = ROWS[0]["order"]
    naive = Counter((row["family"], row["genus"], row["species"]) for row in ROWS if row["order"] == order)
    assert {(a, b, c): count for a, b, c, count in TAXA.below((ROWS[0]["class"], order))} == naive


def test_below_a_genus_there_are_species_only() -> None:
    path = tuple(ROWS[0].values())[:4]
    naive = Counter(row["species"] for row in ROWS if row["genus"] == path[3])
    assert TAXA.below(path) == [(name, None, None, count) for name, count in sorted(naive.items())]


def test_keys_inside_a_taxon() -> None:
    names = [ROWS[row]["family"] for row in library().keys.first.tolist()]
    path = tuple(ROWS[0].values())[:3]
    assert TAXA.inside(path).tolist() == [name == path[2] for name in names]
    assert TAXA.specimens(TAXA.inside(path)) == sum(row["family"] == path[2] for row in ROWS)
    assert TAXA.inside(()).all()


def test_the_most_frequent_taxa() -> None:
    everything = TAXA.inside(())
    naive = Counter(row["family"] for row in ROWS)
    found = TAXA.frequent("family", everything)
    assert len(found) == len(COLOURS) == 12 and [taxon.colour for taxon in found] == list(COLOURS)
    assert [taxon.specimens for taxon in found] == sorted(naive.values(), reverse=True)[:12]
    assert all(naive[taxon.name] == taxon.specimens for taxon in found)
    assert all(library().taxa["family"][taxon.label] == taxon.name for taxon in found)
    one = TAXA.frequent("class", TAXA.inside((ROWS[0]["class"],)))
    assert [taxon.name for taxon in one] == [ROWS[0]["class"]]


@pytest.mark.parametrize("wrong", ["Nothing", "", "Simulecta"])
def test_a_path_ends_where_the_library_has_no_more(wrong: str) -> None:
    path = tuple(ROWS[0].values())[:2]
    assert TAXA.known([*path, wrong, "Nothing"]) == path and TAXA.known(path) == path
    assert TAXA.known([wrong, *path]) == (() if wrong != "Simulecta" else ("Simulecta",))
    assert TAXA.known([*ROWS[0].values(), wrong]) == tuple(ROWS[0].values())


def test_equal_names_in_two_families_are_told_apart() -> None:
    some = specimens("train", 12)
    twins = with_column(without(some, "species", "subfamily"), "genus", ["Twin"] * 12)
    taxa = LibraryTaxa(Library.build(twins))
    inside = [
        taxa.inside(taxa.known(names))
        for names in zip(*(some[rank] for rank in ("class", "order", "family")), ["Twin"] * 12, strict=True)
    ]
    # The tree knows one lineage for each name.
    assert np.any(inside, axis=0).all()


def test_libraries_without_some_ranks() -> None:
    assert TAXA.ranks == ("class", "order", "family", "genus", "species") and "subfamily" in TAXA.named
    assert built("order").ranks == ("class", "family", "genus", "species")
    bare = built("class", "order", "family", "subfamily", "genus", "species")
    assert bare.named == bare.ranks == ("phylum",)
    assert sum(count for *_, count in bare.below(())) == 12
    naive = Counter(specimens("train", 12)["family"][:])
    assert Counter({row[1]: row[3] for row in built("order").below(()) if row[1]}) <= naive
