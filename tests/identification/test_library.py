import numpy as np
import pytest
import torch

from bioscan_hf.data.features import COLUMN_NAMES, RANKS
from bioscan_hf.identification import library_building
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.keys import find_keys
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.profile import reverse_complement
from bioscan_hf.identification.references import hold_out
from bioscan_hf.identification.search import CellIndex
from tests.identification.made_library import (
    HELD_OUT,
    joined,
    library,
    non_coi,
    specimens,
    with_barcodes,
    with_column,
    without,
)


def test_it_keeps_its_specimens_and_what_it_was_made_of() -> None:
    made, given = library(), specimens("train")
    assert made.specimens.column_names == list(COLUMN_NAMES)
    assert made.specimens.to_list() == given.to_list()
    assert made.columns(["genus", "processid"]).column_names == ["genus", "processid"]
    assert made.info["model"] == "aligned" and made.info["calibrated_on"] == "given specimens"
    assert made.info["source"] == "bioscan_hf sample (simulated specimens)"
    assert {len(part) for part in (made.letters, made.vectors, made.flags, made.weights)} == {len(made.keys.first)}
    assert made.taxa["species"] == sorted({name for name in given["species"] if name})


def test_a_barcode_of_the_library_finds_itself() -> None:
    made, given = library(), specimens("train")
    seen, neighbours, evidence = made.ask(given["dna_barcode"][:])
    assert (seen.flags == 1).all()
    assert neighbours.identities is not None and (neighbours.identities[:, 0] == 1).all()
    assert neighbours.similarities[:, 0].min() > 1 - 1e-5
    # Some barcodes differ in letters outside of the gene's columns only.
    found = made.keys.hashes[neighbours.keys[:, 0]]
    assert (found == made.keys.hashes[made.keys.of_specimen]).mean() > 0.98
    labels = made.keys.labels[made.keys.of_specimen]
    assert (evidence.names[:, :-1] == labels[:, :-1]).all() and (evidence.names == labels).mean() > 0.99


def test_what_is_known_letter_by_letter_is_seen_as_if_it_were_aligned() -> None:
    made = library()
    known = specimens("train")["dna_barcode"][:20]
    barcodes = [non_coi(), *known[:10], reverse_complement(known[3]), specimens("test")[0]["dna_barcode"], *known[10:]]
    found, naive = made._see(barcodes), made.barcodes.see(barcodes)
    np.testing.assert_array_equal(found.letters, naive.letters)
    np.testing.assert_allclose(found.vectors, naive.vectors, atol=1e-6)
    np.testing.assert_array_equal(found.flags, naive.flags)
    for part in made.ask([])[0]:
        assert len(part) == 0


def test_the_same_specimens_give_the_same_library() -> None:
    one, other = (Library.build(specimens("train", 150), seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.vectors, other.vectors)
    assert one.calibration["barcode"].to_json() == other.calibration["barcode"].to_json()
    assert one.info == other.info and one.info["calibrated_on"] == "a part of the specimens, held out"


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    Library.build(specimens("train", 60), report=lambda *progress: told.append(progress))
    tasks = list(dict.fromkeys(task for task, _, _ in told))
    assert tasks == [
        *("held out: profile of the gene", "held out: metric", "held out: barcodes", "calibration"),
        *("profile of the gene", "metric", "barcodes"),
    ]
    assert all(done <= total for _, done, total in told)


def test_what_is_held_out_is_asked_for_as_if_it_were_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more keys than are learnt from, the library is made once; it names as one that is made of the rest does."""
    given = specimens("train", 200)
    keys = find_keys(given)
    held_out = hold_out(given, keys, 0)[keys.of_specimen]
    rest, others = given.select(np.flatnonzero(~held_out)), given.select(np.flatnonzero(held_out))
    naive = Library.build(rest, calibration=others)
    tasks: list[str] = []
    monkeypatch.setattr(library_building, "LEARNT_FROM", 10)
    made = Library.build(given, report=lambda task, done, total: tasks.append(task))
    assert "metric" not in tasks and "held out: metric" in tasks
    np.testing.assert_array_equal(made.barcodes.profile.log_odds, naive.barcodes.profile.log_odds)
    mine, theirs = made.calibration["barcode"], naive.calibration["barcode"]
    assert mine.processids == theirs.processids == others["processid"][:]
    np.testing.assert_allclose(mine.probabilities, theirs.probabilities, atol=1e-4)
    np.testing.assert_array_equal(mine.novel, theirs.novel)
    assert 0 < mine.novel.sum() < len(others)
    names = Identifier(made)(others["dna_barcode"][:])["species"].to_pylist()
    assert np.mean([mine == own for mine, own in zip(names, others["species"], strict=True)]) > 0.97, "they are in it"


def test_of_many_specimens_some_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_building, "_CALIBRATED_ON", 25)
    others = specimens("val+val_unseen", 60)
    made = Library.build(specimens("train", 60), calibration=others)
    chosen = made.calibration["barcode"].processids
    assert len(chosen) == 25 and chosen == [name for name in others["processid"] if name in chosen]


def test_cells_and_half_precision() -> None:
    pytest.importorskip("faiss")
    given = specimens("train", 100)
    made = Library.build(given, calibration=specimens("val", 30), cells=True, dtype="float16")
    assert isinstance(made.index, CellIndex) and made.dtype == "float16"
    names = Identifier(made)(given["dna_barcode"][:])["species"].to_pylist()
    assert np.mean([mine == own for mine, own in zip(names, given["species"], strict=True)]) > 0.97
    added = made.add(specimens("test", 10))
    assert isinstance(added.index, CellIndex) and added.dtype == "float16"
    found = added.ask(specimens("test", 10)["dna_barcode"][:])[1].keys[:, 0]
    assert (found == added.keys.of_specimen[100:]).mean() >= 0.9


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_few_specimens_are_named_but_not_rated(count: int) -> None:
    few = specimens("train", count)
    made = Library.build(few)
    table = Identifier(made)(few["dna_barcode"][:])
    assert table["species"].to_pylist() == few["species"][:]
    assert table["nearest_processid"].to_pylist() == few["processid"][:]
    assert table["nearest_identity"].to_pylist() == [1.0] * count
    # Held out, there may be a query or two, of which nothing can be learnt.
    assert set(table["safe_rank"].to_pylist()) == {None} == set(table["species_probability"].to_pylist())


class TestLabels:
    """Specimens that are named in part, or in two ways."""

    def test_missing_ranks(self) -> None:
        given = without(specimens("train", 60), "family", "subfamily", "phylum")
        made = Library.build(given)
        table = Identifier(made)(given["dna_barcode"][:])
        assert table["genus"].to_pylist() == given["genus"][:]
        for rank in ("family", "subfamily", "phylum"):
            assert made.taxa[rank] == [] and set(table[rank].to_pylist()) == {None}

    def test_no_species_at_all(self) -> None:
        made = Library.build(without(specimens("train", 60), "species"))
        given = specimens("train", 60)
        table = Identifier(made)(given["dna_barcode"][:])
        assert set(table["species"].to_pylist()) == {None} == set(table["novelty"].to_pylist())
        assert table["genus"].to_pylist() == given["genus"][:] == table["nearest_taxon"].to_pylist()

    def test_one_genus(self) -> None:
        train = specimens("train")
        genus = max(set(train["genus"]), key=train["genus"][:].count)
        given = train.select([row for row, name in enumerate(train["genus"]) if name == genus])
        made = Library.build(given)
        assert made.taxa["genus"] == [genus] and len(made.taxa["species"]) > 1
        assert Identifier(made)(given["dna_barcode"][:])["species"].to_pylist() == given["species"][:]

    def test_of_two_names_of_a_barcode_the_more_frequent_counts(self) -> None:
        given = specimens("train", 40)
        barcode = given[0]["dna_barcode"]
        names = [(given[row]["genus"], given[row]["species"]) for row in (0, 1)]
        # Once the first, twice the other.
        again = given.select([0, 1, 1])
        again = with_column(with_barcodes(again, [barcode] * 3), "processid", ["X1", "X2", "X3"])
        rest = given.select([row for row in range(40) if given[row]["dna_barcode"] != barcode])
        made = Library.build(joined(rest, again), calibration=specimens("val_unseen", 1))
        weights = sorted(made.weights[made.keys.of_specimen[-3:]].tolist())
        np.testing.assert_allclose(weights, [1 / 3, 2 / 3, 2 / 3], atol=1e-6)
        table = Identifier(made)([barcode])
        assert (table["genus"][0].as_py(), table["species"][0].as_py()) == names[1]


class TestAdd:
    """Further specimens."""

    def test_what_is_found_is_what_both_together_hold(self) -> None:
        first, then = specimens("train", 80), specimens("train").select(range(80, 120))
        strange = [reverse_complement(then[0]["dna_barcode"]), non_coi()]
        then = with_barcodes(then, [*strange, *then["dna_barcode"][2:]])
        old = Library.build(first, calibration=specimens("val_unseen", 40))
        new = old.add(then)
        both = joined(first, then)
        assert new.specimens.to_list() == both.to_list()
        for mine, naive in zip(new.keys, find_keys(both), strict=True):
            assert mine == naive if isinstance(mine, dict) else np.array_equal(mine, naive)  # type: ignore[arg-type]
        seen = old.barcodes.see(both.select(new.keys.first)["dna_barcode"][:])
        np.testing.assert_allclose(new.vectors, seen.vectors, atol=1e-6)
        np.testing.assert_array_equal(new.letters, seen.letters)
        np.testing.assert_array_equal(new.flags, seen.flags)
        assert new.calibration == old.calibration and new.info["added"] == 40
        assert {0, 1, 3} == set(new.flags.tolist()), "one does not fit, and one is turned"
        table = Identifier(new)(both["dna_barcode"][:])
        assert table["species"].to_pylist() == [*both["species"][:81], None, *both["species"][82:]]

    def test_a_new_name_of_an_old_barcode(self) -> None:
        first = specimens("train", 40)
        again = with_column(first.select([0, 0]), "processid", ["X1", "X2"])
        again = with_column(again, "species", ["Novus novus"] * 2)
        new = Library.build(first, calibration=specimens("val_unseen", 1)).add(again)
        table = Identifier(new)([first[0]["dna_barcode"]])
        assert table["species"].to_pylist() == ["Novus novus"], "two of three specimens say so"

    def test_twice(self) -> None:
        parts = [specimens("train").select(range(start, start + 20)) for start in (0, 20, 40)]
        new = Library.build(parts[0], calibration=specimens("val_unseen", 1)).add(parts[1]).add(parts[2])
        assert new.info["added"] == 40
        found = Identifier(new)(specimens("train", 60)["dna_barcode"][:])
        assert found["species"].to_pylist() == specimens("train", 60)["species"][:]

    def test_what_is_there_already(self) -> None:
        with pytest.raises(ValueError, match=r"2 of the 5 specimens are in the library already, such as 'SIM"):
            Library.build(specimens("train", 2)).add(specimens("train", 5))

    def test_barcodes_are_not_needed_for_what_has_images_only_where_images_count(self) -> None:
        nothing = with_barcodes(with_column(specimens("train", 1), "processid", ["X"]), [None])
        with pytest.raises(ValueError, match="none of the 1 has both"):
            Library.build(specimens("train", 2)).add(nothing)


def test_what_cannot_be_used_is_left_out() -> None:
    given = specimens("train", 6)
    nameless = without(given.select([0]), *RANKS)
    mixed = joined(with_barcodes(given.select([1]), [None]), nameless, given.select([2, 3, 4, 5]))
    assert Library.build(mixed).specimens["processid"][:] == given["processid"][2:]


def test_specimens_that_make_no_library() -> None:
    few = specimens("train", 3)
    with pytest.raises(ValueError, match=r"with a label .* and a barcode; none of the 3 has both"):
        Library.build(without(few, *RANKS))
    with pytest.raises(ValueError, match="none of the 3 has both"):
        Library.build(with_barcodes(few, [None] * 3))
    with pytest.raises(ValueError, match=r"columns of the schema; \['species'\] are missing"):
        Library.build(few.remove_columns("species"))
    with pytest.raises(ValueError, match="3 of the 5 specimens for calibration are in the library, too"):
        Library.build(few, calibration=specimens("train", 5))
    with pytest.raises(ValueError, match="barcodes of one gene, in one direction"):
        Library.build(with_barcodes(specimens("train", 30), [non_coi(seed) for seed in range(30)]))


def test_images_need_a_model() -> None:
    with pytest.raises(ValueError, match="no model for images; build it with an `image_model`, a CLIBD"):
        library().ask_by_image(specimens(HELD_OUT, 1))


def test_vectors_in_half_precision_are_asked_as_they_are() -> None:
    made = library()
    half = Library(
        made.info, specimens("train"), made.keys, made.barcodes, made.letters, made.vectors.half(), made.flags
    )
    assert half.vectors.dtype == torch.float16
    queries = specimens("test")["dna_barcode"][:50]
    np.testing.assert_array_equal(made.ask(queries)[1].keys[:, 0], half.ask(queries)[1].keys[:, 0])
    assert half.add(specimens("test", 3)).vectors.dtype == torch.float16
