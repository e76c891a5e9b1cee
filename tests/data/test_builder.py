import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from datasets import Image
from datasets.exceptions import DatasetGenerationError

from bioscan_hf.data.builder import Bioscan5M
from bioscan_hf.data.features import COLUMN_NAMES, SPLIT_NAMES, bioscan_features, published_name
from bioscan_hf.data.release import CONFIGURATIONS, PARTS
from tests.made_release import Row, made_rows, make_release, member, unpack_release

SPLITS = [published_name(split) for split in SPLIT_NAMES]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    root = tmp_path_factory.mktemp("release")
    return root, make_release(root, made_rows(4))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def build(root: Path, cache: Path, name: str = "cropped_256", **options: Any) -> Bioscan5M:
    options = {"max_nucleotides": None, **options}
    return Bioscan5M(config_name=name, data_dir=str(root), cache_dir=str(cache), **options)


def of_split(rows: list[Row], split: str) -> list[Row]:
    return [row for row in rows if published_name(str(row["split"])) == split]


def contents(dataset: object) -> list[Row]:
    """Rows as in `made_rows`: the image as bytes."""
    undecoded = dataset.cast_column("image", Image(decode=False))  # type: ignore[attr-defined]
    return [{**row, "image": row["image"]["bytes"]} for row in undecoded]


def test_the_configurations_are_the_official_ones_and_metadata() -> None:
    assert list(Bioscan5M.builder_configs) == list(CONFIGURATIONS) and len(CONFIGURATIONS) == 11
    assert CONFIGURATIONS["original_256_eval"].splits == PARTS["eval"]


@pytest.mark.parametrize("name", ["cropped_256", "cropped_256_eval", "cropped_256_train", "cropped_256_pretrain"])
def test_every_split_with_every_modality(name: str, release: tuple[Path, list[Row]], tmp_path: Path) -> None:
    root, rows = release
    builder = build(root, tmp_path, name)
    builder.download_and_prepare()
    prepared = builder.as_dataset()
    assert list(prepared) == [published_name(split) for split in CONFIGURATIONS[name].splits]
    for split, dataset in prepared.items():
        assert dataset.features == bioscan_features()
        assert contents(dataset) == of_split(rows, split)
        assert dataset[0]["image"].size == (96, 96)


def test_metadata_have_no_image(release: tuple[Path, list[Row]], tmp_path: Path) -> None:
    root, rows = release
    builder = build(root, tmp_path, "metadata")
    builder.download_and_prepare()
    assert builder.as_dataset(split="validation").features == bioscan_features(image=False)
    expected = [{name: row[name] for name in COLUMN_NAMES} for row in of_split(rows, "validation")]
    assert list(builder.as_dataset(split="validation")) == expected


def test_streams_hold_the_same_without_a_cache(release: tuple[Path, list[Row]], tmp_path: Path) -> None:
    root, rows = release
    streams = build(root, tmp_path).as_streaming_dataset()
    assert list(streams) == SPLITS
    for split in SPLITS:
        assert contents(streams[split]) == of_split(rows, split)
    assert not list(tmp_path.rglob("*.arrow"))
    few = build(root, tmp_path, columns=("processid", "dna_barcode")).as_streaming_dataset()["test"]
    assert [set(row) for row in few] == [{"processid", "dna_barcode"}] * 4


def test_unpacked_folders_and_several_processes(release: tuple[Path, list[Row]], tmp_path: Path) -> None:
    rows = make_release(tmp_path / "unpacked", release[1])
    unpack_release(tmp_path / "unpacked")
    for root in (tmp_path / "unpacked", tmp_path / "unpacked" / "bioscan5m"):
        builder = build(root, tmp_path / "cache", "cropped_256_eval")
        builder.download_and_prepare(num_proc=2)
        assert contents(builder.as_dataset(split="other_heldout")) == of_split(rows, "other_heldout")


def test_the_cache_is_used_and_follows_the_files(tmp_path: Path) -> None:
    root, cache = tmp_path / "release", tmp_path / "cache"
    rows = make_release(root, made_rows(2))
    first, again = build(root, cache, "cropped_256_train"), build(root, cache, "cropped_256_train")
    first.download_and_prepare()
    assert first.cache_dir == again.cache_dir and Path(again.cache_dir).is_dir()
    changed = [{**row, "country": "Elsewhere"} for row in rows]
    make_release(root, changed)
    later = build(root, cache, "cropped_256_train")
    later.download_and_prepare()
    assert later.as_dataset(split="train")["country"][0] == "Elsewhere"


def test_a_missing_image_is_named_or_left_out(tmp_path: Path) -> None:
    rows = make_release(tmp_path, made_rows(3))
    unpack_release(tmp_path)
    victim = of_split(rows, "test")[1]
    (tmp_path / member(victim)).unlink()
    with pytest.raises(DatasetGenerationError) as error:
        build(tmp_path, tmp_path / "cache", "cropped_256_eval").download_and_prepare()
    assert str(victim["processid"]) in str(error.value.__cause__) and member(victim) in str(error.value.__cause__)
    builder = build(tmp_path, tmp_path / "cache", "cropped_256_eval", on_error="skip")
    with pytest.warns(UserWarning, match=f"1 specimens are left out, .* damaged: {victim['processid']}"):
        builder.download_and_prepare()
    left = [row for row in of_split(rows, "test") if row is not victim]
    assert contents(builder.as_dataset(split="test")) == left


def test_a_damaged_image_is_named_or_left_out(tmp_path: Path) -> None:
    rows = make_release(tmp_path, made_rows(3))
    victim = of_split(rows, "train")[1]
    archive = tmp_path / "BIOSCAN_5M_cropped_256_train.zip"
    content = archive.read_bytes()
    assert isinstance(victim["image"], bytes)
    archive.write_bytes(content.replace(victim["image"], victim["image"][:-9] + b"\0" * 9, 1))
    with pytest.raises(DatasetGenerationError) as error:
        build(tmp_path, tmp_path / "cache", "cropped_256_train").download_and_prepare()
    message = str(error.value.__cause__)
    assert str(victim["processid"]) in message and member(victim) in message and archive.name in message
    builder = build(tmp_path, tmp_path / "cache", "cropped_256_train", on_error="skip")
    with pytest.warns(UserWarning, match=f"1 specimens are left out, .* damaged: {victim['processid']}"):
        builder.download_and_prepare()
    left = [row for row in of_split(rows, "train") if row is not victim]
    assert contents(builder.as_dataset(split="train")) == left


def test_barcodes_are_cut(release: tuple[Path, list[Row]], tmp_path: Path) -> None:
    root, rows = release
    for limit in (660, 100, None):
        builder = build(root, tmp_path, "metadata", max_nucleotides=limit, splits=("other_heldout",))
        builder.download_and_prepare()
        expected = [str(row["dna_barcode"])[:limit] for row in of_split(rows, "other_heldout")]
        assert builder.as_dataset(split="other_heldout")["dna_barcode"][:] == expected


def test_storage_is_that_of_an_image_feature(release: tuple[Path, list[Row]], tmp_path: Path) -> None:
    builder = build(release[0], tmp_path, "cropped_256_train")
    builder.download_and_prepare()
    image = builder.as_dataset(split="train").with_format("arrow")[:]["image"]
    assert image.type == pa.struct({"bytes": pa.binary(), "path": pa.string()})
    assert all(not Path(path).is_absolute() for path in image.combine_chunks().field("path").to_pylist())


def test_a_builder_can_be_sent_to_another_process(release: tuple[Path, list[Row]], tmp_path: Path) -> None:
    builder = build(release[0], tmp_path, "metadata")
    assert pickle.loads(pickle.dumps(builder)).cache_dir == builder.cache_dir
