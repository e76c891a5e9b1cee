from pathlib import Path

import pytest

from bioscan_hf.data.features import SPLIT_NAMES
from bioscan_hf.data.release import PACKAGES
from bioscan_hf.hub.dataset_contents import Shards, files_of, published_contents, read_contents
from tests.made_conversion import make_conversion
from tests.made_release import Row, made_rows


@pytest.fixture
def converted(tmp_path: Path) -> tuple[Path, list[Row]]:
    return tmp_path, make_conversion(tmp_path, made_rows(4), shards=2)


def test_a_folder_holds_what_was_written(converted: tuple[Path, list[Row]]) -> None:
    folder, rows = converted
    contents = read_contents(folder)
    assert list(contents) == ["metadata", "cropped_256"]
    for splits in contents.values():
        assert {split: shards.specimens for split, shards in splits.items()} == dict.fromkeys(SPLIT_NAMES, 4)
    train = contents["cropped_256"]["train"]
    paths = sorted((folder / "cropped_256").glob("train-*"))
    assert train.count == len(paths) == 2 and train.file_bytes == sum(path.stat().st_size for path in paths)
    images = [row["image"] for row in rows if row["split"] == "train"]
    assert train.unpacked_bytes > sum(len(image) for image in images if isinstance(image, bytes)) > 0
    files = {path.relative_to(folder).as_posix() for path in folder.glob("*/*")}
    assert set(files_of(contents)) == files


def test_patterns_name_the_number_of_files() -> None:
    assert Shards(10, 12).pattern("cropped_256", "val") == "cropped_256/validation-*-of-00012.parquet"
    assert Shards(10).pattern("metadata", "test") == "metadata/test-*-of-*.parquet"


def test_what_was_published_is_complete() -> None:
    contents = published_contents()
    assert list(contents) == ["metadata", *PACKAGES]
    assert {sum(shards.specimens for shards in splits.values()) for splits in contents.values()} == {5_150_850}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("report.json", "has no report.json"),
        ("labels/genus.txt", "has no labels/genus.txt"),
        ("order/validation.parquet", "has no order/validation.parquet"),
        ("cropped_256/train-00001-of-00002.parquet", "has no train-00001-of-00002.parquet"),
        ("metadata/test-00000-of-00001.parquet", "is not what its report.json says"),
    ],
)
def test_a_missing_file_is_found(name: str, message: str, converted: tuple[Path, list[Row]]) -> None:
    folder, _ = converted
    (folder / name).unlink()
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        read_contents(folder)


def test_a_damaged_file_and_one_too_many_are_found(converted: tuple[Path, list[Row]]) -> None:
    folder, _ = converted
    shard = folder / "metadata" / "test-00000-of-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"test-00000-of-00001\.parquet' is damaged"):
        read_contents(folder)
    shard.rename(shard.with_name("train-00000-of-00003.parquet"))
    with pytest.raises((FileNotFoundError, ValueError), match=r"train-0000"):
        read_contents(folder)
