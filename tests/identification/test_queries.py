import gzip
import itertools
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Image
from hypothesis import assume, given
from hypothesis import strategies as st

from bioscan_hf.data.inputs import read_specimens
from bioscan_hf.data.raw_records import NO_VALUE, RECORDS_PER_BATCH
from bioscan_hf.data.selection import select_split
from bioscan_hf.data.specimens import load_specimens
from bioscan_hf.identification.queries import Queries, read_queries
from bioscan_hf.tokenization.letters import MAX_LETTERS, clean_barcode
from tests.made_conversion import make_conversion
from tests.made_release import made_rows, make_release
from tests.tiny import CSV

HEAD = "processid,dna_barcode,coord-lat,coord-lon\n"
BOLD_5 = (
    "processid\tsampleid\tidentification\tcollectors\tcoord\tnuc\tmarker_code\n"
    'A1-08\tS1\tAus bus\t"\t(-1.5, 30)\t--ACGT\tCOI-5P\n'
    "A1-08\tS1\tAus bus\tNone\t(-1.5, 30)\tGGGG\t28S\n"
    "A2-08\tS2\tDiptera\tNone\tNone\tNone\tNone\n"
    "A3-08\tS3\tDiptera\tNone\tNone\tNone\tCOI-5P\n"
)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """A warning that a test does not expect is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def write(path: Path, text: str) -> Path:
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8", newline="") as file:
        file.write(text)
    return path


def read(source: str | Path, **options: Any) -> Queries:
    """All queries as one batch."""
    parts = list(read_queries(source, **options))
    lists = [
        None if columns[0] is None else list(itertools.chain.from_iterable(columns))
        for columns in zip(*(part[:4] for part in parts), strict=True)
    ]
    places = [np.concatenate([getattr(part, name) for part in parts]) for name in ("latitudes", "longitudes")]
    return Queries(*lists, *places)  # type: ignore[arg-type]


def noted(queries: Queries) -> list[tuple[str, str | None, str | None]]:
    return list(zip(queries.processids, queries.barcodes, queries.notes, strict=True))


@pytest.mark.parametrize("name", ["a.fasta", "a.fa.gz", "a.csv", "a.csv.gz", "a.tsv", "a.parquet"])
def test_good_records_of_every_kind_of_file(name: str, tmp_path: Path) -> None:
    # Lower case, gaps and U are nothing to be noted.
    rows = {"A1": "ACGTacg-t", "A2": "uuu.n", "A3": "RYSWKMBDHV"}
    path = tmp_path / name
    if ".fa" in name:
        write(path, "".join(f">{processid} some words\n{text[:3]}\n{text[3:]}\n" for processid, text in rows.items()))
    elif name == "a.parquet":
        pq.write_table(pa.table({"processid": [*rows], "dna_barcode": [*rows.values()]}), path)
    else:
        text = HEAD[: HEAD.index(",coord")] + "\n" + "".join(f"{key},{value}\n" for key, value in rows.items())
        write(path, text.replace(",", "\t") if name == "a.tsv" else text)
    found = read(path)
    assert noted(found) == [("A1", "ACGTACGT", None), ("A2", "TTTN", None), ("A3", "RYSWKMBDHV", None)]
    assert found.images is None and np.isnan(found.latitudes).all() and np.isnan(found.longitudes).all()


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_good_files_give_what_read_specimens_gives(name: str, tmp_path: Path, sample: Dataset) -> None:
    some = sample.select(range(2_500))
    (some.to_csv if name == "a.csv" else some.to_parquet)(tmp_path / name)
    table, found = read_specimens(tmp_path / name), read(tmp_path / name)
    assert found.processids == table["processid"].to_pylist() and found.barcodes == table["dna_barcode"].to_pylist()
    for column, values in (("coord-lat", found.latitudes), ("coord-lon", found.longitudes)):
        assert np.isfinite(values).any() and np.array_equal(values, table[column].to_numpy(), equal_nan=True)
    assert not any(found.notes)


@given(
    barcodes=st.lists(st.text("ACGTUNRYSWKMBDHVacgtun-. EXßé*1", max_size=20), min_size=1, max_size=8),
    size=st.integers(1, 9),
)
def test_barcodes_are_cleaned_as_single_ones_are(
    barcodes: list[str], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assume(not NO_VALUE & {barcode.strip() for barcode in barcodes} - {""})
    path = tmp_path_factory.getbasetemp() / "queries.parquet"
    pq.write_table(pa.table({"processid": [f"A{i}" for i in range(len(barcodes))], "dna_barcode": barcodes}), path)
    for _, barcode, note in noted(read(path, batch_size=size)):
        text = barcodes.pop(0)
        try:
            expected = clean_barcode(text)
        except ValueError as error:
            reason = str(error).removesuffix(".").replace("; ", ", ")
            assert barcode is None and note == reason[0].lower() + reason[1:]
        else:
            assert (barcode, note) == (expected, None)
    assert not barcodes


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (9, 1),
        (4_321, 300),
        *((2 * RECORDS_PER_BATCH, RECORDS_PER_BATCH + extra) for extra in (-1, 0, 1)),
        (4_321, 9_999),
    ],
)
def test_batches_have_the_size_asked_for_and_keep_the_order(count: int, size: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEAD + "".join(f"A{i},ACGT,{i % 90},-{i % 180}\n" for i in range(count)))
    batches = list(read_queries(path, batch_size=size))
    sizes = [len(column) for batch in batches for column in batch if column is not None]
    assert sizes == [n for n in [size] * (count // size) + [count % size] if n for _ in range(5)]
    found = read(path, batch_size=size)
    assert found.processids == [f"A{i}" for i in range(count)]
    assert found.latitudes.tolist() == [i % 90 for i in range(count)]
    assert found.longitudes.tolist() == [-(i % 180) for i in range(count)]


@pytest.mark.parametrize(
    ("barcode", "note"),
    [
        ("", "the barcode is empty"),
        ("--", "the barcode is empty"),
        ("ACGEL", "the barcode has 'E' at position 4, and 'L', expected ACGTNRYSWKMBDHV"),
        ("658", "the barcode is the number 658, expected ACGTNRYSWKMBDHV"),
        (
            "A" * (MAX_LETTERS + 1),
            "the barcode has 2,001 letters, more than 2,000 (the whole gene COI has about 1,540)",
        ),
        ("MFINRWLFSTNHKDIG", "the barcode looks like a protein: it has 'F' at position 2"),
        ("ACGÉ", "the barcode has 'É' at position 4"),
    ],
)
@pytest.mark.parametrize("name", ["a.fasta", "a.csv"])
def test_a_bad_barcode_becomes_a_row_with_a_note(name: str, barcode: str, note: str, tmp_path: Path) -> None:
    rows = [("A1", "ACGT"), ("B1", barcode), ("A2", "ACGA")]
    line = ">{}\n{}\n" if name == "a.fasta" else "{},{},,\n"
    path = write(tmp_path / name, (HEAD if name == "a.csv" else "") + "".join(line.format(*row) for row in rows))
    first, bad, last = noted(read(path))
    assert first == ("A1", "ACGT", None) and last == ("A2", "ACGA", None)
    assert bad[:2] == ("B1", None) and (bad[2] or "").startswith(note) and not (bad[2] or "").endswith(".")


def test_bad_fields_of_tables_become_notes_in_their_places(tmp_path: Path) -> None:
    lines = ["G1,ACGT,1.5,-2", "M1,ACGT", ",ACGT,3,4", "C1,ACGT,north,5", "C2,ACGE,91,5", "", "M2,ACGT,1,2,3", ",,,"]
    found = read(write(tmp_path / "a.csv", HEAD + "\n".join([*lines, "G1,ACGA,0,180", ",ACGC,,"])))
    letters = "the barcode has 'E' at position 4, expected ACGTNRYSWKMBDHV"
    assert noted(found) == [
        ("G1", "ACGT", None),
        ("M1", None, "expected 4 fields, got 2"),
        ("line 4", "ACGT", "the process id is empty"),
        ("C1", "ACGT", "'coord-lat' must be a number (double), got 'north'"),
        ("C2", None, f"{letters}; 'coord-lat' must be within 90 degrees, got 91"),
        ("M2", None, "expected 4 fields, got 5"),
        ("G1", "ACGA", "the process id occurs more than once"),
        ("line 11", "ACGC", "the process id is empty"),
    ]
    nan = np.nan
    assert np.array_equal(found.latitudes, [1.5, nan, 3, nan, nan, nan, 0, nan], equal_nan=True)
    assert np.array_equal(found.longitudes, [-2, nan, 4, nan, nan, nan, 180, nan], equal_nan=True)


def test_a_record_without_process_id_is_named_by_its_place(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fasta", ">A1\nAC\nGT\n>\nACGA\n> \nACGC\n")
    assert read(path).processids == ["A1", "line 4", "line 6"]
    # Two without one are not repeats of each other.
    assert read(path).notes == [None, *["the process id is empty"] * 2]
    pq.write_table(pa.table({"processid": ["A1", None], "dna_barcode": ["ACGT", "ACGA"]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").processids == ["A1", "row 2"]


def test_repeats_are_noted_far_apart_and_however_long_the_name(tmp_path: Path) -> None:
    long = "L" * 5_000
    names = ["A7", long, *(f"A{i}" for i in range(9_000)), long + "X", long]
    found = read(write(tmp_path / "a.fasta", "".join(f">{name}\nACGT\n" for name in names)), batch_size=1_000)
    note = "the process id occurs more than once"
    assert [i for i, found_note in enumerate(found.notes) if found_note == note] == [9, len(names) - 1]
    assert found.processids == names and found.barcodes == ["ACGT"] * len(names)


def test_other_markers_of_an_export_are_left_out_with_one_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", BOLD_5)
    with pytest.warns(UserWarning) as caught:
        found = read(path)
    assert noted(found) == [("A1-08", "ACGT", None), ("A3-08", None, "the barcode is empty")]
    assert found.latitudes[0] == -1.5 and found.longitudes[0] == 30 and np.isnan(found.latitudes[1])
    message = f"'{path}': left out 2 that are not of the marker COI-5P (28S: 1, no sequence: 1)."
    assert [str(warning.message) for warning in caught] == [message] and caught[0].filename == __file__


def test_other_markers_of_fasta_headers(tmp_path: Path) -> None:
    lineage = "Animalia,Arthropoda,Insecta,Diptera,Sciaridae,None,None,Aus,Aus bus,None"
    headers = ["A1|Aus bus|28S|GB1", "A2|Aus bus|coi-5p|GB2", f"A3|28S|Kenya|{lineage}", f"A4|COI-5P|Kenya|{lineage}"]
    headers += ["A5;tax=k:Animalia,g:Aus|x|28S;", "A6"]
    path = write(tmp_path / "a.fas", "".join(f">{header}\nACGT\n" for header in headers))
    with pytest.warns(UserWarning, match=r"left out 2 .*\(28S: 2\)"):
        assert read(path).processids == ["A2", "A4", "A5", "A6"]
    with pytest.raises(ValueError, match=r"left out 1 that are not of the marker COI-5P \(28S: 1\); nothing is left"):
        read(write(tmp_path / "b.fas", f">{headers[0]}\nACGT\n"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.fasta", "", "holds no specimens"),
        ("a.fasta", "ACGT\n", "line 1: expected '>' and a process id; got 'ACGT'"),
        ("a.fasta", "PK\x03\x04\x00", "UTF-16, or no text"),
        ("a.csv", "", "is empty; expected a line of column names"),
        ("a.csv", HEAD, "holds no specimens"),
        ("a.csv", "name,species\nA1,Aus bus\n", r"needs the columns 'processid' and 'dna_barcode'; found \['name'"),
        ("a.csv", HEAD + 'A1,"ACGT,,\n', "line 2: .*is a quotation mark left open"),
        ("a.fa.gz", None, "cannot be read"),
        ("a.parquet", "x", "cannot be read"),
        ("a.docx", "x", "unknown kind; expected one of the endings .fasta, .*, .parquet"),
    ],
)
def test_a_file_that_is_none_is_refused(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if text is None:
        path.write_bytes(gzip.compress(b">A1\nACGT\n" * 99)[:-9])
    else:
        write(path, text)
    with pytest.raises(ValueError, match=message) as error:
        read(path)
    assert f"'{path}'" in str(error.value) and "\n" not in str(error.value)


def test_wrong_arguments_are_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such file or folder: '.*no\.fasta'; expected a file of specimens"):
        read_queries(tmp_path / "no.fasta")
    path = write(tmp_path / "a.csv", CSV)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1; got 0"):
        read_queries(path, batch_size=0)
    with pytest.raises(ValueError, match=r"`split` must be a sum of .*got 'trian'. Did you mean 'train'"):
        read_queries(path, split="trian")
    with pytest.raises(ValueError, match="has no specimens of the split 'test'; it has no splits"):
        read_queries(write(tmp_path / "a.fasta", ">A1\nACGT\n"), split="test")


def test_only_the_split_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", CSV + "V1,ACGT,Aptera,,,validation\nX1,ACGT,Aptera,,,other\nM1,ACGT\n")
    assert read(path, split="train").processids == ["A1", "B1", "M1"]
    assert noted(read(path, split="val+pretrain"))[-1] == ("M1", None, "expected 6 fields, got 2")
    assert read(path, split="seen", batch_size=2).processids == ["A1", "A2", "B1", "B2", "V1", "M1"]
    assert len(read(path).processids) == 9
    none = write(tmp_path / "b.csv", CSV)
    with pytest.raises(ValueError, match=r"no specimens of the split 'val'; it has \['pretrain', 'test', "):
        read(none, split="val")
    splits = write(tmp_path / "s.csv", "processid,split\nA2,val\nC1,\nB1,validation\n")
    assert read(none, split="val", splits=splits).processids == ["A2", "B1"]
    assert len(read(none, splits=splits).processids) == 6


def test_images_of_a_parquet_file_stay_undecoded(tmp_path: Path) -> None:
    content = [b"not looked into", None, b"at all", None]
    columns = {
        "processid": ["A1", "A2", "A3", "A4"],
        "dna_barcode": [None, "ACGT", "ACGE", None],
        "image": [data and {"bytes": data, "path": None} for data in content],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet", batch_size=3)
    assert found.images == [data and {"bytes": data, "path": None} for data in content]
    assert found.barcodes == [None, "ACGT", None, None] and found.notes[:2] == [None, None]
    assert found.notes[2:] == [
        *("the barcode has 'E' at position 4, expected ACGTNRYSWKMBDHV", "there is neither a barcode nor an image")
    ]
    without = read(tmp_path / "a.parquet", image=False)
    assert without.images is None and without.notes[0] == "the barcode is empty"
    pq.write_table(pa.table({**columns, "image": [1, 2, 3, 4]}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet' cannot be read: .*int64"):
        read(tmp_path / "b.parquet")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photographs, one of which is none."""
    folder = tmp_path / "photos"
    for name in ("b/A1.jpg", "A3.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (8, 6)).save(folder / name)
    (folder / "b" / "A2.jpg").write_bytes(b"text")
    return folder


def test_a_folder_of_images(photos: Path) -> None:
    found = read(photos)
    assert found.processids == ["A3", "A1", "A2"] and found.barcodes == [None] * 3
    assert found.images == [{"bytes": None, "path": str(photos / name)} for name in ("A3.png", "b/A1.jpg")] + [None]
    assert found.notes == [None, None, "the image cannot be read (it is no JPEG, PNG, TIFF or WebP file)"]
    assert read(photos, image=False).images is None


def test_a_folder_of_images_with_a_table(photos: Path) -> None:
    text = "processid,file_name,nuc,lat,lon,split\nX1,b/A1.jpg,acgt,1,2,test\nX2,b/A2.jpg,ACGT,,,test\n"
    write(photos / "metadata.csv", text + "X1,b/A1.jpg,ACGE,,,train\nX4,no.jpg,,,,test\nX5,A3.png\n")
    image = {"bytes": None, "path": str(photos / "b" / "A1.jpg")}
    with pytest.warns(UserWarning, match=r"has no row for 'A3\.png' \(1 images without row\); left out"):
        found = read(photos)
    assert found.processids == ["X1", "X2", "X1", "X4", "X5"] and found.images == [image, None, image, None, None]
    assert found.barcodes == ["ACGT", None, None, None, None] and found.latitudes[0] == 1 and found.notes[0] is None
    assert found.notes[1:] == [
        "'b/A2.jpg': the image cannot be read (it is no JPEG, PNG, TIFF or WebP file)",
        "the barcode has 'E' at position 4, expected ACGTNRYSWKMBDHV; the process id occurs more than once",
        "there is no image 'no.jpg' in the folder",
        "expected 6 fields, got 2",
    ]
    with pytest.warns(UserWarning, match="left out"):
        assert "X1" not in read(photos, split="val+other_heldout+pretrain").processids


@pytest.mark.parametrize("make", [make_release, make_conversion])
def test_a_release(make: Any, tmp_path: Path) -> None:
    rows = made_rows(2)
    make(tmp_path, rows)
    found = read(tmp_path, image=False, batch_size=3)
    barcodes = {row["processid"]: row["dna_barcode"] for row in rows}
    assert dict(zip(found.processids, found.barcodes, strict=True)) == barcodes and len(found.processids) == len(rows)
    assert found.images is None and not any(found.notes)
    some = read(tmp_path, split="test+test_unseen")
    by_name = {row["processid"]: row for row in rows if row["split"] in ("test", "test_unseen")}
    assert sorted(some.processids) == sorted(map(str, by_name)) and some.images is not None
    for processid, image, latitude in zip(some.processids, some.images, some.latitudes, strict=True):
        assert image["bytes"] == by_name[processid]["image"] and latitude == by_name[processid]["coord-lat"]
    with pytest.raises(ValueError, match="has the released splits"):
        read_queries(tmp_path, splits=tmp_path / "s.csv")


def test_the_sample() -> None:
    expected = select_split(load_specimens(image=True).cast_column("image", Image(decode=False)), "train+val")[:]
    found = read("sample", split="train+val")
    assert found.processids == expected["processid"] and found.barcodes == expected["dna_barcode"]
    assert found.images == expected["image"] and None in expected["image"] and not any(found.notes)


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    good = "".join(f">A{i}\nACGT\n" for i in range(3 * RECORDS_PER_BATCH)).encode()
    (tmp_path / "a.fasta").write_bytes(good + b">A\nACG\xff\n")
    batches = read_queries(tmp_path / "a.fasta", batch_size=500)
    assert next(batches).processids == [f"A{i}" for i in range(500)]
    with pytest.raises(ValueError, match="not UTF-8"):
        list(batches)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = write(tmp_path / "a.fasta", "".join(f">A{i}\n{'ACGT' * 50}\n" for i in range(count)))
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        try:
            held = max(pa.total_allocated_bytes() - before for _ in read_queries(path, batch_size=100))
            return held + tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)  # what is loaded once
    assert peak(10 * RECORDS_PER_BATCH) < 1.5 * peak(2 * RECORDS_PER_BATCH)
