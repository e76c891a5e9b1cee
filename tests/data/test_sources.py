import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from bioscan_hf.data.conversion import convert
from bioscan_hf.data.download import Repository
from bioscan_hf.data.features import SPLIT_NAMES
from bioscan_hf.data.plan import Plan
from bioscan_hf.data.sources import Archives, ConvertedFolder, HubParquet, fingerprint, open_source, select_shards
from tests.made_conversion import make_conversion
from tests.made_release import Row, made_rows, make_release, member, unpack_release, write_csv

FILES = [f"metadata/train-0000{i}-of-00003.parquet" for i in (2, 0, 1)] + ["cropped_256/test-00000-of-00001.parquet"]


def test_shards_come_in_order_and_complete() -> None:
    assert select_shards(FILES, "metadata", "train", "x") == sorted(FILES)[1:]
    assert select_shards(FILES, "metadata", "val", "x") == []
    with pytest.raises(FileNotFoundError, match="just 2 of the 3 shards of metadata, train"):
        select_shards(FILES[1:], "metadata", "train", "x")
    with pytest.raises(FileNotFoundError, match=r"x has no 'cropped'; it has \['cropped_256', 'metadata'\]"):
        select_shards(FILES, "cropped", "train", "x")


def test_archives_and_what_they_convert_to_are_one_source(tmp_path: Path) -> None:
    rows = make_release(tmp_path / "release", made_rows(3))
    archives = open_source(tmp_path / "release", cache=tmp_path / "cache")
    assert isinstance(archives, Archives)
    [folder] = (tmp_path / "cache" / "bioscan_hf").glob("metadata-????????????????")
    converted = open_source(folder)
    assert isinstance(converted, ConvertedFolder)
    for split in SPLIT_NAMES:
        assert converted.shards("metadata", split) == archives.shards("metadata", split)
        own = [i for i, row in enumerate(rows) if row["split"] == split]
        assert np.array_equal(converted.order(split), own) and np.array_equal(archives.order(split), own)
    assert archives.labels().names == converted.labels().names


def test_the_state_of_a_folder_follows_its_files(tmp_path: Path) -> None:
    make_release(tmp_path, made_rows(2))
    before = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == before
    archive = tmp_path / "BIOSCAN_5M_cropped_256_eval.zip"
    archive.write_bytes(archive.read_bytes() + b"\0")
    assert fingerprint(tmp_path) != before


def test_an_image_more_is_seen(tmp_path: Path) -> None:
    rows = make_release(tmp_path, made_rows(2))
    unpack_release(tmp_path)
    before = fingerprint(tmp_path)
    (tmp_path / member(next(row for row in rows if row["split"] == "test"))).unlink()
    assert fingerprint(tmp_path) != before and fingerprint(tmp_path / "bioscan5m") == fingerprint(
        tmp_path / "bioscan5m"
    )


def test_an_interrupted_conversion_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    make_conversion(tmp_path, made_rows(2))
    Plan(tmp_path, tmp_path, {}, {}, 1, "raise").write()
    assert open_source(tmp_path).shards("metadata", "train")
    (tmp_path / "report.json").unlink()
    with pytest.raises(ValueError, match="is not complete; `bioscan data convert` goes on with it"):
        open_source(tmp_path)


def test_a_flipped_bit_in_a_vocabulary_is_told(tmp_path: Path) -> None:
    make_release(tmp_path / "release", made_rows(3))
    folder = tmp_path / "converted"
    convert(tmp_path / "release", folder, [])
    path = folder / "labels" / "species.txt"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    source = open_source(folder)
    assert source.labels(["genus"]).names["genus"]
    with pytest.raises(ValueError, match=r"species\.txt' is damaged; `bioscan data convert` makes it anew"):
        source.labels(["species"])


def test_a_half_pushed_repository_is_not_taken_for_a_whole_one() -> None:
    repository = Repository("tester/half", "0" * 40, ("metadata/train-00000-of-00001.parquet", "labels/genus.txt"))
    with pytest.raises(FileNotFoundError, match=r"tester/half has neither report\.json, which .* sends last"):
        open_source(repository=repository)


def test_what_is_left_out_is_listed_each_time(tmp_path: Path) -> None:
    rows: list[Row] = made_rows(2)
    rows[5]["coord-lat"] = "north"
    path = write_csv(tmp_path / "metadata.csv", rows)
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            open_source(path, cache=tmp_path / "cache", on_error="skip")
        message = str(caught[-1].message)
        assert f"1 bad records are left out, see '{tmp_path}" in message and "must be a number" in message
    [listed] = tmp_path.glob("cache/bioscan_hf/*/skipped.json")
    assert [record["processid"] for record in json.loads(listed.read_text())] == [rows[5]["processid"]]


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path) -> None:
    rows = made_rows(2)
    rows[-1]["split"] = "tset"
    path = write_csv(tmp_path / "metadata.csv", rows)
    for _ in range(2):
        with pytest.raises(ValueError, match=str(rows[-1]["processid"])):
            open_source(path, cache=tmp_path / "cache")
    assert not [item for item in (tmp_path / "cache" / "bioscan_hf").iterdir() if item.suffix != ".lock"]


def test_split_that_is_not_here_is_not_taken_for_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the cache, without a connection, when another split was loaded before."""
    make_conversion(tmp_path, [row for row in made_rows(2) if row["split"] in ("train", "test")])
    for path in tmp_path.glob("*/train-*.parquet"):
        path.unlink()
    files = tuple(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    monkeypatch.setattr(Repository, "download", lambda self, file: tmp_path / file)
    for source in (HubParquet(Repository("a/b", "0123", files)), ConvertedFolder(tmp_path)):
        assert len(source.shards("metadata", "test")) == 1 and source.shards("metadata", "val") == []
        with pytest.raises(FileNotFoundError, match="has none of the shards of metadata, train"):
            source.shards("metadata", "train")
