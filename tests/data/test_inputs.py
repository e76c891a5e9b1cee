import gzip
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from bioscan_hf import load_specimens
from bioscan_hf.data.features import bioscan_features
from bioscan_hf.data.inputs import check_records, match_columns, read_specimens, read_splits
from bioscan_hf.data.raw_records import RawRecords
from bioscan_hf.tokenization.letters import clean_barcode
from tests.tiny import CSV

FASTA = ">A1|Aus bus|COI-5P|GB1\nACGT\nacg-t\n\n>B1 some words\nUUUN\n"
BOLD_4 = (
    "processid\tsampleid\tbin_uri\tphylum_name\tclass_name\torder_name\tfamily_name\tsubfamily_name\tgenus_name\t"
    "species_name\tlat\tlon\tcountry\tprovince_state\tmarkercode\tnucleotides\n"
    "A1-08\tS1\tBOLD:AAA0001\tArthropoda\tInsecta\tDiptera\tSciaridae\t\tAus\tAus bus\t-1.5\t30\tKenya\tKilifi\t"
    "COI-5P\t--ACGT\n"
    "A1-08\tS1\tBOLD:AAA0001\tArthropoda\tInsecta\tDiptera\tSciaridae\t\tAus\tAus bus\t-1.5\t30\tKenya\tKilifi\t"
    "28S\tGGGG\n"
    "A2-08\tS2\t\tArthropoda\tInsecta\tDiptera\t\t\t\t\t\t\tKenya\t\t\t\n"
)
BOLD_5 = (
    "processid\tsampleid\tbin_uri\tkingdom\tphylum\tclass\torder\tfamily\tsubfamily\ttribe\tgenus\tspecies\t"
    "identification\tcollectors\tcountry/ocean\tprovince/state\tcoord\tnuc\tmarker_code\n"
    "A1-08\tS1\tBOLD:AAA0001\tAnimalia\tArthropoda\tInsecta\tDiptera\tSciaridae\tNone\tNone\tAus\tAus bus\t"
    'Aus bus\t"\tKenya\tKilifi\t(-1.5, 30)\t--ACGT\tCOI-5P\n'
    "A1-08\tS1\tBOLD:AAA0001\tAnimalia\tArthropoda\tInsecta\tDiptera\tSciaridae\tNone\tNone\tAus\tAus bus\t"
    "Aus bus\tNone\tKenya\tKilifi\t(-1.5, 30)\tGGGG\t28S\n"
    "A2-08\tS2\tNone\tAnimalia\tArthropoda\tInsecta\tDiptera\tNone\tNone\tNone\tNone\tNone\t"
    "Diptera\tNone\tKenya\tNone\tNone\tNone\tNone\n"
)


def write(path: Path, text: str) -> Path:
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8", newline="") as file:
        file.write(text)
    return path


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """A warning that a test does not expect is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


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


@pytest.mark.parametrize("text", [BOLD_4, BOLD_5, BOLD_4.replace("\t", ",")])
def test_exports_of_bold(text: str, tmp_path: Path) -> None:
    path = write(tmp_path / ("a.tsv" if "\t" in text else "a.csv"), text)
    with pytest.warns(UserWarning, match=r"left out 2 that are not of the marker COI-5P \(28S: 1, no sequence: 1\)"):
        (row,) = read_specimens(path).to_pylist()
    assert {name: value for name, value in row.items() if value is not None and name != "taxon"} == {
        **{"processid": "A1-08", "sampleid": "S1", "dna_bin": "BOLD:AAA0001", "dna_barcode": "ACGT"},
        **{"phylum": "Arthropoda", "class": "Insecta", "order": "Diptera", "family": "Sciaridae", "genus": "Aus"},
        **{"species": "Aus bus", "country": "Kenya", "province_state": "Kilifi", "coord-lat": -1.5, "coord-lon": 30},
    }


@pytest.mark.parametrize("coordinates", ["(-1.5, 30)", "[-1.5,30.0]", "-1.5,30"])
def test_coordinates_in_one_field(coordinates: str, tmp_path: Path) -> None:
    text = f"processid\tnuc\tcoord\nA1\tACGT\t{coordinates}\nA2\tACGT\t\n"
    table = read_specimens(write(tmp_path / "a.tsv", text))
    assert table["coord-lat"].to_pylist() == [-1.5, None] and table["coord-lon"].to_pylist() == [30, None]


def test_coordinates_in_two_fields_go_before_one() -> None:
    assert "coord" not in match_columns(["processid", "coord", "LAT", "Lon"])
    assert match_columns(["lat"]) == {"coord-lat": "lat"}


def test_other_markers_of_fasta_files_are_left_out(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.fas", ">A1|Aus bus|28S|\nGG\n>A1|Aus bus|coi-5p|\nACGT\n>A2|28S|None|a,b,c,d,e,f,g,h,i\nG\n"
    )
    with pytest.warns(UserWarning, match=r"left out 2 that are not of the marker COI-5P \(28S: 2\)"):
        assert read_specimens(path)["dna_barcode"].to_pylist() == ["ACGT"]


def test_an_export_without_the_barcode_marker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"a\.fas': left out 1 that are not of the marker COI-5P \(16S: 1\); nothing is left"
    ):
        read_specimens(write(tmp_path / "a.fas", ">A1|Aus bus|16S\nACGT\n"))


def test_parquet_keeps_types(tmp_path: Path) -> None:
    lat = 0.1 + 0.2
    columns = {"processid": ["A1"], "dna_barcode": ["acgt"], "chunk": ["00"], "coord-lat": [lat]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    row = read_specimens(tmp_path / "a.parquet").to_pylist()[0]
    assert row["dna_barcode"] == "ACGT" and row["chunk"] == "00" and row["coord-lat"] == lat


def test_what_was_read_reads_the_same_from_parquet(tmp_path: Path, sample: Dataset) -> None:
    sample.to_parquet(tmp_path / "a.parquet")
    assert read_specimens(tmp_path / "a.parquet").to_pylist() == sample.to_list()


def test_images_of_a_parquet_file(tmp_path: Path) -> None:
    expected = load_specimens(image=True).select(range(5))
    expected.to_parquet(tmp_path / "a.parquet")
    found = load_specimens(tmp_path / "a.parquet", image=True)
    assert found.features == bioscan_features() and found.to_list() == expected.to_list()
    assert "image" not in load_specimens(tmp_path / "a.parquet").column_names


def test_skipped_records_take_their_images_with_them(tmp_path: Path) -> None:
    columns = {
        "processid": ["A1", "A2", "A3"],
        "dna_barcode": ["ACGT", "ACGE", "ACGG"],
        "image": ["1.jpg", "2.jpg", "3"],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.warns(UserWarning, match=r"row 2 \(process id 'A2'\): the barcode has 'E' at position 4"):
        table = read_specimens(tmp_path / "a.parquet", image=True, on_error="skip")
    assert table["processid"].to_pylist() == ["A1", "A3"]
    assert table["image"].to_pylist() == [{"bytes": None, "path": "1.jpg"}, {"bytes": None, "path": "3"}]


def test_images_are_refused_where_there_are_none(tmp_path: Path) -> None:
    pq.write_table(pa.table({"processid": ["A1"], "dna_barcode": ["ACGT"]}), tmp_path / "a.parquet")
    for path in (write(tmp_path / "a.csv", CSV), write(tmp_path / "a.fa", FASTA), tmp_path / "a.parquet"):
        with pytest.raises(
            ValueError, match="has no images: `image=True` needs a Parquet file with the column 'image'"
        ):
            read_specimens(path, image=True)


def test_the_25_real_rows_of_bioscan_5m_fit_the_schema() -> None:
    import bioscan_hf.data

    table = read_specimens(Path(bioscan_hf.data.__file__).parent / "sample" / "bioscan5m_rows.csv")
    assert len(table) == 25 and table["coord-lat"][0].as_py() == -35.019 and table["chunk"][0].as_py() == "1a"


HEAD = "processid,dna_barcode,coord-lat,coord-lon,image_measurement_value,split\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.fasta", "ACGT\n", "line 1: expected '>' and a process id; got 'ACGT'"),
        ("a.fasta", ">A1\n>B1\nACGT\n", r"line 1 \(process id 'A1'\): the barcode is empty"),
        (
            "a.fasta",
            ">A1\n\nACGTE\nRKL\n",
            r"line 1 \(process id 'A1'\): the barcode has 'E' at position 5, and 'L'; ex",
        ),
        (
            "a.fasta",
            ">A1\nACGT\n>B1|Aus bus|COI-5P\nMFINRWLFSTNHKDIG\nTLYLLFGAWAG*\n",
            r"line 3 \(process id 'B1'\): the barcode looks like a protein: it has 'F' at position 2, .*nucleotides",
        ),
        ("a.fasta", ">A1\nACGÉ\n", r"line 1 \(process id 'A1'\): the barcode has 'É' at position 4"),
        ("a.fasta", ">A1\nAC\n>\nACGT\n", "line 3: the process id is empty"),
        ("a.fasta", ">É1\nACGT\n", r"line 1 \(process id 'É1'\): the process id must be ASCII .*got 'É1'"),
        ("a.fasta", ">A/1\nACGT\n", r"line 1 \(process id 'A/1'\): the process id must be"),
        (
            "a.fasta",
            ">A1\nA\n>B1\nA\n>A1\nC\n",
            r"line 5 \(process id 'A1'\): .*more than once; line 1 has the same process id",
        ),
        ("a.fasta", "", "holds no specimens"),
        ("a.csv", "", "is empty"),
        ("a.csv", "processid,dna_barcode\n", "holds no specimens"),
        ("a.csv", "processid,dna_barcode\nA1,\n", r"line 2 \(process id 'A1'\): the barcode is empty"),
        (
            "a.csv",
            "processid,dna_barcode\nA1,ACGT\nA2,mfinrwlfstnhkdig\n",
            r"line 3 \(process id 'A2'\): the barcode looks like a protein",
        ),
        ("a.csv", "processid,dna_barcode\nA1,658\n", r"line 2 \(process id 'A1'\): the barcode is the number 658"),
        ("a.csv", "processid,dna_barcode\nA1,A\n\n,C\n", "line 4: the process id is empty"),
        (
            "a.csv",
            "processid,dna_barcode\nA1,A\nB1,C\nA1,A\n",
            r"line 4 \(process id 'A1'\): .*; line 2 has the same process id",
        ),
        ("a.csv", "name,species\nA1,Aus bus\n", r"needs the columns .* found \['name', 'species'\]"),
        ("a.csv", "processid;dna_barcode\nA1;ACGT\n", r"needs the columns .* found \['processid;dna_barcode'\]"),
        ("a.csv", "processid,dna_barcode\nA1,ACGT,3\n", r"line 2 \(process id 'A1'\): expected 2 fields; got 3"),
        ("a.csv", "processid,dna_barcode\nA1,ACGT\nA2\n", r"line 3 \(process id 'A2'\): expected 2 fields; got 1"),
        (
            "a.csv",
            HEAD + "A1,ACGT,north,,,\n",
            r"line 2 \(process id 'A1'\): 'coord-lat' must be a number.*got 'north'",
        ),
        ("a.csv", HEAD + "A1,A,,,\nA2,ACGT,,,1O,\n", r"line 2 \(process id 'A1'\): expected 6 fields; got 5"),
        ("a.csv", HEAD + "A1,A,,,146774.0,\nA2,C,,,1O,\n", r"line 3 .*'image_measurement_value' must be .*got '1O'"),
        ("a.csv", HEAD + "A1,ACGT,90.1,0,,\n", "'coord-lat' must be within 90 degrees; got 90.1"),
        ("a.csv", HEAD + "A1,ACGT,0,-180.5,,\n", "'coord-lon' must be within 180 degrees; got -180.5"),
        ("a.csv", HEAD + "A1,ACGT,,,,trian\n", r"line 2 \(process id 'A1'\): `split` must be one of .*; got 'trian'"),
        ("a.csv", HEAD + "A1,ACGT,,,,unseen\n", "`split` must be one of .*; got 'unseen'"),
        (
            "a.tsv",
            "processid\tnuc\tcoord\nA1\tACGT\t(north, 3)\n",
            r"line 2 .*'coord-lat' must be a number.*got 'north'",
        ),
        ("a.docx", "x", "unknown kind; expected one of the endings .fasta, .*, .parquet"),
        ("a.parquet", "x", "cannot be read"),
    ],
)
def test_bad_file_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_specimens(write(tmp_path / name, text))
    assert f"'{tmp_path / name}'" in str(error.value) and "\n" not in str(error.value)


def test_a_bad_row_of_a_parquet_file_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"processid": ["A1", "A1"], "dna_barcode": ["ACGT", "ACGA"]}), tmp_path / "a.parquet")
    with pytest.raises(
        ValueError, match=r"row 2 \(process id 'A1'\): the process id occurs .*; row 1 has the same process id"
    ):
        read_specimens(tmp_path / "a.parquet")


def test_iupac_letters_gaps_and_lower_case_are_accepted(tmp_path: Path) -> None:
    table = read_specimens(write(tmp_path / "a.csv", "processid,dna_barcode\nA1,ac-GU. nrYSWKMBDHV\n"))
    assert table["dna_barcode"].to_pylist() == ["ACGTNRYSWKMBDHV"]


@given(barcode=st.text("ACGTUNRYSWKMBDHVacgtun-. \t\n\f\r\v\u00a0EXßé*1", min_size=1, max_size=20))
def test_files_and_single_barcodes_are_cleaned_by_the_same_rule(barcode: str) -> None:
    columns = {"processid": pa.array([b"A1"]), "dna_barcode": pa.array([barcode.encode()])}
    records = RawRecords(pa.table(columns), np.array([1], np.int32), [])

    def read() -> pa.Table:
        return check_records([records], "a.fa", lambda line: f"line {line}", on_error="raise")

    try:
        expected = clean_barcode(barcode)
    except ValueError as error:
        with pytest.raises(ValueError, match="(?i)" + re.escape(f"'a.fa', line 1 (process id 'A1'): {error}") + "$"):
            read()
    else:
        assert read()["dna_barcode"].to_pylist() == [expected]


def test_skipping_leaves_out_bad_records_and_says_which(tmp_path: Path) -> None:
    good = [f"G{i},ACGT,{i}" for i in range(3)]
    bad = ["B1,ACGT,x", "B2,ACGT", "B3,ACGE,1", ",ACGT,2", "G0,ACGA,3", "B4,,1", "B5,ACGT,91"]
    lines = ["processid,dna_barcode,coord-lat", good[0], *bad[:4], good[1], *bad[4:], good[2]]
    path = write(tmp_path / "a.csv", "\n".join(lines))
    with pytest.warns(UserWarning) as caught:
        table = read_specimens(path, on_error="skip")
    assert table["processid"].to_pylist() == ["G0", "G1", "G2"] and table["coord-lat"].to_pylist() == [0, 1, 2]
    assert str(caught[0].message) == (
        f"'{path}': left out 7 of 10 because they are bad: "
        "line 3 (process id 'B1'): 'coord-lat' must be a number (double); got 'x'. "
        "line 4 (process id 'B2'): expected 3 fields; got 2. "
        "line 5 (process id 'B3'): the barcode has 'E' at position 4; expected ACGTNRYSWKMBDHV. "
        "line 6: the process id is empty; every specimen needs one. "
        "line 8 (process id 'G0'): the process id occurs more than once; line 2 has the same process id."
        " ... and 2 more."
    )
    assert len(caught) == 1 and caught[0].filename == __file__


def test_skipping_everything_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "processid,dna_barcode\nA1,\n")
    with pytest.warns(UserWarning, match="left out 1 of 1"), pytest.raises(ValueError, match="holds no specimens"):
        read_specimens(path, on_error="skip")


def test_repeats_are_found_far_apart(tmp_path: Path) -> None:
    ids = [*range(25_000), 7]
    path = write(tmp_path / "a.csv", "processid,dna_barcode\n" + "".join(f"A{i},ACGT\n" for i in ids))
    with pytest.raises(ValueError, match=r"line 25002 \(process id 'A7'\): .*; line 9 has the same process id"):
        read_specimens(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"):
        read_specimens(tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError, match="No such file"):
        read_splits(tmp_path / "a.csv")


def test_splits_of_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown kind; expected one of the endings \.csv"):
        read_splits(write(tmp_path / "s.fasta", FASTA))


def test_splits_take_any_name_of_the_second_column(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv.gz", "processid,suggested_split\nA1,train\nB1,validation\nC1,\nA1,train\n")
    assert read_splits(path) == {"A1": "train", "B1": "val", "C1": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("processid,split\nA1,trian\n", "Did you mean 'train'"),
        ("processid,split\nA1,seen\n", "one split per specimen; got 'seen'"),
        ("processid,split\nA1,train+val\n", "one split per specimen"),
        ("processid,split\nA1,train\nA2,val\nA1,val\n", "'A1' has two splits, 'train', 'val'"),
        ("processid,split\nA1,train\nA2\n", r"line 3 \(process id 'A2'\): expected 2 fields; got 1"),
        ("processid\nA1\n", "must have the column 'processid' and one with the split"),
        ("id,split\nA1,train\n", "must have the column 'processid'"),
    ],
)
def test_bad_splits_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_splits(write(tmp_path / "s.csv", text))


def test_another_way_with_errors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`on_error` must be one of \['raise', 'skip'\]; got 'ignore'"):
        read_specimens(write(tmp_path / "a.csv", CSV), on_error="ignore")  # type: ignore[arg-type]


def test_specimens_with_images_may_lack_a_barcode(tmp_path: Path) -> None:
    images = [{"bytes": b"not looked into", "path": None}] * 2
    table = pa.table(
        {"processid": ["A", "B"], "image": images, "dna_barcode": [None, "ACGT"], "species": ["a b", None]}
    )
    pq.write_table(table, tmp_path / "images.parquet")
    read = read_specimens(tmp_path / "images.parquet", image=True)
    assert read["dna_barcode"].to_pylist() == [None, "ACGT"] and read["image"].null_count == 0
    pq.write_table(table.drop_columns("dna_barcode"), tmp_path / "without.parquet")
    assert read_specimens(tmp_path / "without.parquet")["dna_barcode"].null_count == 2
    pq.write_table(table.drop_columns("image"), tmp_path / "barcodes.parquet")
    with pytest.raises(ValueError, match=r"row 1 .*the barcode is empty"):
        read_specimens(tmp_path / "barcodes.parquet")
