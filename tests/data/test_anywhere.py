from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Image, IterableDataset

from bioscan_hf.data.anywhere import describe_anywhere, has_splits, load_anywhere
from bioscan_hf.data.specimens import load_specimens
from tests.hub_server.fixture import LocalHub
from tests.made_conversion import make_conversion
from tests.made_release import Row, made_rows, make_release
from tests.tiny import CSV

COLUMNS = ["processid", "species"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "t.csv"
    path.write_text(CSV)
    return path


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return made_rows(3)


@pytest.fixture(scope="module", params=["archives", "converted"])
def release(request: pytest.FixtureRequest, rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    (make_release if request.param == "archives" else make_conversion)(folder, rows)
    return folder


def processids(source: Any, **options: Any) -> list[str]:
    return sorted(row["processid"] for row in load_anywhere(source, COLUMNS, **options))


def test_file_gives_the_columns_and_split_asked_for(table: Path) -> None:
    found = load_anywhere(table, COLUMNS, split="train")
    assert isinstance(found, Dataset) and found.column_names == COLUMNS
    assert found[:] == {"processid": ["A1", "B1"], "species": ["Aus bus", "Cus dus"]}
    assert processids(str(table)) == ["A1", "A2", "B1", "B2", "C1", "P1"]
    assert processids(table, split="train+pretrain") == ["A1", "B1", "P1"]


def test_fasta_has_no_splits(tmp_path: Path) -> None:
    path = tmp_path / "b.fasta"
    path.write_text(">X1\nACGT\n>X2\nACGA\n")
    assert processids(path) == ["X1", "X2"] and not has_splits(path)
    with pytest.raises(ValueError, match="no specimens of the split 'train'; it has no splits"):
        load_anywhere(path, COLUMNS, split="train")


def test_table_of_splits_replaces_those_of_a_file(table: Path, tmp_path: Path) -> None:
    splits = tmp_path / "s.csv"
    splits.write_text("processid,split\nA2,train\n")
    assert processids(table, split="train", splits=splits) == ["A2"]
    assert has_splits(table) and has_splits(table, splits)
    assert describe_anywhere(table, splits) != describe_anywhere(table)


def test_sample_is_named_by_a_word() -> None:
    assert len(load_anywhere("sample", ["processid"], split="test")) == 182
    assert has_splits("sample")
    name, revision = describe_anywhere("sample")
    assert "sample" in name.lower() or "simulated" in name.lower()
    assert revision


def test_stream_gives_the_same_one_after_another(table: Path) -> None:
    found = load_anywhere(table, COLUMNS, split="train", streaming=True)
    assert isinstance(found, IterableDataset) and [row["processid"] for row in found] == ["A1", "B1"]


@pytest.mark.parametrize("streaming", [False, True])
def test_release_gives_all_splits_together_or_one(release: Path, rows: list[Row], streaming: bool) -> None:
    everything = sorted(str(row["processid"]) for row in rows)
    assert processids(release, streaming=streaming) == everything
    some = sorted(str(row["processid"]) for row in rows if row["split"] in ("train", "val"))
    assert processids(release, split="train+val", streaming=streaming) == some
    assert has_splits(release)


@pytest.mark.parametrize("streaming", [False, True])
def test_release_gives_its_images(release: Path, rows: list[Row], streaming: bool) -> None:
    with_images = ["processid", "image"]
    found = load_anywhere(release, with_images, split="test+test_unseen", streaming=streaming)
    content = {str(row["processid"]): row["image"] for row in rows if row["split"] in ("test", "test_unseen")}
    assert found.column_names == with_images
    read = {row["processid"]: row["image"]["bytes"] for row in found.cast_column("image", Image(decode=False))}
    assert read == content and len(read) == 6
    assert len(list(load_anywhere(release, with_images, streaming=streaming))) == len(rows)


def test_specimens_of_the_sample_without_image_keep_their_place() -> None:
    found = load_anywhere("sample", ["processid", "image"])
    assert isinstance(found, Dataset) and found.features["image"] == Image()
    assert found["processid"][:] == load_specimens()["processid"][:]
    assert len(found) - found.data.column("image").null_count == 1500


def test_images_of_a_folder_and_of_a_parquet_file(rows: list[Row], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for row in rows[:2]:
        (tmp_path / "folder" / f"{row['processid']}.jpg").write_bytes(row["image"])  # type: ignore[arg-type]
    found = load_anywhere(tmp_path / "folder", ["processid", "image"])
    assert len(found[0]["image"].size) == 2 and "image" not in load_anywhere(tmp_path / "folder", COLUMNS).column_names
    load_specimens(image=True).select(range(3)).to_parquet(tmp_path / "s.parquet")
    assert load_anywhere(tmp_path / "s.parquet", ["image"]).column_names == ["image"]


def test_a_table_without_images_is_told(table: Path) -> None:
    with pytest.raises(ValueError, match="has no images"):
        load_anywhere(table, ["processid", "image"])


def test_release_has_its_own_splits(release: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has the released splits"):
        load_anywhere(release, COLUMNS, splits=tmp_path / "s.csv")


def test_release_is_known_by_names_and_sizes_of_its_files(release: Path, tmp_path: Path) -> None:
    name, revision = describe_anywhere(release)
    assert name == release.name and describe_anywhere(release) == (name, revision)
    extra = release / "more.bin"
    extra.write_bytes(b"1")
    try:
        assert describe_anywhere(release)[1] != revision
    finally:
        extra.unlink()


@pytest.mark.parametrize("call", [describe_anywhere, lambda source: load_anywhere(source, COLUMNS)])
@pytest.mark.parametrize("source", ["no.csv", "a/b/c", "nothing", "no/thing.parquet"])
def test_what_is_neither_file_nor_repository_is_told(
    source: str, call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"No such file or folder: '{source}'; expected a file of specimens"):
        call(source)


def test_repository_is_known_by_its_commit(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioscan_hf.data.anywhere.HfApi", hub.api)
    hub.api().create_repo("tester/specimens", repo_type="dataset")
    sha = hub.api().dataset_info("tester/specimens").sha
    assert describe_anywhere("tester/specimens") == ("tester/specimens", sha)
    with pytest.raises(OSError, match="'tester/nothing' is no file or folder, and the Hub does not know it"):
        describe_anywhere("tester/nothing")
