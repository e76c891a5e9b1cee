import numpy as np
import pytest

from bioscan_hf.data.features import COLUMN_NAMES
from bioscan_hf.identification.keys import find_keys
from bioscan_hf.identification.references import barcodes_of, check_apart, hold_out, usable
from tests.identification.made_library import joined, picture, specimens, with_barcodes, with_images, without


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


def test_nothing_is_in_both_parts() -> None:
    given = specimens("train")
    rest, held_out = hold_out(given, 0)
    assert sorted([*rest["processid"], *held_out["processid"]]) == sorted(given["processid"])
    assert not set(rest["dna_barcode"]) & set(held_out["dna_barcode"])
    species = [set(part["species"]) for part in (rest, held_out)]
    assert species[0] & species[1], "of some species barcodes are held out"
    assert species[1] - species[0], "others are held out as a whole"
    assert 0.1 < len(held_out) / len(given) < 0.5
    assert hold_out(given, 0)[1]["processid"][:] == held_out["processid"][:]
    assert hold_out(given, 1)[1]["processid"][:] != held_out["processid"][:]


def test_specimens_without_barcode_are_not_held_out() -> None:
    train = specimens("train")
    for seed in range(10):
        given = train.select(np.random.default_rng(seed).permutation(len(train))[:300])
        barcodes = [None if row % 2 else barcode for row, barcode in enumerate(given["dna_barcode"])]
        rest, held_out = hold_out(with_barcodes(given, barcodes), seed)
        assert rest["dna_barcode"][:].count(None) == 150 and len(held_out) and all(held_out["dna_barcode"])


def test_barcodes_of_keys() -> None:
    given = joined(specimens("train", 5), with_barcodes(specimens("test", 2), [None, None]))
    keys = find_keys(given)
    found = barcodes_of(given, keys)
    assert [found[key] for key in keys.of_specimen] == [barcode or "" for barcode in given["dna_barcode"]]
    assert np.array_equal([not barcode for barcode in found], keys.hashes == 0)


def test_what_is_known_says_nothing_about_how_sure_a_name_is() -> None:
    given = specimens("train", 5)
    check_apart(given, specimens("test", 5))
    name = given[3]["processid"]
    with pytest.raises(
        ValueError, match=f"1 of the 3 specimens for calibration are in the library, too, such as '{name}'"
    ):
        check_apart(given, joined(specimens("test", 2), given.select([3])))
