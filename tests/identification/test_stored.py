from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioscan_hf.data.features import COLUMN_NAMES
from bioscan_hf.identification.stored import Held, Specimens, Stored
from tests.identification.made_library import specimens


@pytest.fixture(params=["held", "stored"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Specimens:
    """Thirty specimens, with a column beside those of the schema."""
    given = specimens("train", 30)
    if request.param == "held":
        return Held(given.add_column("key", list(range(30))))
    table = given.with_format("arrow")[:]
    pq.write_table(table.append_column("key", pa.array(range(30))), tmp_path / "lib.parquet", row_group_size=7)
    return Stored(tmp_path / "lib.parquet")


def test_all_and_some_columns(stored: Specimens) -> None:
    given = specimens("train", 30)
    assert stored.dataset().to_list() == given.to_list() and stored.dataset().column_names == list(COLUMN_NAMES)
    assert stored.columns(["genus", "processid"]).to_pydict() == {
        name: given[name][:] for name in ("genus", "processid")
    }


@pytest.mark.parametrize("size", [1, 7, 8, 100])
def test_some_rows_at_a_time(stored: Specimens, size: int) -> None:
    batches = list(stored.batches(["species", "processid"], size))
    assert all(batch.column_names == ["species", "processid"] and 0 < len(batch) <= size for batch in batches)
    whole = pa.concat_tables(batches).to_pydict()
    assert whole == {name: specimens("train", 30)[name][:] for name in ("species", "processid")}


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "lib.parquet"
    pq.write_table(specimens("train", 30).with_format("arrow")[:], path)
    path.write_bytes(path.read_bytes()[:500])
    for read in (Stored(path).dataset, lambda: list(Stored(path).batches(["genus"], 5))):
        with pytest.raises(ValueError, match=r"lib.parquet' is damaged \(.+\); copy or build the library again\."):
            read()
