import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioscan_hf.data.features import SPLIT_NAMES
from bioscan_hf.data.metadata import Skipped
from bioscan_hf.data.plan import Plan, Shard, _cut, find_packages, image_archives, part_of
from bioscan_hf.data.release import PARTS
from tests.made_release import made_rows, make_release, unpack_release

SHARDS = (Shard("cropped_256", "val", 0, 2, 0, 10, 9, 1000), Shard("cropped_256", "val", 1, 2, 10, 5, 5, 900))


def plan(folder: Path) -> Plan:
    return Plan(
        folder / "root",
        folder,
        {"a.zip": (5, 1_700_000_000_000_000_001)},
        {"cropped_256": ("train", "val")},
        1000,
        "skip",
        SHARDS,
        (Skipped("a.csv", 3, None, "reason"),),
        {"labels/genus.txt": "0123456789ab"},
    )


@given(st.lists(st.integers(-1, 50), min_size=1, max_size=200), st.integers(1, 500))
def test_shards_hold_every_image_once_and_are_of_like_size(values: list[int], shard_bytes: int) -> None:
    sizes = np.array(values)
    shards = _cut(sizes, "cropped_256", "val", shard_bytes)
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert {shard.of for shard in shards} <= {len(shards)}
    held: list[int] = []
    for shard in shards:
        rows = range(shard.first, shard.first + shard.rows)
        own = [row for row in rows if sizes[row] >= 0]
        assert own and (len(own), sizes[own].sum()) == (shard.images, shard.bytes)
        # An image lies in the shard in which its bytes begin to count, so no shard is more than two images off.
        assert shard.bytes <= 1.5 * shard_bytes + 2 * 50
        held += own
    assert held == np.flatnonzero(sizes >= 0).tolist()


def test_name_of_a_shard_is_the_published_one() -> None:
    assert SHARDS[1].name == "cropped_256/validation-00001-of-00002.parquet"


def test_plan_survives_the_disk(tmp_path: Path) -> None:
    plan(tmp_path).write()
    assert Plan.read(tmp_path / "root", tmp_path) == plan(tmp_path)
    unfinished = replace(plan(tmp_path), shards=None)
    unfinished.write()
    assert Plan.read(tmp_path / "root", tmp_path) == unfinished
    assert str(tmp_path) not in (tmp_path / "plan.json").read_text()


def test_no_plan_is_none(tmp_path: Path) -> None:
    assert Plan.read(tmp_path, tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "[]", "{}", "null", json.dumps({"shards": [1], "skipped": []}), '{"a": 1}']
)
def test_other_file_named_plan_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ValueError, match=r"plan\.json' is not the plan of a conversion"):
        Plan.read(tmp_path, tmp_path)


def test_flipped_digit_of_a_plan_is_noticed(tmp_path: Path) -> None:
    plan(tmp_path).write()
    path = tmp_path / "plan.json"
    path.write_text(path.read_text().replace('"first": 10', '"first": 11'))
    with pytest.raises(ValueError, match=r"plan\.json' is not the plan of a conversion \(it is damaged\)"):
        Plan.read(tmp_path / "root", tmp_path)


def test_every_split_lies_in_one_part() -> None:
    assert [split for part in PARTS.values() for split in part] == list(SPLIT_NAMES)
    assert all(split in part_of(split) for split in SPLIT_NAMES)


@pytest.mark.parametrize("unpacked", [False, True])
def test_packages_and_their_splits_are_found(unpacked: bool, tmp_path: Path) -> None:
    make_release(tmp_path, made_rows(1))
    make_release(tmp_path, made_rows(1), package="original_256")
    if unpacked:
        unpack_release(tmp_path)
    assert find_packages(tmp_path) == {"cropped_256": SPLIT_NAMES, "original_256": SPLIT_NAMES}
    assert find_packages(tmp_path, ["original_256"]) == {"original_256": SPLIT_NAMES}
    assert find_packages(tmp_path, []) == {}
    archives = image_archives(tmp_path, {"original_256": SPLIT_NAMES})
    parts = () if unpacked else PARTS
    assert [path.name for path in archives] == [f"BIOSCAN_5M_original_256_{part}.zip" for part in parts]


def test_only_splits_with_archives_are_found(tmp_path: Path) -> None:
    make_release(tmp_path, made_rows(1))
    for name in ("", "_train", "_pretrain"):
        (tmp_path / f"BIOSCAN_5M_cropped_256{name}.zip").unlink()
    assert find_packages(tmp_path) == {"cropped_256": PARTS["eval"]}


def test_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    make_release(tmp_path, made_rows(1))
    with pytest.raises(FileNotFoundError, match="original_256"):
        find_packages(tmp_path, ["original_256"])
    with pytest.raises(ValueError, match="`package` must be one of"):
        find_packages(tmp_path, ["original"])
