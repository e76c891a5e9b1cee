import csv
import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioscan_hf.identification.writers import ENDINGS, ROWS_AT_A_TIME, ROWS_PER_GROUP, result_ending, result_writer
from tests.made_results import made_results

NASTY = [
    'a"b',
    '"',
    "a,b",
    "a\tb",
    "line\nbreak",
    "a\rb",
    "",
    " ",
    "\\",
    "\x01",
    "\x7f",
    "=1+1",
    "@SUM(A1)",
    '=HYPERLINK("x")',
    "é 𝄞",
    "null",
]


@pytest.fixture(scope="module")
def results() -> pa.Table:
    table = made_results(300)
    return table.set_column(0, "processid", pa.array([NASTY[i % len(NASTY)] for i in range(300)]))


def written(table: pa.Table, path: Path, sizes: tuple[int, ...] = (0, 1, 100)) -> Path:
    with result_writer(path, table.schema) as write:
        start = 0
        for size in (*sizes, len(table)):
            write(table.slice(start, size))
            start += size
    return path


def text_of(path: Path) -> str:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()


def plain(value: Any, *, whole: bool) -> str:
    """A value as the text in a table, the naive way."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return np.format_float_positional(value if whole else round(value, 4) + 0.0, trim="-")
    return no_formula(str(value))


def no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


@pytest.mark.parametrize("ending", [".csv", ".TSV", ".csv.gz", ".tsv.gz"])
def test_delimited_text_is_what_the_csv_module_reads(ending: str, results: pa.Table, tmp_path: Path) -> None:
    text = text_of(written(results, tmp_path / f"a{ending}"))
    read = list(csv.reader(text.splitlines(keepends=True), delimiter="," if "csv" in ending else "\t", strict=True))
    assert read[0] == results.schema.names
    expected = [[plain(row[name], whole="coord" in name) for name in row] for row in results.to_pylist()]
    assert read[1:] == expected


def test_fields_are_quoted_only_where_needed(tmp_path: Path) -> None:
    table = pa.table({"a": ["x", 'say "x"', "x,y", None, "-x-"], "b": [True, None, False, True, False]})
    assert text_of(written(table, tmp_path / "a.csv")) == (
        'a,b\nx,true\n"say ""x""",\n"x,y",false\n,true\n\'-x-,false\n'
    )


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_json_lines_are_the_rows(ending: str, results: pa.Table, tmp_path: Path) -> None:
    lines = text_of(written(results, tmp_path / f"a{ending}")).split("\n")
    assert lines.pop() == "" and len(lines) == len(results)
    for line, row in zip(lines, results.to_pylist(), strict=True):
        rounded = {n: round(v, 4) if isinstance(v, float) and "coord" not in n else v for n, v in row.items()}
        assert json.loads(line) == rounded and list(json.loads(line)) == results.schema.names


def test_parquet_holds_the_very_values_in_few_row_groups(results: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    many = ROWS_PER_GROUP // len(results) * 2
    with result_writer(path, results.schema) as write:
        for _ in range(many):
            write(results)
    file = pq.ParquetFile(path)
    assert file.read(use_threads=False).equals(pa.concat_tables([results] * many))
    assert file.num_row_groups <= 3 and file.metadata.row_group(0).column(0).compression == "ZSTD"


@given(st.lists(st.tuples(st.text(), st.floats(width=32, allow_nan=True), st.floats(allow_infinity=True)), max_size=9))
def test_any_value_survives(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float, float]]) -> None:
    folder = tmp_path_factory.mktemp("any")
    texts, numbers, places = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {"id": pa.array(texts, pa.string()), "n": pa.array(numbers, pa.float32())}
    table = pa.table({**columns, "coord-lat": pa.array(places, pa.float64())})
    lines = text_of(written(table, folder / "a.jsonl")).split("\n")[:-1]
    delimited = written(table, folder / "a.csv")
    with delimited.open(newline="", encoding="utf-8") as file:
        fields = list(csv.reader(file))[1:]
    assert len(lines) == len(fields) == len(rows)
    for line, (*field, _), (text, number, place) in zip(lines, fields, rows, strict=True):
        values = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert values["id"] == text and field[0] == no_formula(text)
        assert values["coord-lat"] == (place if np.isfinite(place) else None)
        if np.isfinite(number):
            assert abs(values["n"] - number) <= 5e-5 + 1e-12 * abs(number) and values["n"] == float(field[1])
        else:
            assert values["n"] is None and field[1] == ""


@pytest.mark.parametrize("ending", ENDINGS)
def test_sizes_of_the_batches_do_not_matter(ending: str, tmp_path: Path) -> None:
    table = pa.table({"id": [str(i) for i in range(ROWS_AT_A_TIME + 7)], "n": range(ROWS_AT_A_TIME + 7)})
    whole = written(table, tmp_path / f"a{ending}", ())
    parts = written(table, tmp_path / f"b{ending}", tuple(random.Random(1).choices(range(3000), k=7)))
    assert whole.read_bytes() == parts.read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_results_are_a_file_without_rows(ending: str, tmp_path: Path) -> None:
    schema = made_results(1).schema
    path = tmp_path / "new" / f"a{ending}"
    with result_writer(path, schema):
        pass
    if ending == ".parquet":
        assert pq.read_table(path).schema == schema
    else:
        assert text_of(path).rstrip("\n") in (",".join(schema.names), "\t".join(schema.names), "")


@pytest.mark.parametrize("ending", ENDINGS)
def test_failure_leaves_the_old_file(ending: str, results: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), result_writer(path, results.schema) as write:
        write(results)
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.parquet.gz", "a.csv.zip", ".csv"])
def test_other_endings_are_an_error_that_lists_them(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{name}' has none.*\.csv, \.tsv, \.jsonl, \.csv\.gz.*\.parquet"):
        written(pa.table({"a": [1]}), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_endings_are_found_in_any_case() -> None:
    assert result_ending(Path("a.csv.GZ")) == ".csv.gz" and result_ending(Path("a.b.Parquet")) == ".parquet"


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_other_columns_are_an_error(ending: str, results: pa.Table, tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="Expected a table with the columns"),
        result_writer(tmp_path / f"a{ending}", results.schema) as write,
    ):
        write(results.drop_columns(["novel"]))
    assert not list(tmp_path.iterdir())


def test_column_of_nulls_takes_the_type_of_the_others(tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.string()), ("n", pa.float32())])
    with result_writer(tmp_path / "a.jsonl", schema) as write:
        write(pa.table({"id": ["a"], "n": pa.nulls(1)}))
        write(pa.table({"id": pa.nulls(1), "n": [0.5]}))
    assert text_of(tmp_path / "a.jsonl") == '{"id": "a", "n": null}\n{"id": null, "n": 0.5}\n'


def test_fields_are_quoted_in_every_piece_of_a_table(tmp_path: Path) -> None:
    table = pa.table({"a": ["x"] * (2 * ROWS_AT_A_TIME) + ["x,y"], "b": range(2 * ROWS_AT_A_TIME + 1)})
    lines = text_of(written(table, tmp_path / "a.csv", ())).splitlines()
    assert lines[-2:] == [f"x,{2 * ROWS_AT_A_TIME - 1}", f'"x,y",{2 * ROWS_AT_A_TIME}']
