"""FASTA files, plain and gzipped, by all that reads them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from bioscan_hf.data import raw_records
from bioscan_hf.data.inputs import read_specimens
from bioscan_hf.data.raw_records import LONGEST_RECORD, NO_VALUE
from bioscan_hf.identification.queries import read_queries
from bioscan_hf.tokenization.letters import GAPS, IUPAC_LETTERS
from tests.fuzz.helpers import growth, memory_below, tried
from tests.fuzz.mutations import encoded, mutated
from tests.fuzz.targets import FASTA, TARGETS


@tried(60)
@given(content=encoded(mutated(FASTA)))
@example(content=b">A1|Aus bus|28S\x1b]0;owned\x07|\nACGT\n>A2\nACGT\n")  # the terminal obeyed a name of a marker
@example(content=b">" + b"A" * 300_000 + b"\nACGT\n")
def test_any_text(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    TARGETS["fasta"].run(content, tmp_path_factory.mktemp("fasta"))


@tried(15)
@given(content=mutated(TARGETS["fasta_gz"].seeds))
@example(
    content=gzip.compress(b">\xc9\nACGT\n" * 9, mtime=0)[:-9]
)  # an EOFError on the way to say which line is not UTF-8
def test_any_gzip_file(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    TARGETS["fasta_gz"].run(content, tmp_path_factory.mktemp("fasta"))


_RECORD = st.tuples(
    st.text("".join(chr(code) for code in range(33, 127) if chr(code) not in "/\\|;"), min_size=1, max_size=40),
    st.text(IUPAC_LETTERS.lower() + IUPAC_LETTERS + GAPS, min_size=1, max_size=80).filter(
        lambda text: text.strip(GAPS)
    ),
)


@tried(25)
@given(
    records=st.lists(_RECORD, min_size=1, max_size=8, unique_by=lambda record: record[0]),
    width=st.integers(1, 100),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_was_written_is_read(
    records: list[tuple[str, str]], width: int, end: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clean = [(name, letters.translate(str.maketrans("", "", GAPS))) for name, letters in records]
    assume(all(NO_VALUE.isdisjoint(record) for record in clean))
    lines = [
        line
        for name, text in clean
        for line in (f">{name}", *(text[i : i + width] for i in range(0, len(text), width)))
    ]
    path = tmp_path_factory.mktemp("fasta") / "a.fasta"
    path.write_bytes(end.join([*lines, ""]).encode())
    expected = [(name, text.upper()) for name, text in clean]
    table = read_specimens(path)
    assert list(zip(table["processid"].to_pylist(), table["dna_barcode"].to_pylist(), strict=True)) == expected
    (queries,) = read_queries(path)
    assert list(zip(queries.processids, queries.barcodes, strict=True)) == expected


LONG = 60 << 20


@pytest.mark.parametrize("kind", ["line", "gzipped line", "lines", "header"])
def test_a_record_without_end_takes_little_memory(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.fa.gz" if "gzip" in kind else "a.fa")
    with gzip.open(path, "wb", 1) if "gzip" in kind else path.open("wb") as file:
        file.write(b">A1" + b"\n" * (kind != "header"))
        for _ in range(LONG >> 20):
            file.write((b"A" * 1023 + (b"\n" if kind == "lines" else b"A")) * 1024)
    with memory_below(60), pytest.raises(ValueError, match=rf"a\.fa.*has more than {LONGEST_RECORD:,} characters"):
        list(read_queries(path))


def test_many_long_records_come_few_at_a_time(tmp_path: Path) -> None:
    long = b"A" * (LONGEST_RECORD // 2) + b"\n"
    with (tmp_path / "a.fa").open("wb") as file:
        for number in range(40):
            file.write(b">A%d\n" % number + long)
    with memory_below(150):
        notes = [note for queries in read_queries(tmp_path / "a.fa", batch_size=10) for note in queries.notes]
    assert len(notes) == 40 and all("more than 2,000" in str(note) for note in notes)


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_records, "LARGEST_RATIO", 2)
    (tmp_path / "a.fa.gz").write_bytes(gzip.compress(b">A1\n" + (b"A" * 999 + b"\n") * 2_000))
    assert next(read_queries(tmp_path / "a.fa.gz")).processids == ["A1"]
    (tmp_path / "a.fa.gz").write_bytes(gzip.compress(b">A1\n" + (b"A" * 999 + b"\n") * 2_200))
    with pytest.raises(ValueError, match=r"a\.fa\.gz' inflates to more than 2 times its size; refused"):
        list(read_queries(tmp_path / "a.fa.gz"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", [">A{i}|Aus bus|COI-5P\nACGT\n", ">A1\nACGE\n", ">A{i}|x|marker{i}\nACGT\n", ">\n", ">A{i}\n|\n"]
)
def test_time_is_in_proportion(text: str, tmp_path: Path) -> None:
    def run(count: int) -> None:
        path = tmp_path / f"{count}.fasta"
        path.write_text("".join(text.replace("{i}", str(i)) for i in range(count)) + ">Z\nACGT\n>Z|x|COI-5P\nACGT\n")
        for _ in read_queries(path):
            pass

    assert growth(run, 5_000, 10) < 13
