import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioscan_hf.data.features import bioscan_features
from bioscan_hf.data.inputs import read_specimens, read_splits
from tests.tiny import CSV

FASTA = ">A1|Aus bus|COI-5P|GB1\nACGT\nacg-t\n\n>B1 some words\nUUUN\n"


def write(path: Path, text: str) -> Path:
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8", newline="") as file:
        file.write(text)
    return path


@pytest.mark.parametrize("name", ["a.fasta", "a.fa.gz"])
def test_fasta_with_bold_headers(name: str, tmp_path: Path) -> None:
    table = read_specimens(write(tmp_path / name, FASTA))
    assert table.schema == bioscan_features(image=False).arrow_schema
    assert table["processid"].to_pylist() == ["A1", "B1"]
    assert table["dna_barcode"].to_pylist() == ["ACGTACGT", "TTTN"]
    assert table["genus"].to_pylist() == ["Aus", None] and table["species"].to_pylist() == ["Aus bus", None]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimited_text(name: str, newline: str, tmp_path: Path) -> None:
    text = CSV.replace(",", "\t") if ".tsv" in name else CSV
    table = read_specimens(write(tmp_path / name, "\ufeff" + text.replace("\n", newline)))
    assert len(table) == 6 and table["split"].to_pylist()[:2] == ["train", "test"]
    assert table["species"].to_pylist()[-1] is None
    assert table["country"].null_count == 6


def test_columns_of_bold_exports_are_recognised(tmp_path: Path) -> None:
    text = "processid,bin_uri,species_name,lat,nucleotides\nA1,BOLD:AAA0001,Aus bus,-1.5,ACGT\n"
    row = read_specimens(write(tmp_path / "a.csv", text)).to_pylist()[0]
    assert row["dna_bin"] == "BOLD:AAA0001" and row["species"] == "Aus bus" and row["coord-lat"] == -1.5


def test_parquet_keeps_types(tmp_path: Path) -> None:
    pq.write_table(pa.table({"processid": ["A1"], "dna_barcode": ["acgt"], "chunk": ["00"]}), tmp_path / "a.parquet")
    row = read_specimens(tmp_path / "a.parquet").to_pylist()[0]
    assert row["dna_barcode"] == "ACGT" and row["chunk"] == "00"


def test_the_25_real_rows_of_bioscan_5m_fit_the_schema() -> None:
    import bioscan_hf.data

    table = read_specimens(Path(bioscan_hf.data.__file__).parent / "sample" / "bioscan5m_rows.csv")
    assert len(table) == 25 and table["coord-lat"][0].as_py() == -35.019 and table["chunk"][0].as_py() == "1a"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.fasta", "ACGT\n", "line 1: expected '>' and a process id; got 'ACGT'"),
        ("a.fasta", ">A1\n>B1\nACGT\n", "barcode of 'A1' is empty"),
        ("a.fasta", ">A1\nACGTMKVLQ\n", "barcode of 'A1' has 'L' at position 8"),
        ("a.fasta", ">\nACGT\n", "record 1: the process id is empty"),
        ("a.fasta", "", "holds no specimens"),
        ("a.csv", "", "is empty"),
        ("a.csv", "processid,dna_barcode\n", "holds no specimens"),
        ("a.csv", "processid,dna_barcode\nA1,\n", "barcode of 'A1' is empty"),
        ("a.csv", "processid,dna_barcode\nA1,ACGT\nA1,ACGA\n", "'A1' occurs more than once"),
        ("a.csv", "name,species\nA1,Aus bus\n", r"needs the columns .* found \['name', 'species'\]"),
        ("a.csv", "processid,dna_barcode\nA1,ACGT,3\n", "cannot be read.*Expected 2 columns"),
        ("a.csv", "processid,dna_barcode,coord-lat\nA1,ACGT,north\n", "cannot be read.*north"),
        ("a.csv", "processid,dna_barcode,split\nA1,ACGT,trian\n", "Did you mean 'train'"),
        ("a.csv", "processid,dna_barcode,split\nA1,ACGT,unseen\n", "one split per specimen; got 'unseen'"),
        ("a.docx", "x", "unknown kind; expected one of the endings"),
        ("a.parquet", "x", "cannot be read"),
    ],
)
def test_bad_file_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_specimens(write(tmp_path / name, text))
    assert name in str(error.value) and "\n" not in str(error.value)


def test_broken_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.fasta.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match="cannot be read"):
        read_specimens(tmp_path / "a.fasta.gz")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"):
        read_specimens(tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError, match="No such file"):
        read_splits(tmp_path / "a.csv")


def test_splits_of_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown kind; expected one of the endings \.csv"):
        read_splits(write(tmp_path / "s.fasta", FASTA))


def test_splits_take_any_name_of_the_second_column(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv.gz", "processid,suggested_split\nA1,train\nB1,validation\nC1,\n")
    assert read_splits(path) == {"A1": "train", "B1": "val", "C1": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("processid,split\nA1,trian\n", "Did you mean 'train'"),
        ("processid,split\nA1,seen\n", "one split per specimen; got 'seen'"),
        ("processid,split\nA1,train+val\n", "one split per specimen"),
        ("processid\nA1\n", "must have the column 'processid' and one with the split"),
        ("id,split\nA1,train\n", "must have the column 'processid'"),
    ],
)
def test_bad_splits_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_splits(write(tmp_path / "s.csv", text))
