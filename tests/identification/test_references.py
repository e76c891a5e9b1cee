from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from bioscan_hf.data.features import COLUMN_NAMES
from bioscan_hf.data.partition import partition
from bioscan_hf.identification import references as module
from bioscan_hf.identification.keys import find_keys
from bioscan_hf.identification.references import (
    barcodes_at,
    check_apart,
    has_text,
    hold_out,
    learn_space,
    shared_names,
    usable,
)
from bioscan_hf.identification.stored import Held
from tests.identification.made_library import (
    joined,
    picture,
    specimens,
    with_barcodes,
    with_column,
    with_images,
    without,
)


def test_images_count_where_they_are_wanted() -> None:
    given = specimens("train", 4)
    given = with_barcodes(given, [given[0]["dna_barcode"], None, None, ""])
    pictured = with_images(given, [None, picture("Aus", 0), None, picture("Aus", 1)])
    assert usable(pictured, with_images=True)["processid"][:] == [given["processid"][row] for row in (0, 1, 3)]
    assert usable(pictured, with_images=False)["processid"][:] == given["processid"][:1]
    assert usable(pictured, with_images=False).column_names == list(COLUMN_NAMES)
    # The rows of a selection are not those of what it is selected from.
    some = pictured.select([3, 2, 0])
    assert usable(some, with_images=True)["processid"][:] == [given["processid"][row] for row in (3, 0)]


def test_a_gene_is_learnt_from_barcodes() -> None:
    given = with_images(with_barcodes(specimens("train", 2), [None, None]))
    with pytest.raises(ValueError, match="and a barcode; none of the 2 has both"):
        usable(given, with_images=True)
    assert len(usable(given, with_images=True, barcodes_needed=False)) == 2
    with pytest.raises(ValueError, match="none of the 2 has both"):
        usable(without(given, *COLUMN_NAMES[3:10]), with_images=True, barcodes_needed=False)


def divided(given: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """The rest, and what is held out."""
    keys = find_keys(given)
    held_out = hold_out(given, keys, seed)[keys.of_specimen]
    return given.select(np.flatnonzero(~held_out)), given.select(np.flatnonzero(held_out))


def test_nothing_is_in_both_parts() -> None:
    given = specimens("train")
    rest, held_out = divided(given, 0)
    assert sorted([*rest["processid"], *held_out["processid"]]) == sorted(given["processid"])
    assert not set(rest["dna_barcode"]) & set(held_out["dna_barcode"])
    species = [set(part["species"]) for part in (rest, held_out)]
    assert species[0] & species[1], "of some species barcodes are held out"
    assert species[1] - species[0], "others are held out as a whole"
    assert 0.1 < len(held_out) / len(given) < 0.5
    assert divided(given, 0)[1]["processid"][:] == held_out["processid"][:]
    assert divided(given, 1)[1]["processid"][:] != held_out["processid"][:]


def test_held_out_are_those_that_the_partition_tests_with() -> None:
    given = specimens("train")
    names = [name if row % 3 else None for row, name in enumerate(given["species"])]
    given = with_column(given, "species", names)
    splits = partition(given, seed=4)
    expected = [name for name, split in zip(given["processid"], splits, strict=True) if split.startswith("test")]
    assert divided(given, 4)[1]["processid"][:] == expected
    assert None in divided(given, 4)[1]["species"][:], "a specimen goes with the others of its barcode"


def test_specimens_without_barcode_are_not_held_out() -> None:
    train = specimens("train")
    for seed in range(10):
        given = train.select(np.random.default_rng(seed).permutation(len(train))[:300])
        barcodes = [("", None)[row % 4 // 2] if row % 2 else own for row, own in enumerate(given["dna_barcode"])]
        rest, held_out = divided(with_barcodes(given, barcodes), seed)
        assert rest["dna_barcode"][:].count(None) == rest["dna_barcode"][:].count("") == 75
        assert len(held_out) and all(held_out["dna_barcode"])


@pytest.mark.parametrize("rows_at_a_time", [3, 1000])
def test_barcodes_of_some_rows(rows_at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS_AT_A_TIME", rows_at_a_time)
    given = joined(specimens("train", 5), with_barcodes(specimens("test", 3), [None, "", "ACGT"]))
    for selected in (given, given.select([7, 0, 6, 2, 5])):
        for rows in ([], [0], [1, 4], list(range(len(selected)))):
            blocks = list(barcodes_at(selected, np.array(rows, np.int64)))
            assert [name for block in blocks for name in block] == [selected[row]["dna_barcode"] or "" for row in rows]
            assert all(0 < len(block) <= rows_at_a_time for block in blocks)


def test_text_is_what_is_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS_AT_A_TIME", 2)
    given: dict[str, Sequence[str | None]] = {"genus": ["Aus", "", None, "Bus", " "], "family": [None] * 5}
    for name, expected in (("genus", [True, False, False, True, True]), ("family", [False] * 5)):
        assert has_text(Dataset.from_dict(given), name).tolist() == expected
    assert has_text(Dataset(pa.table({"genus": pa.array([], pa.string())})), "genus").tolist() == []


def test_how_to_see_is_learnt_from_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    given = specimens("train", 120)
    keys = find_keys(given)
    kept = np.arange(len(keys.first)) % 2 == 0
    told: list[str] = []
    space = learn_space(given, keys, kept, None, told.append)
    alone = given.select(keys.first[kept])
    naive = learn_space(alone, find_keys(alone), np.ones(len(alone), bool), None, told.append)
    np.testing.assert_array_equal(space.profile.log_odds, naive.profile.log_odds)
    assert space.metric is not None and naive.metric is not None
    np.testing.assert_array_equal(space.metric.table, naive.metric.table)
    assert told == ["profile of the gene", "metric"] * 2
    monkeypatch.setattr(module, "LEARNT_FROM", 10)
    few = learn_space(given, keys, kept, None, told.append)
    assert few.metric is not None and few.metric.dimension <= 10 < naive.metric.dimension


def test_what_is_known_says_nothing_about_how_sure_a_name_is() -> None:
    given = specimens("train", 5)
    check_apart(given, specimens("test", 5))
    name = given[3]["processid"]
    with pytest.raises(
        ValueError, match=f"1 of the 3 specimens for calibration are in the library, too, such as '{name}'"
    ):
        check_apart(given, joined(specimens("test", 2), given.select([3])))


def test_names_that_both_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS_AT_A_TIME", 7)
    given = specimens("train", 30)
    others = joined(specimens("test", 3), given.select([29, 4]), specimens("val", 2))
    assert shared_names(Held(given), others) == [given[row]["processid"] for row in (29, 4)]
    assert shared_names(Held(given), specimens("test", 3)) == []
