import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

from bioscan_hf.data import pixels
from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.profile import reverse_complement
from bioscan_hf.identification.queries import Queries
from bioscan_hf.identification.results import results_schema
from bioscan_hf.identification.streaming import identify_all
from tests.identification.made_library import (
    HELD_OUT,
    joined,
    library,
    non_coi,
    picture,
    save_clibd,
    specimens,
    with_barcodes,
    with_images,
)

TEST, UNSEEN = specimens("test"), specimens("test_unseen")
BARCODES: list[str] = [*TEST["dna_barcode"], *UNSEEN["dna_barcode"]]

STRANGE = "not like the barcodes of the library"
BAD: list[tuple[Any, str]] = [
    (None, "the barcode is missing (None)"),
    ("", "the barcode is empty"),
    ("---", "the barcode is empty"),
    (float("nan"), "the barcode is missing (nan)"),
    (7, "the barcode is the number 7"),
    ("ACGTE", "has 'E' at position 5"),
    ("MSLLPEFKIVLDLSGWPLEF", "looks like a protein"),
    ("A" * 3000, "3,000 letters"),
    (b"ACGT", "must be a text"),
    ("N" * 200, STRANGE),
    ("A", STRANGE),
    (non_coi(), STRANGE),
    ("ACGT" * 50, STRANGE),
    ("GATTACA", STRANGE),
]


@pytest.fixture(scope="module")
def identifier() -> Identifier:
    return Identifier(library(), max_error=0.05, nearest=3)


@pytest.fixture(scope="module")
def table(identifier: Identifier) -> pa.Table:
    return identifier(BARCODES, [*TEST["processid"], *UNSEEN["processid"]])


def column(table: pa.Table, name: str) -> Any:
    return np.array(table[name].to_pylist(), float)


def queries(barcodes: list[str | None], images: list[Any] | None = None, notes: list[str | None] | None = None) -> Any:
    count = len(barcodes)
    nowhere = np.full(count, np.nan)
    return Queries(
        [f"Q{row}" for row in range(count)], barcodes, images, notes or [None] * count, nowhere, nowhere.copy()
    )


def stopped(barcode: str) -> str:
    """With a stop codon in the reading frame, in the middle."""
    profile = library().barcodes.profile
    assert profile.frame is not None
    placed = profile.place([barcode])
    column_ = profile.frame + 39 * 3
    first = int(np.flatnonzero(placed.columns[0] < 4)[0])
    place = column_ - first
    return f"{barcode[:place]}TAA{barcode[place + 3 :]}"


class TestNames:
    """What is told about barcodes of known and new species."""

    def test_the_table_has_its_schema_and_order(self, table: pa.Table) -> None:
        assert table.schema.equals(results_schema(3))
        assert table["processid"].to_pylist() == [*TEST["processid"], *UNSEEN["processid"]]
        assert set(table["evidence"].to_pylist()) == {"barcode"}
        assert set(table["coord-lat"].to_pylist()) == {None}

    def test_known_species_and_genera_are_found(self, table: pa.Table) -> None:
        species = [mine == own for mine, own in zip(table["species"].to_pylist(), TEST["species"], strict=False)]
        assert np.mean(species) > 0.95
        genus = [
            mine == own for mine, own in zip(table["genus"].to_pylist()[len(TEST) :], UNSEEN["genus"], strict=True)
        ]
        assert np.mean(genus) > 0.9

    def test_new_species_are_flagged(self, table: pa.Table) -> None:
        novelty, novel = column(table, "novelty"), table["novel"].to_pylist()
        assert novelty[len(TEST) :].mean() > 0.7 > 0.3 > novelty[: len(TEST)].mean()
        assert novel == (novelty >= 0.5).tolist() and novelty.min() >= 0 and novelty.max() <= 1

    def test_names_are_one_lineage_and_probabilities_do_not_rise(self, table: pa.Table) -> None:
        lineages = {tuple(row[rank] for rank in RANKS) for row in specimens("train").to_list()}
        assert {tuple(row[rank] for rank in RANKS) for row in table.select(list(RANKS)).to_pylist()} <= lineages
        probabilities = np.stack([column(table, f"{rank}_probability") for rank in RANKS], axis=1)
        named = np.stack([table[rank].is_valid().to_numpy() for rank in RANKS], axis=1)
        np.testing.assert_array_equal(np.isnan(probabilities), ~named)
        for row in probabilities:
            assert (np.diff(row[~np.isnan(row)]) <= 0).all() and 0 <= np.nanmin(row) <= np.nanmax(row) <= 1

    def test_the_safe_name_is_the_deepest_that_is_likely_enough(self, table: pa.Table) -> None:
        thresholds = library().calibration["barcode"].thresholds(0.05)
        for row in table.to_pylist():
            safe = [rank for rank in RANKS if row[rank] and row[f"{rank}_probability"] >= thresholds[RANKS.index(rank)]]
            assert row["safe_rank"] == (safe[-1] if safe else None)
            assert row["safe_taxon"] == (row[safe[-1]] if safe else None)

    def test_a_lower_error_tells_less(self) -> None:
        depth = {rank: place for place, rank in enumerate([None, *RANKS])}
        told = [
            sum(depth[rank] for rank in Identifier(library(), max_error=error)(BARCODES)["safe_rank"].to_pylist())
            for error in (0.02, 0.05, 0.3)
        ]
        assert told == sorted(told) and told[0] < told[2]

    def test_the_nearest_specimens(self, table: pa.Table) -> None:
        made = library()
        own = {row["processid"]: row for row in made.specimens.to_list()}
        for row in table.to_pylist()[::20]:
            near = [row[f"nearest_{part}processid"] for part in ("", "2_", "3_")]
            assert len(set(near)) == 3
            for part, processid in zip(("", "2_", "3_"), near, strict=True):
                assert row[f"nearest_{part}dna_bin"] == own[processid]["dna_bin"]
                assert row[f"nearest_{part}taxon"] == own[processid]["species"]
        similarities = np.stack([column(table, f"nearest_{part}similarity") for part in ("", "2_", "3_")], axis=1)
        assert (np.diff(similarities, axis=1) <= 0).all() and similarities.max() <= 1
        identities = column(table, "nearest_identity")
        assert identities.min() > 0.7 and identities.max() <= 1

    def test_there_may_be_fewer_than_asked_for(self) -> None:
        made = Library.build(specimens("train", 2))
        assert len(made.keys.first) == 2
        (row,) = Identifier(made, nearest=4)([specimens("train")[0]["dna_barcode"]]).to_pylist()
        assert row["nearest_2_processid"] == specimens("train")[1]["processid"] and row["nearest_2_identity"] > 0.5
        for part in ("3_", "4_"):
            assert {row[f"nearest_{part}{name}"] for name in ("processid", "taxon", "similarity", "identity")} == {None}


class TestSameResults:
    """However queries are put."""

    def test_one_by_one(self, identifier: Identifier, table: pa.Table) -> None:
        chosen = list(range(0, len(BARCODES), 40))
        alone = pa.concat_tables([identifier([BARCODES[row]]) for row in chosen])
        for name in table.column_names[1:]:
            mine, theirs = alone[name].to_pylist(), table[name].take(pa.array(chosen)).to_pylist()
            assert mine == (pytest.approx(theirs, abs=1e-4) if isinstance(mine[0], float) else theirs), name

    def test_in_another_order_and_repeated(self, identifier: Identifier, table: pa.Table) -> None:
        order = np.random.default_rng(0).permutation(len(BARCODES))
        order = np.concatenate([order, order[:5]])
        mixed = identifier([BARCODES[row] for row in order], [str(table["processid"][row]) for row in order])
        assert mixed.equals(table.take(pa.array(order)))

    def test_lower_case_gaps_and_u(self, identifier: Identifier) -> None:
        plain = identifier(BARCODES[:20])
        written = [
            f"--{barcode[:50].lower()}-{barcode[50:90]} \n{barcode[90:].replace('T', 'U')}.." for barcode in BARCODES
        ]
        assert identifier(written[:20]).equals(plain)

    def test_the_other_strand(self, identifier: Identifier) -> None:
        turned, plain = identifier([reverse_complement(barcode) for barcode in BARCODES]), identifier(BARCODES)
        notes = ["; ".join(filter(None, ["reverse complement", note])) for note in plain["notes"].to_pylist()]
        assert turned["notes"].to_pylist() == notes
        assert turned.drop_columns("notes").equals(plain.drop_columns("notes"))


class TestBadInput:
    """A bad record gets a note, and changes nothing for the others."""

    def test_each_kind_beside_good_ones(self, identifier: Identifier) -> None:
        good = BARCODES[:3]
        barcodes = [*(barcode for barcode, _ in BAD[:6]), good[0], *(barcode for barcode, _ in BAD[6:]), *good[1:]]
        mixed = identifier(barcodes)
        rows = mixed.to_pylist()
        kept = [rows[6], *rows[-2:]]
        for mine, alone in zip(kept, identifier(good).to_pylist(), strict=True):
            assert {**mine, "processid": None} == pytest.approx({**alone, "processid": None}, abs=1e-4)
        others = [row for row in rows if row not in kept]
        for row, (_, reason) in zip(others, BAD, strict=True):
            assert reason in row["notes"] and "; " not in row["notes"]
            assert {name for name, value in row.items() if value is not None} == {"processid", "notes"}
        assert mixed["processid"].to_pylist() == [str(number) for number in range(1, len(rows) + 1)]

    def test_stop_codons_and_few_letters(self, identifier: Identifier) -> None:
        barcode = BARCODES[0]
        table = identifier([stopped(barcode), reverse_complement(stopped(barcode)), barcode[:120], barcode[-150:]])
        assert table["notes"].to_pylist()[:2] == ["stop codon", "reverse complement; stop codon"]
        for note, letters in zip(table["notes"].to_pylist()[2:], (120, 150), strict=True):
            assert note.startswith("only ") and note.endswith(" letters of the gene")
            assert letters - 5 <= int(note.split()[1]) <= letters
        assert set(table["genus"].to_pylist()) == {TEST[0]["genus"]}

    def test_nothing(self, identifier: Identifier) -> None:
        assert len(identifier([])) == 0 and identifier([]).schema.equals(results_schema(3))
        assert identifier(BARCODES[:2], [7, 8])["processid"].to_pylist() == ["7", "8"]  # type: ignore[list-item]
        assert identifier([None, ""])["notes"].to_pylist() == ["the barcode is missing (None)", "the barcode is empty"]

    def test_notes_of_the_reader_come_first(self, identifier: Identifier) -> None:
        asked = queries([non_coi(), BARCODES[0]], notes=["the process id occurs more than once", None])
        expected = "the process id occurs more than once; not like the barcodes of the library"
        assert identifier.identify(asked)["notes"].to_pylist() == [expected, None]

    def test_images_that_the_library_cannot_compare(self, identifier: Identifier) -> None:
        image = {"bytes": picture("Aus", 0), "path": None}
        table = identifier.identify(queries([None, BARCODES[0], None], [image, image, None]))
        note = "an image without barcode, and the library has no model for images"
        assert table["notes"].to_pylist() == [note, None, None]
        assert table["evidence"].to_pylist() == [None, "barcode", None]

    def test_wrong_arguments(self, identifier: Identifier) -> None:
        with pytest.raises(ValueError, match="Expected a list of barcodes; got one text"):
            identifier("ACGT")
        with pytest.raises(ValueError, match="Expected an id for each barcode; got 2 and 1"):
            identifier(["ACGT"], ["a", "b"])
        for error in (0, 1, -0.1, 1.5):
            with pytest.raises(ValueError, match="`max_error` must be between 0 and 1, such as"):
                Identifier(library(), max_error=error)
        for nearest in (0, 21):
            with pytest.raises(ValueError, match="`nearest` must be from 1 to 20"):
                Identifier(library(), nearest=nearest)


def test_without_calibration_nothing_is_rated() -> None:
    made = library()
    plain = Library(made.info, specimens("train"), made.keys, made.barcodes, made.letters, made.vectors, made.flags)
    table = Identifier(plain)(BARCODES[:20])
    assert table["species"].to_pylist() == Identifier(made)(BARCODES[:20])["species"].to_pylist()
    for name in ("species_probability", "phylum_probability", "safe_rank", "safe_taxon", "novelty", "novel"):
        assert set(table[name].to_pylist()) == {None}


class TestImages:
    """A library with a CLIBD: by barcode, and by image where there is none."""

    @staticmethod
    def image(genus: str, seed: int) -> dict[str, Any]:
        return {"bytes": picture(genus, seed), "path": None}

    def test_by_barcode_by_image_by_both(self, with_clibd: Identifier) -> None:
        given = specimens("train", 3)
        # The model has random weights: by image, the nearest specimen is right, but has few of the votes.
        genus, barcode = given["genus"][:], given["dna_barcode"][:]
        # The image of another genus, where the barcode counts.
        images = [self.image(genus[0], 0), self.image(genus[2], 2), None]
        table = with_clibd.identify(queries([None, barcode[1], barcode[2]], images))
        assert table["genus"].to_pylist()[1:] == genus[1:] and table["genus"][0].as_py()
        assert table["evidence"].to_pylist() == ["image", "barcode", "barcode"]
        assert table["nearest_processid"].to_pylist() == given["processid"][:]
        assert table["nearest_identity"].to_pylist() == [None, 1.0, 1.0]
        assert table["nearest_similarity"].to_pylist() == pytest.approx([1, 1, 1], abs=1e-3)
        assert set(table["notes"].to_pylist()) == {None}

    def test_barcodes_are_named_as_without_images(self, with_clibd: Identifier) -> None:
        plain = Library.build(specimens("train", 60), calibration=specimens(HELD_OUT, 60))
        assert with_clibd(BARCODES[:30]).equals(Identifier(plain, max_error=0.2)(BARCODES[:30]))

    def test_a_bad_image_changes_nothing_for_the_others(
        self, with_clibd: Identifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pixels, "MAX_PIXELS", 10_000)
        narrow = io.BytesIO()
        PIL.Image.new("L", (1, 2000)).save(narrow, "PNG")  # ten times as wide and long when it is scaled
        good = [self.image(genus, row) for row, genus in enumerate(specimens("train", 2)["genus"])]
        bad: list[Any] = [
            {"bytes": b"no image", "path": None},
            {"bytes": good[0]["bytes"][:70], "path": None},
            {"bytes": None, "path": str(tmp_path / "gone.png")},
            {"bytes": narrow.getvalue(), "path": None},
        ]
        alone = with_clibd.identify(queries([None] * 2, good))
        mixed = with_clibd.identify(queries([None] * 6, [bad[0], good[0], *bad[1:], good[1]]))
        rows = mixed.to_pylist()
        for mine, expected in zip([rows[1], rows[5]], alone.to_pylist(), strict=True):
            assert {**mine, "processid": None} == pytest.approx({**expected, "processid": None}, abs=1e-4)
        notes = [rows[row]["notes"] for row in (0, 2, 3, 4)]
        for note, part in zip(
            notes, ("cannot be decoded", "cannot be decoded", "No such file", "at most"), strict=True
        ):
            assert part in note and "; " not in note
        assert {rows[row]["genus"] for row in (0, 2, 3, 4)} == {None}
        only_bad = with_clibd.identify(queries([None], bad[:1]))
        assert only_bad["evidence"].to_pylist() == [None] and "cannot be decoded" in only_bad["notes"][0].as_py()

    def test_threads_do_not_matter(self, with_clibd: Identifier) -> None:
        genera = specimens("train", 40)["genus"]
        batches = [
            queries([None, BARCODES[row], None], [self.image(genera[row], row), None, self.image(genera[-row], row)])
            for row in range(12)
        ]
        one, many = (pa.concat_tables(identify_all(with_clibd, batches, threads=threads)) for threads in (1, 3))
        assert one.equals(many) and set(one["evidence"].to_pylist()) == {"image", "barcode"}

    def test_it_is_saved_with_its_model(self, with_clibd: Identifier, tmp_path: Path) -> None:
        with_clibd.library.save(tmp_path / "lib")
        loaded = Identifier.from_pretrained(tmp_path / "lib", max_error=0.2)
        asked = queries([None, BARCODES[0]], [self.image("Aus", 3), None])
        assert loaded.identify(asked).equals(with_clibd.identify(asked))
        assert loaded.library.images is not None and loaded.library.images.tower == "image"

    def test_further_specimens_are_found_by_image(self, with_clibd: Identifier, tmp_path: Path) -> None:
        with_clibd.library.save(tmp_path / "lib")
        more = with_images(specimens("test", 4), [picture("another", seed) for seed in range(900, 904)])
        new = Identifier(Library.load(tmp_path / "lib").add(more))
        asked = queries([None], [self.image("another", 902)])
        assert new.identify(asked)["nearest_processid"].to_pylist() == [more[2]["processid"]]
        # Such as have an image only.
        only = with_images(with_barcodes(specimens("test").select([5]), [None]), [picture("third", 950)])
        newer = Identifier(new.library.add(only))
        found = newer.identify(queries([None], [self.image("third", 950)]))
        assert found["nearest_processid"].to_pylist() == [only[0]["processid"]]
        assert found["nearest_taxon"].to_pylist() == [only[0]["species"]]


@pytest.fixture(scope="module")
def with_clibd(tmp_path_factory: pytest.TempPathFactory) -> Identifier:
    folder = save_clibd(tmp_path_factory.mktemp("clibd") / "tiny")
    given, others = specimens("train", 60), specimens(HELD_OUT, 60)
    assert len(joined(given, others)) == 120
    return Identifier(
        Library.build(with_images(given), calibration=with_images(others), image_model=str(folder)), max_error=0.2
    )
