import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from bioscan_hf.data.features import COLUMN_NAMES, bioscan_features
from bioscan_hf.data.metadata import MetadataSource, Skipped, find_metadata, read_metadata
from bioscan_hf.data.release import METADATA_ARCHIVE, METADATA_MEMBERS
from tests.made_release import Row, made_rows, make_release, unpack_release, write_csv, write_jsonld

REAL_ROWS = Path(__file__).parents[2] / "bioscan_hf" / "data" / "sample" / "bioscan5m_rows.csv"


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return made_rows(3)


@pytest.fixture
def table(tmp_path: Path, rows: list[Row]) -> Path:
    return write_csv(tmp_path / "metadata.csv", rows)


def read(path: Path, **options: object) -> pa.Table:
    return pa.concat_tables(read_metadata(find_metadata(path), **options))  # type: ignore[arg-type]


def change(path: Path, row: int, **values: str) -> None:
    """Write other values into a record."""
    with path.open(newline="") as file:
        records = list(csv.DictReader(file))
    records[row].update({name.replace("_lat", "-lat"): value for name, value in values.items()})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMN_NAMES)
        writer.writeheader()
        writer.writerows(records)


def test_every_value_arrives_with_its_type(table: Path, rows: list[Row]) -> None:
    read_back = read(table)
    assert read_back.schema.names == [*COLUMN_NAMES, "row"]
    assert read_back.select(COLUMN_NAMES).schema == bioscan_features(image=False).arrow_schema
    assert read_back["row"].to_pylist() == list(range(len(rows)))
    assert read_back.select(COLUMN_NAMES).to_pylist() == [{name: row[name] for name in COLUMN_NAMES} for row in rows]


def test_json_ld_holds_the_same(tmp_path: Path, table: Path, rows: list[Row]) -> None:
    listed = write_jsonld(tmp_path / "metadata.jsonld", rows)
    graph = tmp_path / "graph.jsonld"
    graph.write_text('{"@context": {"@vocab": "x"}, "@graph": ' + listed.read_text() + "}")
    assert read(listed).equals(read(table)) and read(graph).equals(read(table))


def test_the_25_real_rows_can_be_read() -> None:
    real = read(REAL_ROWS)
    with REAL_ROWS.open(newline="") as file:
        for record, row in zip(csv.DictReader(file), real.to_pylist(), strict=True):
            for name in COLUMN_NAMES:
                expected = record[name] or None
                if isinstance(row[name], (int, float)):
                    assert float(str(expected)) == row[name]
                else:
                    assert row[name] == expected


def test_found_in_the_archive_unpacked_or_alone(tmp_path: Path, table: Path) -> None:
    root = tmp_path / "release"
    make_release(root, made_rows(3))
    archive = root / METADATA_ARCHIVE
    assert find_metadata(root) == MetadataSource(archive, METADATA_MEMBERS["csv"]) == find_metadata(archive)
    from_archive = read(root)
    unpack_release(root)
    assert find_metadata(root) == find_metadata(root / "bioscan5m") == MetadataSource(root / METADATA_MEMBERS["csv"])
    assert read(root).equals(from_archive) and find_metadata(table) == MetadataSource(table)
    (root / METADATA_MEMBERS["csv"]).unlink()
    assert find_metadata(root).kind == "jsonld" and read(root).equals(from_archive)
    with pytest.raises(FileNotFoundError, match=METADATA_ARCHIVE):
        find_metadata(tmp_path / "empty")


def test_windows_line_ends_byte_order_mark_and_utf8_are_read(table: Path) -> None:
    change(table, 1, country="Österreich")  # `csv` writes CRLF
    plain = table.read_bytes()
    assert b"\r\n" in plain
    table.write_bytes(b"\xef\xbb\xbf" + plain)
    assert read(table)["country"][1].as_py() == "Österreich"


def test_lower_case_becomes_upper_case_and_iupac_letters_stay(table: Path) -> None:
    change(table, 0, dna_barcode="acgtnrysw")
    change(table, 2, dna_barcode="ACGTNRYSWKMBDHV")
    barcodes = read(table)["dna_barcode"]
    assert (barcodes[0].as_py(), barcodes[2].as_py()) == ("ACGTNRYSW", "ACGTNRYSWKMBDHV")


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "number": (lambda p: change(p, 4, coord_lat="12,5"), "'coord-lat' must be a number .* got '12,5'"),
    "fraction": (lambda p: change(p, 4, image_measurement_value="1.5"), "'image_measurement_value' must be a number"),
    "latitude": (lambda p: change(p, 4, coord_lat="95"), "within 90 degrees; got 95"),
    "split": (lambda p: change(p, 4, split="tset"), "`split` must be one of .* got 'tset'"),
    "no split": (lambda p: change(p, 4, split=""), "`split` must be one of .* got None"),
    "gap": (lambda p: change(p, 4, dna_barcode="ACGT-ACGT"), "the barcode has '-' at position 5"),
    "not ASCII": (lambda p: change(p, 4, dna_barcode="ACGTÄCGT"), "the barcode has 'Ä' at position 5"),
    "no barcode": (lambda p: change(p, 4, dna_barcode=""), "the barcode is empty"),
    "path": (
        lambda p: change(p, 4, processid="../../x"),
        "the process id must be ASCII without slashes; got '../../x'",
    ),
    "accent": (lambda p: change(p, 4, processid="É12"), "the process id must be ASCII without slashes"),
    "no id": (lambda p: change(p, 4, processid=""), "the process id is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_record_is_named_or_skipped(case: str, table: Path, rows: list[Row]) -> None:
    harm, reason = BAD[case]
    harm(table)
    with pytest.raises(ValueError, match=rf"metadata\.csv', line 6 \(process id .*\): .*{reason}"):
        read(table)
    skipped: list[Skipped] = []
    left = read(table, on_error="skip", skipped=skipped)
    assert [record.row for record in skipped] == [4] and len(left) == len(rows) - 1
    assert left["row"].to_pylist() == [i for i in range(len(rows)) if i != 4]


def test_a_repeated_process_id_is_found_across_the_file(table: Path, rows: list[Row]) -> None:
    change(table, 20, processid=str(rows[3]["processid"]))
    with pytest.raises(ValueError, match=rf"line 22 \(process id '{rows[3]['processid']}'\): .* more than once"):
        read(table)


def test_lines_with_too_few_or_too_many_fields(table: Path, rows: list[Row]) -> None:
    lines = table.read_text().splitlines()
    lines[3], lines[7] = lines[3].rsplit(",", 2)[0], lines[7] + ",more"
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(
        ValueError, match=rf"line 4 \(process id '{rows[2]['processid']}'\): expected 23 fields; got 21"
    ):
        read(table)
    skipped: list[Skipped] = []
    left = read(table, on_error="skip", skipped=skipped)
    assert [(record.row, record.processid) for record in skipped] == [(i, rows[i]["processid"]) for i in (2, 6)]
    assert left["row"].to_pylist() == [i for i in range(len(rows)) if i not in (2, 6)]


def test_text_that_is_not_utf8_is_found_in_its_record(table: Path, rows: list[Row]) -> None:
    lines = table.read_bytes().splitlines()
    lines[2] = lines[2].replace(b"Simulopoda", b"Sim\xfcl")
    table.write_bytes(b"\n".join(lines))
    with pytest.raises(ValueError, match=r"line 3 .*: 'phylum' must be text in UTF-8; got 'Sim.xfcl'"):
        read(table)


def test_wrong_columns_empty_files_and_other_files(tmp_path: Path, table: Path) -> None:
    table.write_text(table.read_text().replace("dna_barcode", "nucleotides", 1))
    with pytest.raises(ValueError, match=r"lacks the columns \['dna_barcode'\]; found .*nucleotides"):
        read(table)
    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(ValueError, match=r"empty.csv' cannot be read: Empty CSV file"):
        read(empty)
    empty.write_text(",".join(COLUMN_NAMES) + "\n")
    with pytest.raises(ValueError, match="holds no records"):
        read(empty)
    other = tmp_path / "metadata.xml"
    other.write_text("<x/>")
    with pytest.raises(ValueError, match="unknown kind"):
        read(other)


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    make_release(tmp_path, made_rows(3))
    archive = tmp_path / METADATA_ARCHIVE
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"MultiTypes.zip' cannot be read: File is not a zip file"):
        read(tmp_path)
    damaged = bytearray(whole)
    damaged[2000] ^= 255
    archive.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"MultiTypes.zip' .* cannot be read: "):
        read(tmp_path)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / METADATA_ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(METADATA_MEMBERS["csv"], "w") as member,
    ):
        for _ in range(220):
            member.write(bytes(1 << 20))
    with pytest.raises(ValueError, match=r"would inflate from .* refused"):
        read(tmp_path)


def test_json_that_breaks_off_or_lacks_a_column(tmp_path: Path, rows: list[Row]) -> None:
    path = write_jsonld(tmp_path / "metadata.jsonld", rows)
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match="broken off or not JSON"):
        read(path)
    records = json.loads(text)
    del records[1]["genus"]
    path.write_text(json.dumps(records))
    with pytest.raises(ValueError, match=rf"record 2 \(process id '{rows[1]['processid']}'\): lacks \['genus'\]"):
        read(path)
    skipped: list[Skipped] = []
    assert read(path, on_error="skip", skipped=skipped)["row"].to_pylist() == [0, *range(2, len(rows))]
    assert [record.row for record in skipped] == [1]


def test_many_blocks_keep_order_and_numbers(tmp_path: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioscan_hf.data.metadata.BLOCK_BYTES", 10_000)
    monkeypatch.setattr("bioscan_hf.data.metadata.ROWS_PER_TABLE", 7)
    many = [{**row, "processid": f"{row['processid']}-{i}"} for i in range(10) for row in rows]
    path = write_csv(tmp_path / "many.csv", many)
    tables = list(read_metadata(MetadataSource(path)))
    assert len(tables) > 5
    whole = pa.concat_tables(tables)
    assert whole["processid"].to_pylist() == [row["processid"] for row in many]
    assert whole["row"].to_pylist() == list(range(len(many)))
    assert read(write_jsonld(tmp_path / "many.jsonld", many)).equals(whole)
    change(path, 100, processid=str(many[3]["processid"]))
    lines = path.read_text().splitlines()
    lines[71] += ",more"
    path.write_text("\n".join(lines))
    left = read(path, on_error="skip")
    assert left["row"].to_pylist() == [i for i in range(len(many)) if i not in (70, 100)]
    with pytest.raises(ValueError, match="line 72 "):
        read(path)
