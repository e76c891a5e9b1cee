from collections import Counter
from collections.abc import Mapping
from itertools import product

import pytest
from datasets import Dataset, concatenate_datasets

from bioscan_hf.data import statistics as module
from bioscan_hf.data.features import COLUMN_NAMES, RANKS, SPLIT_NAMES, bioscan_features
from bioscan_hf.data.release import PUBLISHED
from bioscan_hf.data.statistics import compute_statistics


def made(*rows: Mapping[str, object]) -> Dataset:
    """Specimens with the given values and null elsewhere."""
    filled = [{**dict.fromkeys(COLUMN_NAMES), "processid": f"X{i}", **row} for i, row in enumerate(rows)]
    return Dataset.from_list(filled, features=bioscan_features(image=False))


def test_counts_are_those_of_a_naive_count(sample: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_AT_A_TIME", 700)
    rows = sample.to_list()
    found = compute_statistics(sample)
    assert found.specimens == len(rows)
    for split in found.splits:
        own = [row for row in rows if row["split"] == split.split]
        assert split.specimens == len(own) and split.published is None
        assert split.barcodes == len({row["dna_barcode"] for row in own})
        assert split.species == len({row["species"] for row in own} - {None})
    assert [split.split for split in found.splits] == list(SPLIT_NAMES)
    assert [rank.rank for rank in found.ranks] == [*RANKS, "dna_bin", "dna_barcode"]
    for rank in found.ranks:
        sizes = Counter(row[rank.rank] for row in rows if row[rank.rank])
        assert (rank.categories, rank.labelled) == (len(sizes), sizes.total())
        assert rank.missing == len(rows) - rank.labelled
        assert rank.labelled_percent == pytest.approx(100 * rank.labelled / len(rows))
        assert rank.imbalance_ratio == pytest.approx(max(sizes.values()) / min(sizes.values()))
        assert rank.category_sizes == sorted(Counter(sizes.values()).items(), reverse=True)
    assert found.barcodes.lengths == sorted(Counter(len(row["dna_barcode"]) for row in rows).items())
    assert found.barcodes.with_n == sum("N" in row["dna_barcode"] for row in rows)
    assert found.barcodes.with_other_letters == sum(bool(set(row["dna_barcode"]) - set("ACGTN")) for row in rows)
    assert dict(found.countries) == Counter(row["country"] for row in rows)
    taxa = Counter((row["class"], row["order"], row["family"]) for row in rows)
    assert {tuple(names): count for *names, count in found.taxa} == taxa
    assert [taxon[3] for taxon in found.taxa] == sorted(taxa.values(), reverse=True)


def test_missing_values_are_counted_as_missing() -> None:
    found = compute_statistics(made({"dna_barcode": None}, {"dna_barcode": "ACGT"}))
    assert [(split.split, split.specimens, split.barcodes, split.species) for split in found.splits] == [
        (None, 2, 1, 0)
    ]
    species, barcode = found.ranks[6], found.ranks[8]
    assert (species.categories, species.missing, species.imbalance_ratio, species.category_sizes) == (0, 2, None, [])
    assert (barcode.categories, barcode.missing) == (1, 1)
    assert found.countries == [(None, 2)] and found.taxa == [(None, None, None, 2)] and found.places == []


def test_places_are_cells_of_one_degree() -> None:
    coordinates = [(0.0, 0.0), (0.9, 0.9), (-0.1, 0.5), (90.0, 180.0), (-90.0, -180.0), (91.0, 0.0), (None, 3.0)]
    found = compute_statistics(made(*({"coord-lat": y, "coord-lon": x, "dna_barcode": "A"} for y, x in coordinates)))
    assert found.places == [(-89.5, -179.5, 1), (-0.5, 0.5, 1), (0.5, 0.5, 2), (89.5, 179.5, 1)]


@pytest.mark.parametrize(
    ("barcode", "with_n", "with_other"),
    [("ACGT", 0, 0), ("N", 1, 0), ("ACNGT", 1, 0), ("ARC", 0, 1), ("RNA", 1, 1), ("AC", 0, 0), ("", 0, 0)],
)
def test_unusual_letters_are_found(barcode: str, with_n: int, with_other: int) -> None:
    found = compute_statistics(made({"dna_barcode": barcode}, {"dna_barcode": "ACGT"})).barcodes
    assert (found.with_n, found.with_other_letters) == (with_n, with_other)


def test_order_of_rows_and_parts_do_not_matter(sample: Dataset) -> None:
    some = sample.select(range(0, len(sample), 7))
    parts = [some.filter(lambda row, split=split: row["split"] == split) for split in reversed(SPLIT_NAMES)]
    assert compute_statistics(concatenate_datasets(parts)) == compute_statistics(some.shuffle(seed=0))


def test_published_sizes_stand_beside_their_splits_and_progress_is_reported() -> None:
    rows = made(*({"split": split, "dna_barcode": "A" * n} for n, split in product((1, 2), ("val", "train"))))
    reports: list[int] = []
    found = compute_statistics(rows, published=PUBLISHED, report=reports.append)
    assert [(split.split, split.published) for split in found.splits] == [
        ("train", PUBLISHED["train"]),
        ("val", PUBLISHED["val"]),
    ]
    assert sum(reports) == 4


def test_empty_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no specimens"):
        compute_statistics(made({"dna_barcode": "A"}).select([]))
