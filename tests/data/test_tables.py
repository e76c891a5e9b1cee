from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioscan_hf.data.raw_records import RECORDS_PER_BATCH, RawRecords
from bioscan_hf.data.tables import column_names, read_table


def read(path: Path, text: str) -> RawRecords:
    """The only batch of a table, all columns."""
    path.write_bytes(text.encode())
    (batch,) = read_table(path, {name: name for name in column_names(path)})
    return batch


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t"), ("a.txt", "\t")])
def test_lines_are_counted_whatever_ends_them(newline: str, name: str, delimiter: str, tmp_path: Path) -> None:
    text = "id , x\n1,a\n\n2, b \n,\n\n3,\n".replace(",", delimiter).replace("\n", newline)
    batch = read(tmp_path / name, "\ufeff" + text)
    assert batch.table.to_pydict() == {"id": [b"1", b"2", b"3"], "x": [b"a", b"b", None]}
    assert batch.places.tolist() == [2, 4, 7]


def test_quoted_fields_may_hold_delimiters_quotes_and_line_breaks(tmp_path: Path) -> None:
    batch = read(tmp_path / "a.csv", 'id,notes\n1,"a, ""b""\nand c"\n2,"d"\n')
    assert batch.table["notes"].to_pylist() == [b'a, "b"\nand c', b"d"] and batch.places.tolist() == [2, 4]


def test_exports_of_bold_quote_nothing(tmp_path: Path) -> None:
    text = 'processid\tnotes\tmarker_code\nA1\t"\tCOI-5P\nA2\t"x" y\tCOI-5P\n'
    assert read(tmp_path / "a.tsv", text).table["notes"].to_pylist() == [b'"', b'"x" y']
    # R quotes the names of columns, too: then it is R that wrote the file.
    text = '"processid"\t"notes"\t"marker_code"\n"A1"\t"x ""y"""\t"COI-5P"\n'
    assert read(tmp_path / "a.tsv", text).table["notes"].to_pylist() == [b'x "y"']


@pytest.mark.parametrize("line", ["A2,ACGT", "A2,ACGT,x,y"])
def test_a_record_with_other_fields_is_malformed(line: str, tmp_path: Path) -> None:
    batch = read(tmp_path / "a.csv", f"processid,dna_barcode,taxon\nA1,ACGT,x\n{line}\nA3,ACGT,x\n")
    assert batch.table["processid"].to_pylist() == [b"A1", b"A3"] and batch.places.tolist() == [2, 4]
    (bad,) = batch.malformed
    assert (bad.row, bad.processid) == (3, "A2") and bad.reason == f"expected 3 fields; got {len(line.split(','))}."


@pytest.mark.parametrize("tail", ["", '\nA3,"ACGT"x', "\nA3,x" * 20_000])
def test_a_quotation_mark_left_open_is_refused_with_its_line(tail: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.csv', line 3: .*is a quotation mark left open\?"):
        read(tmp_path / "a.csv", f'processid,notes\nA1,x\nA2,"y{tail}')


def test_columns_are_named_as_asked(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,id,other\n1,2,3\n")
    (batch,) = read_table(tmp_path / "a.csv", {"processid": "id"})
    assert batch.table.to_pydict() == {"processid": [b"1"]}


def test_a_parquet_table_is_read_as_text(tmp_path: Path) -> None:
    table = pa.table(
        {
            "processid": pa.array(["A1", "A2"], pa.large_string()),
            "lat": [0.1 + 0.2, float("nan")],
            "size": pa.array([146774, None], pa.int64()),
            "order": pa.array(["Diptera", ""]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    (batch,) = read_table(tmp_path / "a.parquet", {name: name for name in column_names(tmp_path / "a.parquet")})
    assert batch.table.to_pydict() == {
        **{"processid": [b"A1", b"A2"], "lat": [b"0.30000000000000004", None]},
        **{"size": [b"146774", None], "order": [b"Diptera", None]},
    }
    assert batch.places.tolist() == [1, 2]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_many_records_come_in_batches(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    ids = [str(i) for i in range(RECORDS_PER_BATCH + 1)]
    if kind == "csv":
        path.write_text("\n".join(["id", *ids]))
    else:
        pq.write_table(pa.table({"id": ids}), path)
    batches = list(read_table(path, {"id": "id"}))
    assert [len(batch.table) for batch in batches] == [RECORDS_PER_BATCH, 1]
    assert batches[1].places.tolist() == [RECORDS_PER_BATCH + (2 if kind == "csv" else 1)]


@pytest.mark.parametrize("text", ["", "\n", " \n\n"])
def test_an_empty_file_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.csv' is empty; expected a line of column names"):
        read(tmp_path / "a.csv", text)
