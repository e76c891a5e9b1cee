import os
import resource
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Features

from bioscan_hf.data import metadata_conversion
from bioscan_hf.data.features import COLUMN_NAMES, SPLIT_NAMES, bioscan_features, published_name
from bioscan_hf.data.labels import LABEL_COLUMNS
from bioscan_hf.data.metadata import MetadataSource, Skipped
from bioscan_hf.data.metadata_conversion import convert_metadata
from tests.made_release import Row, made_rows, write_csv

ROWS = made_rows(8)


def converted(folder: Path, rows: list[Row] = ROWS) -> Path:
    convert_metadata(MetadataSource(write_csv(folder / "metadata.csv", rows)), folder / "out")
    return folder / "out"


@pytest.mark.parametrize("split", SPLIT_NAMES)
def test_splits_hold_their_rows_in_the_order_of_the_table(split: str, tmp_path: Path) -> None:
    folder = converted(tmp_path)
    expected = [row for row in ROWS if row["split"] == split]
    table = pq.read_table(folder / "metadata" / f"{published_name(split)}-00000-of-00001.parquet")
    assert table.to_pylist() == [{name: row[name] for name in COLUMN_NAMES} for row in expected]
    order = pq.read_table(folder / "order" / f"{published_name(split)}.parquet")
    assert order.schema == pa.schema([("row", pa.int32())])
    assert [ROWS[number] for number in order["row"].to_pylist()] == expected


def test_files_are_in_the_form_that_is_published(tmp_path: Path) -> None:
    file = pq.ParquetFile(converted(tmp_path) / "metadata" / "train-00000-of-00001.parquet")
    assert Features.from_arrow_schema(file.schema_arrow) == bioscan_features(image=False)
    columns = {c.path_in_schema: c for c in map(file.metadata.row_group(0).column, range(len(COLUMN_NAMES)))}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert all(column.has_offset_index for column in columns.values())
    assert {name for name in COLUMN_NAMES if columns[name].has_dictionary_page} >= {"order", "family", "country"}
    assert not any(columns[name].has_dictionary_page for name in ("processid", "sampleid", "dna_barcode"))


@pytest.mark.parametrize("per_group", [3, 8, 20])
def test_row_groups_have_one_size(per_group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata_conversion, "ROWS_PER_GROUP", per_group)
    metadata = pq.read_metadata(converted(tmp_path) / "metadata" / "test-00000-of-00001.parquet")
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert sum(sizes) == 8
    assert set(sizes[:-1]) <= {per_group} and 0 < sizes[-1] <= per_group


def test_names_are_those_of_the_whole_table_sorted_by_code_point(tmp_path: Path) -> None:
    rows = [dict(row) for row in ROWS]
    for row, name in zip(rows, ("zeta", "Zeta", "Ärgia", "Beta", "ß"), strict=False):
        row["genus"] = name
    folder = converted(tmp_path, rows)
    for column in LABEL_COLUMNS:
        names = sorted({str(row[column]) for row in rows if row[column] is not None})
        assert (folder / "labels" / f"{column}.txt").read_bytes() == "".join(f"{name}\n" for name in names).encode()
    assert sorted(path.stem for path in (folder / "labels").iterdir()) == sorted(LABEL_COLUMNS)


def test_empty_split_gets_no_file(tmp_path: Path) -> None:
    folder = converted(tmp_path, [row for row in ROWS if row["split"] != "val"])
    names = [path.name for path in folder.glob("*/*.parquet")]
    assert len(names) == 2 * (len(SPLIT_NAMES) - 1) and not any("validation" in name for name in names)


def test_progress_counts_every_row(tmp_path: Path) -> None:
    source = MetadataSource(write_csv(tmp_path / "metadata.csv", ROWS))
    seen: list[int] = []
    convert_metadata(source, tmp_path / "out", report=seen.append)
    assert sum(seen) == len(ROWS)


def test_bad_record_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    rows = [*ROWS[:-1], {**ROWS[-1], "dna_barcode": "ACGT!"}]
    source = MetadataSource(write_csv(tmp_path / "metadata.csv", rows))
    with pytest.raises(ValueError, match=str(ROWS[-1]["processid"])):
        convert_metadata(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    skipped: list[Skipped] = []
    convert_metadata(source, tmp_path / "out", on_error="skip", skipped=skipped)
    assert [record.processid for record in skipped] == [ROWS[-1]["processid"]]
    paths = (tmp_path / "out" / "metadata").iterdir()
    assert sum(pq.read_metadata(path).num_rows for path in paths) == len(ROWS) - 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits of this kind")
def test_full_disk_leaves_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    source = MetadataSource(write_csv(tmp_path / "metadata.csv", ROWS))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(OSError, match="free some space"):
            convert_metadata(source, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "out").exists()
