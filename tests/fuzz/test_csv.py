"""Tables that users have: CSV, TSV and Parquet files, and tables of splits."""

from __future__ import annotations

import csv
import gzip
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bioscan_hf.data import parquet, raw_records
from bioscan_hf.data.inputs import read_specimens
from bioscan_hf.data.raw_records import LONGEST_RECORD
from bioscan_hf.identification.queries import read_queries
from tests.fuzz.helpers import growth, memory_below, tried
from tests.fuzz.mutations import encoded, mutated
from tests.fuzz.targets import CSV, PARQUET, SPLITS, TARGETS, TSV


@tried(50)
@given(content=encoded(mutated(CSV)))
@example(content=b"a" * 5_000 + b",processid\n")  # all names of columns were in the message
@example(content=b"processid,dna_barcode,species\nA1,ACGT,Aus\x1b[2J bus\nA2,ACGT,Aus\x85cus\n")
@example(content=b"processid,dna_barcode,split\nA1,ACGT," + b"x" * 9_000 + b"\n")
def test_any_csv(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    TARGETS["csv"].run(content, tmp_path_factory.mktemp("csv"))


@tried(25)
@given(content=encoded(mutated(TSV)))
@example(content=b'"a"s\t1\n')  # the error of the reader had a tab in it
def test_any_tsv(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    TARGETS["tsv"].run(content, tmp_path_factory.mktemp("tsv"))


@tried(10)
@given(content=mutated(TARGETS["csv_gz"].seeds))
def test_any_gzipped_csv(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    TARGETS["csv_gz"].run(content, tmp_path_factory.mktemp("csv"))


@tried(25)
@given(content=encoded(mutated(SPLITS)))
def test_any_splits(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    TARGETS["splits"].run(content, tmp_path_factory.mktemp("splits"))


@tried(60)
@given(content=mutated(PARQUET))
def test_any_parquet(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    TARGETS["parquet"].run(content, tmp_path_factory.mktemp("parquet"))


_TYPES = st.sampled_from(
    [
        *(pa.string(), pa.large_string(), pa.binary(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())),
        *(pa.int64(), pa.float64(), pa.bool_(), pa.timestamp("us"), pa.null(), pa.list_(pa.string())),
        *(
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            pa.decimal128(9, 2),
            pa.map_(pa.string(), pa.int8()),
        ),
    ]
)


@tried(40)
@given(
    columns=st.lists(
        st.tuples(st.sampled_from(["processid", "dna_barcode", "image", "coord-lat", "genus", "split", "a.b"]), _TYPES),
        min_size=1,
        max_size=5,
    ),
    rows=st.integers(0, 2),
)
@example(columns=[("processid", pa.string()), ("processid", pa.string()), ("dna_barcode", pa.string())], rows=1)
def test_a_parquet_file_of_any_schema(
    columns: list[tuple[str, pa.DataType]], rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("parquet") / "made.parquet"
    pq.write_table(pa.table([pa.nulls(rows, dtype) for _, dtype in columns], names=[name for name, _ in columns]), path)
    TARGETS["parquet"].run(path.read_bytes(), path.parent)


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=20)


@tried(20)
@given(
    rows=st.dictionaries(
        st.from_regex(r"[A-Z][A-Z0-9-]{1,9}", fullmatch=True), st.tuples(_TEXT, _TEXT), min_size=1, max_size=5
    ),
    tabs=st.booleans(),
)
def test_what_was_written_is_read(
    rows: dict[str, tuple[str, str]], tabs: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("csv") / ("a.tsv" if tabs else "a.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if tabs else ",")
        writer.writerow(["processid", "dna_barcode", "species", "country"])
        writer.writerows([name, "ACGT", *texts] for name, texts in rows.items())
    found = read_specimens(path).select(["processid", "species", "country"]).to_pylist()
    kept = {name: [_kept(text) for text in texts] for name, texts in rows.items() if name not in raw_records.NO_VALUE}
    assert {row["processid"]: [row["species"], row["country"]] for row in found} == kept
    pq.write_table(read_specimens(path), path.with_suffix(".parquet"))
    assert read_specimens(path.with_suffix(".parquet")).equals(read_specimens(path))


def _kept(text: str) -> str | None:
    return None if (text := text.strip()) in raw_records.NO_VALUE else text


@pytest.mark.parametrize(
    ("start", "more"),
    [("", "ab,"), ("processid,dna_barcode\nA1,", 'A,"a\nb",'), ("processid,dna_barcode\nA1,", "ab,"), ("", "\t")],
    ids=["names", "lines", "fields", "blank"],
)
def test_a_record_without_end_takes_little_memory(start: str, more: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(start + more * ((24 << 20) // len(more)))
    with memory_below(350), pytest.raises(ValueError, match=rf"a\.csv.*has more than {LONGEST_RECORD:,} characters"):
        read_specimens(path)


def test_many_long_records_come_few_at_a_time(tmp_path: Path) -> None:
    fields = ",ab" * (LONGEST_RECORD // 6)
    (tmp_path / "a.csv").write_text("processid,dna_barcode\n" + f"A1,ACGT{fields}\n" * 8)
    with memory_below(600):
        (queries,) = read_queries(tmp_path / "a.csv")
    assert len(queries.notes) == 8


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_records, "LARGEST_RATIO", 2)
    (tmp_path / "a.csv.gz").write_bytes(
        gzip.compress(b"processid,dna_barcode\n" + (b"A," + b"C" * 1_000 + b"\n") * 3_000)
    )
    with pytest.raises(ValueError, match=r"a\.csv\.gz' inflates to more than 2 times its size; refused"):
        list(read_queries(tmp_path / "a.csv.gz"))


def dictionary(value: str, rows: int) -> pa.Table:
    """A table in which one value stands for all rows."""
    many = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value]))
    return pa.table({"processid": [f"A{i}" for i in range(rows)], "dna_barcode": many})


def test_a_value_that_stands_for_many_is_refused(tmp_path: Path) -> None:
    pq.write_table(dictionary("A" * (1 << 20), 3_000), tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    with memory_below(600), pytest.raises(ValueError, match=r"a\.parquet' inflates to more than 200 times its size"):
        list(read_queries(tmp_path / "a.parquet"))


def test_a_value_that_is_longer_than_what_the_file_may_inflate_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "LARGEST_RATIO", 20)
    table = pa.table({"processid": ["A1"], "dna_barcode": ["A" * (30 << 20)]})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd")
    with memory_below(25), pytest.raises(ValueError, match=r"a\.parquet' inflates to more than 20 times its size"):
        list(read_queries(tmp_path / "a.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", ["A{i},ACGT,Aus bus", "A1,ACGT,x", "A{i},ACGT", "A{i},ACGE,\x1b", "A{i},AC,{i}\x85", ",,"]
)
def test_time_is_in_proportion(line: str, tmp_path: Path) -> None:
    def run(count: int) -> None:
        path = tmp_path / f"{count}.csv"
        lines = (line.replace("{i}", str(i)) for i in range(count))
        path.write_text("\n".join(["processid,dna_barcode,species", *lines, "Z,ACGT,Aus bus", ""]))
        with warnings.catch_warnings(action="ignore"):
            read_specimens(path, on_error="skip")

    assert growth(run, 5_000, 10) < 13
