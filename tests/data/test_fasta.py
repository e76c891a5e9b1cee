from pathlib import Path

import pytest

from bioscan_hf.data.fasta import read_fasta
from bioscan_hf.data.raw_records import RECORDS_PER_BATCH


def read(tmp_path: Path, text: str) -> list[dict[str, str]]:
    """Records of a FASTA file, without what is null."""
    path = tmp_path / "a.fasta"
    path.write_text(text)
    rows = [row for batch in read_fasta(path) for row in batch.table.to_pylist()]
    return [{name: value.decode() for name, value in row.items() if value is not None} for row in rows]


def test_letters_may_span_lines_and_places_are_those_of_headers(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_bytes(b">A1\r\nACGT\r\nacg-t\r\n\r\n>B1 some words\r\nUUUN")
    (batch,) = read_fasta(tmp_path / "a.fa")
    assert batch.places.tolist() == [1, 5]
    assert batch.table.select(["processid", "dna_barcode"]).to_pylist() == [
        {"processid": b"A1", "dna_barcode": b"ACGTacg-t"},
        {"processid": b"B1", "dna_barcode": b"UUUN"},
    ]


@pytest.mark.parametrize(
    ("identification", "expected"),
    [
        ("Aus bus", {"taxon": "Aus bus", "genus": "Aus", "species": "Aus bus"}),
        ("Aus sp. 1ABC", {"taxon": "Aus sp. 1ABC", "genus": "Aus", "species": "Aus sp. 1ABC"}),
        ("Aus sp.", {"taxon": "Aus sp.", "genus": "Aus"}),
        ("Diptera", {"taxon": "Diptera"}),
        ("", {}),
    ],
)
def test_header_of_bold_4(identification: str, expected: dict[str, str], tmp_path: Path) -> None:
    known = {"processid": "A1-08", "dna_barcode": "ACGT", "marker_code": "COI-5P"}
    assert read(tmp_path, f">A1-08|{identification}|COI-5P|GB1\nACGT\n") == [known | expected]


def test_header_of_bold_5(tmp_path: Path) -> None:
    lineage = "Animalia,Arthropoda,Insecta,Diptera,Simuliidae,Simuliinae,Simuliini,None,None,None"
    assert read(tmp_path, f">A1-08|COI-5P|Costa Rica|{lineage}\nACGT\n") == [
        {
            **{"processid": "A1-08", "dna_barcode": "ACGT", "marker_code": "COI-5P", "country": "Costa Rica"},
            **{"taxon": "Simuliini", "phylum": "Arthropoda", "class": "Insecta", "order": "Diptera"},
            **{"family": "Simuliidae", "subfamily": "Simuliinae"},
        }
    ]
    # Without subspecies, and with empty fields for what is not known.
    lineage = "Animalia,Arthropoda,Insecta,Coleoptera,Carabidae,,,Aus,Aus bus"
    (row,) = read(tmp_path, f">A1|COI-5P|None|{lineage}\nACGT\n")
    assert (
        row["genus"] == "Aus" and row["species"] == row["taxon"] == "Aus bus" and not {"country", "subfamily"} & {*row}
    )


def test_header_of_sintax(tmp_path: Path) -> None:
    header = ">A1;size=3;tax=k:Animalia,p:Arthropoda,c:Insecta,f:Aidae,g:Aus,s:Aus_bus;"
    (row,) = read(tmp_path, f"{header}\nACGT\n")
    assert row == {
        **{"processid": "A1", "dna_barcode": "ACGT", "taxon": "Aus bus", "phylum": "Arthropoda", "class": "Insecta"},
        **{"family": "Aidae", "genus": "Aus", "species": "Aus bus"},
    }


def test_an_empty_sequence_is_no_missing_value_where_no_header_names_a_marker(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_text(">A1\n>B1\nACGT\n")
    (batch,) = read_fasta(tmp_path / "a.fa")
    assert "marker_code" not in batch.table.column_names and len(batch.table) == 2


def test_a_file_that_starts_with_letters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.fasta', line 2: expected '>' and a process id; got 'ACGT'"):
        read(tmp_path, "\nACGT\n>A1\nACGT\n")


def test_many_records_come_in_batches(tmp_path: Path) -> None:
    count = RECORDS_PER_BATCH + 1
    (tmp_path / "a.fa").write_text("".join(f">A{i}\nACGT\n" for i in range(count)))
    batches = list(read_fasta(tmp_path / "a.fa"))
    assert [len(batch.table) for batch in batches] == [RECORDS_PER_BATCH, 1]
    assert batches[1].table["processid"][0].as_py() == f"A{count - 1}".encode() and batches[1].places == [2 * count - 1]
