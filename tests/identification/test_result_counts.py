from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.result_counts import KINDS_OF_NOTES, OTHER_NOTES, ResultCounts
from tests.made_results import made_results, rows


def counts_of(results: pa.Table, batch: int = 97) -> ResultCounts:
    counts = ResultCounts()
    for start in range(0, len(results), batch):
        counts.add(results.slice(start, batch))
    return counts


@pytest.fixture(scope="module")
def results() -> pa.Table:
    return made_results(1500)


def test_counts_are_those_of_a_naive_count(results: pa.Table) -> None:
    counts, records = counts_of(results), results.to_pylist()
    assert counts.queries == 1500
    assert counts.named == sum(any(row[rank] for rank in RANKS) for row in records)
    assert counts.rated == counts.named > 0
    assert counts.novel == sum(row["novel"] or False for row in records) > 0
    assert counts.noted == sum(row["notes"] is not None for row in records) > 0
    assert counts.safe_ranks == Counter(row["safe_rank"] for row in records)
    assert counts.evidence == Counter(row["evidence"] for row in records)
    assert counts.notes == Counter(note for row in records for note in (row["notes"] or "").split("; ") if note)
    novelty = [row["novelty"] for row in records if row["novelty"] is not None]
    assert counts.novelty.tolist() == np.histogram(novelty, 20, (0, 1))[0].tolist()
    identity = [row["nearest_identity"] for row in records if row["nearest_identity"] is not None]
    assert counts.identity.tolist() == np.histogram(identity, [*np.arange(101) / 100, 1.01])[0].tolist()
    sites = [(row["coord-lat"], row["coord-lon"]) for row in records if row["coord-lat"] is not None]
    cells = Counter((np.floor(latitude) + 0.5, np.floor(longitude) + 0.5) for latitude, longitude in sites)
    assert {(latitude, longitude): count for latitude, longitude, count in counts.places()} == cells


def test_taxa_are_those_of_a_naive_count(results: pa.Table) -> None:
    counts, records = counts_of(results), results.to_pylist()
    found: dict[tuple[str, str], list[float]] = {}
    tree: Counter[tuple[str | None, ...]] = Counter()
    for row in records:
        safe = RANKS[: RANKS.index(row["safe_rank"]) + 1] if row["safe_rank"] else ()
        tree[tuple(row[rank] if rank in safe else None for rank in ("class", "order", "family"))] += 1
        if safe:
            found.setdefault((row["safe_taxon"], row["safe_rank"]), []).append(row["nearest_identity"])
    assert {(*names, count) for *names, count in counts.tree()} == {(*names, count) for names, count in tree.items()}
    taxa = counts.taxa()
    assert [taxon.queries for taxon in taxa] == sorted(map(len, found.values()), reverse=True)
    for taxon in taxa:
        assert taxon.queries == len(found[taxon.name, taxon.rank])
        assert taxon.identity == pytest.approx(np.mean(found[taxon.name, taxon.rank]))


def test_identity_of_whole_percents_is_not_rounded_away() -> None:
    hundredths = [{"nearest_identity": hundredth / 100, "novelty": hundredth / 100} for hundredth in range(101)]
    counts = counts_of(rows(*hundredths))
    assert counts.identity.tolist() == [1] * 101
    assert counts.novelty.tolist() == [5] * 19 + [6]  # 1 has no interval of its own


def test_names_below_the_safe_rank_are_not_counted() -> None:
    names = dict(zip(RANKS, ("p", "c", "o", "f", None, "g", "g s"), strict=True))
    counts = counts_of(rows({**names, "safe_rank": "order", "safe_taxon": "o"}, {**names, "safe_rank": None}, {}))
    assert counts.tree() == [(None, None, None, 2), ("c", "o", None, 1)]
    assert [taxon[:3] for taxon in counts.taxa()] == [("o", "order", 1)] and counts.taxa()[0].identity is None


def test_notes_that_differ_in_numbers_are_one_kind() -> None:
    notes = [f"the barcode has 'E' at position {i}, expected ACGT; stop codon" for i in range(2000)]
    notes += [f"the barcode has {i},540.5 letters" for i in range(10)]
    counts = counts_of(rows(*({"notes": note} for note in notes)))
    assert counts.notes == {
        "the barcode has … at position …, expected ACGT": 2000,
        "stop codon": 2000,
        "the barcode has … letters": 10,
    }
    assert counts.noted == 2010


def test_endless_kinds_of_notes_do_not_fill_the_memory() -> None:
    letters = [chr(ord("a") + i // 26) + chr(ord("a") + i % 26) for i in range(26 * 26)]
    counts = counts_of(rows(*({"notes": note} for note in letters)))
    assert len(counts.notes) <= KINDS_OF_NOTES + 1
    assert counts.notes[OTHER_NOTES] == len(letters) - KINDS_OF_NOTES and sum(counts.notes.values()) == len(letters)
