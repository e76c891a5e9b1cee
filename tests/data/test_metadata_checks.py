import pyarrow as pa
import pytest

from bioscan_hf.data import metadata_checks
from bioscan_hf.data.features import SPLIT_NAMES
from bioscan_hf.data.metadata_checks import CHECKED_COLUMNS, Check, MetadataChecker
from bioscan_hf.data.release import Published
from tests.made_release import Row, made_rows

ROWS = made_rows(6)


def checked(rows: list[Row], tables: int = 1) -> dict[str, Check]:
    checker = MetadataChecker()
    for number in range(tables):
        checker.add(
            pa.Table.from_pylist([{name: row[name] for name in CHECKED_COLUMNS} for row in rows[number::tables]])
        )
    return {check.name: check for check in checker.checks()}


def changed(split: str, /, **values: object) -> list[Row]:
    """The rows, with other values in the first of a split."""
    at = next(i for i, row in enumerate(ROWS) if row["split"] == split)
    return [{**row, **values} if i == at else row for i, row in enumerate(ROWS)]


def first(split: str) -> Row:
    return next(row for row in ROWS if row["split"] == split)


@pytest.fixture
def as_published(monkeypatch: pytest.MonkeyPatch) -> dict[str, Published]:
    """Take the made specimens for the release."""
    counts = {}
    for split in SPLIT_NAMES:
        own = [row for row in ROWS if row["split"] == split]
        species = {row["species"] for row in own} - {None}
        counts[split] = Published(len(own), len({row["dna_barcode"] for row in own}), len(species))
    monkeypatch.setattr(metadata_checks, "PUBLISHED", counts)
    monkeypatch.setattr(metadata_checks, "_TOTAL", len(ROWS))
    return counts


@pytest.mark.parametrize("tables", [1, 5])
def test_nothing_fails_on_good_rows(tables: int) -> None:
    checks = checked(ROWS, tables)
    assert not [check for check in checks.values() if check.outcome == "failed"]
    assert checks["specimens per split"].outcome == "not applicable"
    assert checks == checked(ROWS)


def test_counts_are_compared_with_the_published_ones(as_published: dict[str, Published]) -> None:
    checks = checked(ROWS)
    for name, counts in (
        ("specimens per split", [published.specimens for published in as_published.values()]),
        ("distinct barcodes", [published.barcodes for published in as_published.values()]),
        ("species per split", [published.species for published in as_published.values()]),
    ):
        listed = ", ".join(f"{split} {count}" for split, count in zip(SPLIT_NAMES, counts, strict=True))
        assert (checks[name].outcome, checks[name].detail) == ("passed", listed)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("specimens per split", {"split": "val", "chunk": None}),
        ("distinct barcodes", {"dna_barcode": "ACGT"}),
        ("species per split", {"species": None}),
    ],
)
def test_other_counts_than_published_fail(
    name: str, values: dict[str, object], as_published: dict[str, Published]
) -> None:
    rows = changed("test", **values)
    if name == "distinct barcodes":  # two specimens with one barcode
        rows = [{**row, **values} if row["split"] == "test" else row for row in rows]
    check = checked(rows)[name]
    assert check.outcome == "failed" and "test " in check.detail and " instead of " in check.detail


def test_barcodes_may_agree_without_n_at_the_ends(as_published: dict[str, Published]) -> None:
    barcode = str(first("test")["dna_barcode"])
    again = next(i for i, row in enumerate(ROWS) if row["split"] == "test" and row["dna_barcode"] != barcode)
    rows = [{**row, "dna_barcode": f"N{barcode}N"} if i == again else row for i, row in enumerate(ROWS)]
    assert checked(rows)["distinct barcodes"].outcome == "passed"
    published = as_published["test"]
    as_published["test"] = Published(published.specimens, published.barcodes - 1, published.species)
    assert checked(rows)["distinct barcodes"].outcome == "passed"
    assert checked(ROWS)["distinct barcodes"].outcome == "failed"


@pytest.mark.parametrize(
    ("form", "both", "trailing"),
    [("{}", False, False), ("{}NN", False, False), ("N{}", False, True), ("A{}", True, True)],
)
def test_barcode_in_two_splits_fails(form: str, both: bool, trailing: bool) -> None:
    rows = changed("test", dna_barcode=form.format(first("train")["dna_barcode"]))
    checks = checked(rows)
    check = checks["no barcode in two splits, without N at both ends"]
    assert check.passed is both
    assert checks["no barcode in two splits, without trailing N"].passed is trailing
    if not both:
        assert f"{first('train')['processid']} (train) and {first('test')['processid']} (test)" in check.detail


def test_repeated_process_id_fails() -> None:
    check = checked([*ROWS, first("val")])["process ids are unique"]
    assert (check.outcome, check.detail) == ("failed", f"1 repeated among {len(ROWS) + 1}")


@pytest.mark.parametrize(("split", "chunk"), [("train", "x"), ("train", None), ("pretrain", "0"), ("val", "0")])
def test_wrong_folder_of_an_image_fails(split: str, chunk: str | None) -> None:
    check = checked(changed(split, chunk=chunk))["folders of images"]
    assert check.outcome == "failed" and str(first(split)["processid"]) in check.detail


def test_species_outside_the_keys_fail_in_the_whole_release(as_published: dict[str, Published]) -> None:
    name = "species of val_unseen and test_unseen are in key_unseen"
    keys = {row["species"] for row in ROWS if row["split"] == "key_unseen"}
    rows = [{**row, "species": "A b"} if row["split"] in ("val_unseen", "test_unseen") else row for row in ROWS]
    check = checked(rows)[name]
    assert (check.outcome, check.detail) == ("failed", "1 of 1 are not, such as A b")
    rows = [{**row, "species": min(map(str, keys))} if row["species"] == "A b" else row for row in rows]
    assert checked(rows)[name].outcome == "passed"
    assert checked(rows[1:])[name].outcome == "not applicable"
