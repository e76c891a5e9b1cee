import json
import os
import resource
import shutil
import zipfile
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features

from bioscan_hf.data import metadata_conversion, shards
from bioscan_hf.data.conversion import convert
from bioscan_hf.data.features import COLUMN_NAMES, SPLIT_NAMES, bioscan_features, published_name
from bioscan_hf.data.plan import Plan
from bioscan_hf.data.release import PARTS
from bioscan_hf.data.whole_files import nobody_else_writes
from tests.made_release import Row, make_release, member, unpack_release, write_csv
from tests.reference_conversion import ROWS, SHARD_BYTES, Conversion, files, reference_conversion


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    return reference_conversion(tmp_path_factory.mktemp("conversion"))


def without_images(root: Path, names: set[str], *, damaged: bool = False) -> None:
    """Take images out of the archives of a release, or change a byte of them."""
    for path in root.glob("*cropped_256*.zip"):
        with zipfile.ZipFile(path) as archive:
            contents = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
            folders = [info.filename for info in archive.infolist() if info.is_dir()]
        with zipfile.ZipFile(path, "w") as archive:
            for folder in folders:
                archive.mkdir(folder)
            for name, content in contents.items():
                if damaged or name not in names:
                    archive.writestr(name, content)
        if damaged:
            data = path.read_bytes()
            for content in (content for name, content in contents.items() if name in names):
                data = data.replace(content, content[:-1] + bytes([content[-1] ^ 1]))
            path.write_bytes(data)


def test_packages_hold_the_specimens_with_their_images(whole: Conversion) -> None:
    for split in SPLIT_NAMES:
        paths = sorted((whole.folder / "cropped_256").glob(f"{published_name(split)}-*"))
        assert len(paths) > 1
        table = Dataset.from_parquet([str(path) for path in paths], cache_dir=str(whole.folder.parent / "cache"))
        assert table.features == bioscan_features()
        stored = [row for path in paths for row in pq.read_table(path).to_pylist()]
        expected = [row for row in ROWS if row["split"] == split]
        assert [{name: row[name] for name in COLUMN_NAMES} for row in stored] == [
            {name: row[name] for name in COLUMN_NAMES} for row in expected
        ]
        assert [row["image"] for row in stored] == [
            {"bytes": row["image"], "path": f"{row['processid']}.jpg"} for row in expected
        ]
        assert table[0]["image"].format == "JPEG"


def test_shards_are_in_the_form_that_is_published(whole: Conversion) -> None:
    for path in (whole.folder / "cropped_256").iterdir():
        schema, group = pq.read_schema(path), pq.read_metadata(path).row_group(0)
        assert Features.from_arrow_schema(schema) == bioscan_features()
        columns = {c.path_in_schema: c for c in map(group.column, range(group.num_columns))}
        image = columns.pop("image.bytes")
        assert (image.compression, image.has_dictionary_page) == ("UNCOMPRESSED", False)
        assert {column.compression for column in columns.values()} == {"ZSTD"}
        assert not list(path.parent.glob(".*"))


def test_report_tells_what_was_read_and_written(whole: Conversion) -> None:
    report = json.loads((whole.folder / "report.json").read_text())
    counts = dict(Counter(published_name(str(row["split"])) for row in ROWS))
    assert report["rows"] == {"metadata": counts, "cropped_256": counts}
    names = [source["name"] for source in report["sources"]]
    assert names[0].endswith("MultiTypes.zip") and len(names) == 1 + len(PARTS)
    assert all(len(source["md5"]) == 32 for source in report["sources"])
    assert report["skipped"] == [] and report["versions"]["datasets"]
    assert not [check for check in report["checks"] if check["passed"] is False]


@pytest.mark.parametrize("images_per_group", [1, 4])
def test_row_groups_do_not_change_what_is_read(
    images_per_group: int, whole: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (metadata_conversion, shards):
        monkeypatch.setattr(module, "ROWS_PER_GROUP", 3)
    monkeypatch.setattr(shards, "IMAGES_PER_GROUP", images_per_group)
    convert(whole.root, tmp_path / "out", shard_bytes=SHARD_BYTES)
    for path in (whole.folder / "cropped_256").iterdir():
        other = tmp_path / "out" / "cropped_256" / path.name
        assert pq.read_table(other) == pq.read_table(path)
        groups = pq.read_metadata(other)
        assert {groups.row_group(i).num_rows for i in range(groups.num_row_groups - 1)} <= {images_per_group}


def test_unpacked_folder_gives_the_same_shards(whole: Conversion, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "root")
    unpack_release(tmp_path / "root")
    convert(tmp_path / "root", tmp_path / "out", shard_bytes=SHARD_BYTES)
    expected, found = files(whole.folder), files(tmp_path / "out")
    for content in (expected, found):
        del content["plan.json"], content["report.json"]
    assert found == expected


def test_metadata_alone(whole: Conversion, tmp_path: Path) -> None:
    report = convert(whole.root, tmp_path / "out", [])
    assert list(report["rows"]) == ["metadata"]
    assert not (tmp_path / "out" / "cropped_256").exists()


def test_part_of_a_package(whole: Conversion, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "root")
    for name in ("", "_train", "_pretrain"):
        (tmp_path / "root" / f"BIOSCAN_5M_cropped_256{name}.zip").unlink()
    report = convert(tmp_path / "root", tmp_path / "out", shard_bytes=SHARD_BYTES)
    assert list(report["rows"]["cropped_256"]) == [published_name(split) for split in PARTS["eval"]]
    assert len(report["rows"]["metadata"]) == len(SPLIT_NAMES)


def test_splits_without_specimens_are_left_out(tmp_path: Path) -> None:
    make_release(tmp_path / "root", [row for row in ROWS if row["split"] in ("train", "val")])
    report = convert(tmp_path / "root", tmp_path / "out", shard_bytes=SHARD_BYTES)
    assert report["rows"]["cropped_256"] == {"train": 10, "validation": 10}


@pytest.mark.parametrize("harm", ["lost", "flipped"])
@pytest.mark.parametrize("name", ["metadata/train-00000-of-00001.parquet", "labels/genus.txt", "order/test.parquet"])
def test_lost_or_damaged_metadata_are_written_again(name: str, harm: str, whole: Conversion, tmp_path: Path) -> None:
    path = tmp_path / "out" / name
    shutil.copytree(whole.folder, tmp_path / "out")
    content = path.read_bytes()
    path.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    if harm == "lost":
        path.unlink()
    convert(whole.root, tmp_path / "out", shard_bytes=SHARD_BYTES)
    assert files(tmp_path / "out") == files(whole.folder)


def test_missing_image_is_named(whole: Conversion, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "root")
    gone = next(row for row in ROWS if row["split"] == "train")
    without_images(tmp_path / "root", {member(gone)})
    with pytest.raises(ValueError, match=f"1 specimens have no image, such as {gone['processid']}: no {member(gone)}"):
        convert(tmp_path / "root", tmp_path / "out", shard_bytes=SHARD_BYTES)
    assert not (tmp_path / "out" / "report.json").exists()


def test_damaged_image_is_named(whole: Conversion, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "root")
    bad = [row for row in ROWS if row["split"] == "test"][4]
    without_images(tmp_path / "root", {member(bad)}, damaged=True)
    with pytest.raises(ValueError, match=f"The image of {bad['processid']} cannot be read: .*{member(bad)}"):
        convert(tmp_path / "root", tmp_path / "out", shard_bytes=SHARD_BYTES)
    assert not list((tmp_path / "out").glob("cropped_256/.*"))


def test_skipped_specimens_are_left_out_and_listed(whole: Conversion, tmp_path: Path) -> None:
    """A bad record, a missing image and a damaged one; the rest is there, also after an interruption."""
    root, folder = tmp_path / "root", tmp_path / "out"
    shutil.copytree(whole.root, root)
    rows: list[Row] = [dict(row) for row in ROWS]
    train = [row for row in rows if row["split"] == "train"]
    bad, missing, damaged = train[1], train[4], train[8]
    bad["dna_barcode"] = "ACG?"
    write_csv(root / "BIOSCAN_5M_Insect_Dataset_metadata.csv", rows)
    without_images(root, {member(missing)})
    without_images(root, {member(damaged)}, damaged=True)
    report = convert(root, folder, shard_bytes=SHARD_BYTES, on_error="skip")
    reasons = {record["processid"]: record["reason"] for record in report["skipped"]}
    assert list(reasons) == [bad["processid"], missing["processid"], damaged["processid"]]
    assert "no image" in reasons[missing["processid"]] and "CRC-32" in reasons[damaged["processid"]]
    assert str(tmp_path) not in json.dumps(report)
    assert (report["rows"]["metadata"]["train"], report["rows"]["cropped_256"]["train"]) == (9, 7)
    paths = sorted((folder / "cropped_256").glob("train-*"))
    stored = [row["processid"] for path in paths for row in pq.read_table(path).to_pylist()]
    assert stored == [row["processid"] for row in train if row not in (bad, missing, damaged)]
    assert not [check for check in report["checks"] if check["passed"] is False]

    expected = files(folder)
    for path in paths:
        path.unlink()
    assert convert(root, folder, shard_bytes=SHARD_BYTES, on_error="skip") == report
    assert files(folder) == expected
    with pytest.raises(ValueError, match="conversion with on_error='skip', now 'raise'"):
        convert(root, folder, shard_bytes=SHARD_BYTES)


def test_conversion_that_met_a_damaged_image_can_go_on_without_it(whole: Conversion, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "root")
    bad = [row for row in ROWS if row["split"] == "test"][4]
    without_images(tmp_path / "root", {member(bad)}, damaged=True)
    with pytest.raises(ValueError, match="cannot be read"):
        convert(tmp_path / "root", tmp_path / "out", shard_bytes=SHARD_BYTES)
    report = convert(tmp_path / "root", tmp_path / "out", shard_bytes=SHARD_BYTES, on_error="skip")
    assert [record["processid"] for record in report["skipped"]] == [bad["processid"]]


def test_damaged_archive_can_be_replaced(whole: Conversion, tmp_path: Path) -> None:
    """What was made of the others stays, and nothing that was made of the damaged one."""
    root, out = tmp_path / "root", tmp_path / "out"
    shutil.copytree(whole.root, root)
    bad = [row for row in ROWS if row["split"] == "train"][9]
    without_images(root, {member(bad)}, damaged=True)
    with pytest.raises(ValueError, match=f"image of {bad['processid']} cannot be read"):
        convert(root, out, shard_bytes=SHARD_BYTES)
    first = out / "cropped_256" / "train-00000-of-00002.parquet"
    before = {path: path.stat().st_mtime_ns for path in out.glob("cropped_256/*")}
    assert first in before and len(before) > 1
    shutil.copy2(whole.root / "BIOSCAN_5M_cropped_256_train.zip", root)
    convert(root, out, shard_bytes=SHARD_BYTES)
    shown, expected = files(out), files(whole.folder)
    for content in (shown, expected):  # the other archives were written anew by this test
        del content["plan.json"], content["report.json"]
    assert shown == expected
    assert {path for path, when in before.items() if path.stat().st_mtime_ns != when} == {first}


def test_archive_that_was_exchanged_is_noticed(whole: Conversion, tmp_path: Path) -> None:
    shutil.copytree(whole.folder, tmp_path / "out")
    plan = Plan.read(whole.root, tmp_path / "out")
    assert plan is not None and plan.shards
    shutil.copytree(whole.root, tmp_path / "root")
    without_images(tmp_path / "root", {member(next(row for row in ROWS if row["split"] == "pretrain"))})
    (tmp_path / "out" / plan.shards[0].name).unlink()
    with pytest.raises(ValueError, match="not those that were there when the conversion began"):
        shards.write_shard(Plan(**{**vars(plan), "root": tmp_path / "root"}), 0)
    with pytest.raises(ValueError, match=r"holds a conversion with other source files: .*_pretrain\.zip.* changed"):
        convert(tmp_path / "root", tmp_path / "out", shard_bytes=SHARD_BYTES)


def test_source_that_changes_meanwhile_is_noticed(whole: Conversion, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "root")
    archive = tmp_path / "root" / "BIOSCAN_5M_cropped_256_eval.zip"

    def touched(task: str, done: int, total: int | None) -> None:
        os.utime(archive, (1, 1))

    with pytest.raises(ValueError, match=r"\['BIOSCAN_5M_cropped_256_eval\.zip'\] changed while they were converted"):
        convert(tmp_path / "root", tmp_path / "out", shard_bytes=SHARD_BYTES, report=touched)
    assert not (tmp_path / "out" / "report.json").exists()


def test_second_process_is_refused(whole: Conversion, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with nobody_else_writes(folder), pytest.raises(OSError, match=r"Another process writes '.*out'; wait for it"):
        convert(whole.root, folder, shard_bytes=SHARD_BYTES)
    assert not list(tmp_path.iterdir())


def test_images_can_be_added(whole: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the metadata, then the images of the evaluation splits, then all, as archives come in."""
    root, out = tmp_path / "root", tmp_path / "out"
    convert(whole.root, out, [], shard_bytes=SHARD_BYTES)
    assert not (out / "cropped_256").exists()
    shutil.copytree(whole.root, root)  # with the times of change
    away = [root / f"BIOSCAN_5M_cropped_256{part}.zip" for part in ("", "_train", "_pretrain")]
    for path in away:
        path.rename(path.with_suffix(".away"))
    report = convert(root, out, shard_bytes=SHARD_BYTES)
    assert set(report["rows"]["cropped_256"]) == {published_name(split) for split in PARTS["eval"]}
    for path in away:
        path.with_suffix(".away").rename(path)
    written: list[str] = []
    whole_file = shards.whole_file

    def noted(path: Path) -> AbstractContextManager[BinaryIO]:
        written.append(path.name)
        return whole_file(path)

    monkeypatch.setattr(shards, "whole_file", noted)
    convert(root, out, shard_bytes=SHARD_BYTES)
    assert written and all(name.startswith(("train-", "pretrain-")) for name in written)
    assert files(out) == files(whole.folder)


def test_other_plan_is_refused(whole: Conversion, tmp_path: Path) -> None:
    shutil.copytree(whole.folder, tmp_path / "out")
    with pytest.raises(ValueError, match="shards of 8,000 bytes, now 9,000"):
        convert(whole.root, tmp_path / "out", shard_bytes=9_000)
    with pytest.raises(ValueError, match="other packages"):
        convert(whole.root, tmp_path / "out", [], shard_bytes=SHARD_BYTES)
    assert files(tmp_path / "out") == files(whole.folder)


@pytest.mark.parametrize("name", ["metadata", "cropped_256", "report.json"])
def test_folder_of_another_origin_is_refused(name: str, whole: Conversion, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=f"holds .'{name}'. of another origin"):
        convert(whole.root, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_sources_are_needed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No metadata"):
        convert(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_little_space_is_told_before_the_work(
    whole: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    with pytest.raises(OSError, match=r"needs 0\.00 GB, and its disk has 0\.00 GB free"):
        convert(whole.root, tmp_path / "out", shard_bytes=SHARD_BYTES)
    assert not (tmp_path / "out").exists()
    shutil.copytree(whole.folder, tmp_path / "done")
    convert(whole.root, tmp_path / "done", shard_bytes=SHARD_BYTES)  # needs nothing more


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits of this kind")
def test_full_disk_leaves_no_half_shard(whole: Conversion, tmp_path: Path) -> None:
    sizes = sorted(path.stat().st_size for path in (whole.folder / "cropped_256").iterdir())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[len(sizes) // 2], before[1]))
    try:
        with pytest.raises(OSError, match="free some space and run this again"):
            convert(whole.root, tmp_path / "out", shard_bytes=SHARD_BYTES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "out").rglob(".*"))
    convert(whole.root, tmp_path / "out", shard_bytes=SHARD_BYTES)
    assert files(tmp_path / "out") == files(whole.folder)
