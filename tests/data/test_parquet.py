from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioscan_hf.data import parquet
from bioscan_hf.data.parquet import read_some


def test_tables_have_the_size_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"a": [f"{i}" * 50 for i in range(1_050)], "b": range(1_050)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=130)
    read = list(read_some(tmp_path / "a.parquet", 300, ["b", "a"]))
    assert pa.concat_tables(read).equals(table.select(["b", "a"]))
    assert [len(some) for some in read] == [300, 300, 300, 150]
    monkeypatch.setattr(parquet, "_MOST_BYTES", 1)
    assert max(map(len, read_some(tmp_path / "a.parquet", 300, ["a"]))) == 100


def test_numbers_of_values_are_read_as_values(tmp_path: Path) -> None:
    names = pa.array(["x", None, "y", "x"])
    pq.write_table(pa.table({"a": names.dictionary_encode(), "b": names}), tmp_path / "a.parquet")
    (table,) = read_some(tmp_path / "a.parquet", 10, ["a", "b"])
    assert table.equals(pa.table({"a": names, "b": names}))


def test_two_columns_of_a_name_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table([["1"], ["2"], ["3"]], names=["a", "a", "b"]), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet' has the column 'a' 2 times; rename the others"):
        list(read_some(tmp_path / "a.parquet", 10, ["a"]))
    assert len(list(read_some(tmp_path / "a.parquet", 10, ["b"]))) == 1
