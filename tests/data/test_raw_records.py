import gzip
from pathlib import Path

import pytest

from bioscan_hf.data.raw_records import ending, open_text, raw_records


def read(path: Path) -> str:
    with open_text(path) as lines:
        return lines.read()


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfC\xc3\xb4te\r\n")
    assert read(tmp_path / "a.txt") == "Côte\n"


def test_gzip_is_told_by_the_ending(tmp_path: Path) -> None:
    (tmp_path / "a.CSV.GZ").write_bytes(gzip.compress(b"text"))
    assert read(tmp_path / "a.CSV.GZ") == "text"
    assert ending(tmp_path / "a.CSV.GZ") == ".csv"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_refused(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("processid,dna_barcode\n", encoding=encoding)
    with pytest.raises(ValueError, match=r"a\.csv' is UTF-16, or no text; save it as UTF-8"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_another_encoding_is_refused_with_its_line_and_the_way_to_convert(name: str, tmp_path: Path) -> None:
    # Far behind the first lines, so that the line is not that of the block which was being decoded.
    text = b"x\n" * 30_000 + "Côte d'Ivoire\n".encode("cp1252") + b"x\n" * 10
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    with pytest.raises(ValueError, match=rf"{name}', line 30001: not UTF-8; .*iconv -f ISO-8859-1"):
        read(tmp_path / name)


@pytest.mark.parametrize("damage", ["cut", "changed", "never"])
def test_damaged_gzip_is_refused(damage: str, tmp_path: Path) -> None:
    whole = gzip.compress(bytes(range(32, 127)) * 500, mtime=0)
    middle = len(whole) // 2
    damaged = {"cut": whole[:-9], "changed": whole[:middle] + b"\xff" * 20 + whole[middle + 20 :], "never": b"text"}
    (tmp_path / "a.csv.gz").write_bytes(damaged[damage])
    with pytest.raises(ValueError, match=r"a\.csv\.gz' cannot be read"):
        read(tmp_path / "a.csv.gz")


def test_what_stands_for_no_value_is_null() -> None:
    records = raw_records({"country": ["", "None", "NA", "nan", None, "Nauru"]}, range(6))
    assert records.table["country"].to_pylist() == [*[None] * 5, b"Nauru"]
    assert records.places.tolist() == [0, 1, 2, 3, 4, 5] and not records.malformed
