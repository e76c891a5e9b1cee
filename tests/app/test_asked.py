from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioscan_hf.app.asked import MAX_LETTERS, MAX_QUERIES, as_fasta, read_asked

ONE, OTHER = "AACATTATATTTTATTTTTGG", "TTCATTATATTTTATTTTTCC"


def asked(text: str = "", table: Path | None = None, photographs: Sequence[tuple[str, str | None]] = ()) -> list:
    queries = read_asked(text, None if table is None else str(table), photographs)
    images = queries.images or [None] * len(queries.processids)
    paths = [image and Path(image["path"]).name for image in images]
    return list(zip(queries.processids, queries.barcodes, paths, strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE, [("barcode-1", ONE, None)]),
        (f"  {ONE[:9].lower()}-{ONE[9:]}\r\n", [("barcode-1", ONE, None)]),
        (f"{ONE}\n\n{OTHER}\n", [("barcode-1", ONE, None), ("barcode-2", OTHER, None)]),
        (f">A|x\n{ONE[:9]}\n{ONE[9:]}\n>B\n{OTHER}", [("A", ONE, None), ("B", OTHER, None)]),
        # Wrapped, as an editor leaves it.
        ("\n".join([ONE * 3, ONE * 3, "ACG"]), [("barcode-1", ONE * 6 + "ACG", None)]),
        # As GenBank shows it.
        ("        1 aacattatat tttatttttg\n       21 g", [("barcode-1", ONE[:20], None), ("barcode-2", "G", None)]),
        (f"  1 {ONE * 3}\n 64 {ONE * 3}\n127 ACG", [("barcode-1", ONE * 6 + "ACG", None)]),
        (f">\ud83d\n{ONE}", [("?", ONE, None)]),
        # No wrapped line is longer than the first.
        ("\n".join([ONE * 3, ONE * 4]), [("barcode-1", ONE * 3, None), ("barcode-2", ONE * 4, None)]),
    ],
)
def test_text(text: str, expected: list) -> None:
    assert asked(text) == expected


def test_fasta_is_left_alone() -> None:
    assert as_fasta(">A\nACGT\n") == ">A\nACGT\n"


def test_a_file_comes_after_the_text(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text(f"processid,dna_barcode,coord-lat,coord-lon\nC,{ONE},10.5,-84\nD,{OTHER},,\n")
    assert asked(ONE, path) == [("barcode-1", ONE, None), ("C", ONE, None), ("D", OTHER, None)]
    queries = read_asked("", str(path))
    assert queries.latitudes[0] == 10.5 and queries.longitudes[0] == -84 and np.isnan(queries.latitudes[1])


def test_a_bad_record_gets_a_note_and_does_not_stop_the_others() -> None:
    queries = read_asked(f">A\n{ONE}\n>B\nMSLLPEFKIVLDLSGW\n>A\n{OTHER}\n")
    assert queries.barcodes == [ONE, None, OTHER]
    assert queries.notes[0] is None and "looks like a protein" in (queries.notes[1] or "")
    assert "more than once" in (queries.notes[2] or "")


@pytest.mark.parametrize(
    ("text", "photographs", "expected"),
    [
        # A single photograph belongs to a single barcode.
        (ONE, ["x.jpg"], [("barcode-1", ONE, "x.jpg")]),
        # Several belong to those of their names.
        (
            f">A\n{ONE}\n>B\n{OTHER}",
            ["B.jpg", "C.png"],
            [("A", ONE, None), ("B", OTHER, "B.jpg"), ("C", None, "C.png")],
        ),
        ("", ["A.jpg", "A.png"], [("A", None, "A.jpg"), ("A", None, "A.png")]),
        (f">A\n{ONE}\n>A\n{OTHER}", ["A.jpg"], [("A", ONE, "A.jpg"), ("A", OTHER, None)]),
    ],
)
def test_photographs(text: str, photographs: list[str], expected: list) -> None:
    assert asked(text, photographs=[(f"some/where/{name}", None) for name in photographs]) == expected


def test_a_photograph_may_be_called_otherwise_than_its_file() -> None:
    assert asked("", photographs=[("tmp123.png", "A")]) == [("A", None, "tmp123.png")]


def test_a_path_in_a_table_opens_no_file_of_the_server(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    images = pa.array([{"bytes": None, "path": str(secret)}])
    pq.write_table(pa.table({"processid": ["A"], "dna_barcode": [ONE], "image": images}), tmp_path / "q.parquet")
    assert asked("", tmp_path / "q.parquet") == [("A", ONE, None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "There is nothing to identify yet: paste a barcode, or add a file or a photograph."),
        (" \n ", "There is nothing to identify yet: paste a barcode, or add a file or a photograph."),
        ("MSLLPEFKIVLDLSGW", "This text looks like a protein: it has 'L' at position 3"),
        ("ACGT" * 600, "This text has 2,400 letters, more than 2,000"),
        ("ACGT!", "This text has '!' at position 5"),
        (">A\n", "This text is empty."),
        (">A\n!\n>B\n?\n", "None of the 2 barcodes can be read; the first: the barcode has '!' at position 1"),
        (f"{ONE}\n>A\n{ONE}", "The text, line 1: expected '>' and a process id"),
        (f"{ONE}\n" * (MAX_QUERIES + 1), f"These are more than {MAX_QUERIES:,} queries, the most for this page."),
        (f">A\n{ONE}\n" * 10_000, f"These are more than {MAX_QUERIES:,} queries, the most for this page."),
        ("A" * (MAX_LETTERS + 1), f"The text has {MAX_LETTERS + 1:,} letters, more than {MAX_LETTERS:,}."),
    ],
)
def test_what_is_wrong_with_all_of_it(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_asked(text)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.csv", b"a,b\n1,2\n", "'q.csv' needs the columns 'processid' and 'dna_barcode'"),
        ("q.fasta", b"", "'q.fasta'"),
        ("q.fasta", b"\xff\xfe\x00\x01", "'q.fasta'"),
        ("q.parquet", b"PAR1 no", "'q.parquet'"),
        ("q.docx", b"PK", "'q.docx'"),
    ],
)
def test_a_file_is_called_by_its_name_alone(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_asked("", str(tmp_path / name))
    told = str(caught.value)
    assert message in told and str(tmp_path) not in told and "\n" not in told
