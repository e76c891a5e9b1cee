import pickle
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from datasets.fingerprint import Hasher

from bioscan_hf.data import archives
from bioscan_hf.data.archives import ImageArchives, ImageFolder, find_images
from bioscan_hf.data.features import SPLIT_NAMES
from bioscan_hf.data.release import PARTS
from tests.made_release import Row, made_rows, make_release, member, unpack_release

PACKAGE = "cropped_256"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    root = tmp_path_factory.mktemp("released")
    return root, make_release(root, made_rows(per_split=3))


@pytest.fixture
def root(released: tuple[Path, list[Row]], tmp_path: Path) -> Path:
    """A copy of the release, which the test may change."""
    return shutil.copytree(released[0], tmp_path / "root")


@pytest.fixture
def rows(released: tuple[Path, list[Row]]) -> list[Row]:
    return released[1]


def made_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def names(images: ImageArchives | ImageFolder) -> list[str]:
    assert isinstance(images, ImageArchives)
    return [path.name for path in images.paths]


def test_folder_and_archives_give_the_same(root: Path, rows: list[Row]) -> None:
    members = [member(row) for row in rows] + [f"bioscan5m/images/{PACKAGE}/val/NONE-22.jpg"]
    packed = find_images(root, PACKAGE, SPLIT_NAMES)
    found = packed.read(members), packed.sizes(members).tolist()
    assert found[0] == [row["image"] for row in rows] + [None]
    assert found[1] == [len(row["image"]) for row in rows if isinstance(row["image"], bytes)] + [-1]
    unpack_release(root)
    for folder in (root, root / "bioscan5m"):
        unpacked = find_images(folder, PACKAGE, SPLIT_NAMES)
        assert isinstance(unpacked, ImageFolder)
        assert unpacked.sizes(members).dtype == np.int64
        assert (unpacked.read(members), unpacked.sizes(members).tolist()) == found
    assert unpacked.read([]) == [] and unpacked.sizes([]).shape == packed.sizes([]).shape == (0,)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_holds_its_splits(part: str, root: Path, rows: list[Row]) -> None:
    images = find_images(root, PACKAGE, PARTS[part])
    assert names(images) == [f"BIOSCAN_5M_{PACKAGE}_{part}.zip"]
    held = [member(row) for row in rows if row["split"] in PARTS[part]]
    assert held and (images.sizes(held) > 0).all()


def test_parts_go_before_the_whole_and_the_folder_before_both(root: Path) -> None:
    assert names(find_images(root, PACKAGE, ["validation", "train"])) == [
        f"BIOSCAN_5M_{PACKAGE}_train.zip",
        f"BIOSCAN_5M_{PACKAGE}_eval.zip",
    ]
    (root / f"BIOSCAN_5M_{PACKAGE}_eval.zip").rename(root / "later.zip")
    assert names(find_images(root, PACKAGE, ["val", "train"])) == [f"BIOSCAN_5M_{PACKAGE}.zip"]
    with zipfile.ZipFile(root / "later.zip") as archive:
        archive.extractall(root)
    assert isinstance(find_images(root, PACKAGE, ["val", "test_unseen"]), ImageFolder)
    # The folder has no images of `train`.
    assert names(find_images(root, PACKAGE, ["val", "train"])) == [f"BIOSCAN_5M_{PACKAGE}.zip"]


def test_archives_may_lie_in_the_inner_folder(root: Path) -> None:
    (root / "bioscan5m").mkdir()
    for path in root.glob("*.zip"):
        path.rename(root / "bioscan5m" / path.name)
    images = find_images(root, PACKAGE, ["val"])
    assert isinstance(images, ImageArchives)
    assert images.paths == (root / "bioscan5m" / f"BIOSCAN_5M_{PACKAGE}_eval.zip",)


def test_numbered_archives_are_read_together(tmp_path: Path) -> None:
    made_zip(tmp_path / "BIOSCAN_5M_cropped.02.zip", {"b.jpg": b"b", "both.jpg": b"second"})
    made_zip(tmp_path / "BIOSCAN_5M_cropped.01.zip", {"a.jpg": b"a", "both.jpg": b"first"})
    images = find_images(tmp_path, "cropped", SPLIT_NAMES)
    assert names(images) == ["BIOSCAN_5M_cropped.01.zip", "BIOSCAN_5M_cropped.02.zip"]
    wanted = ["b.jpg", "no.jpg", "both.jpg", "a.jpg"]
    assert images.read(wanted) == [b"b", None, b"first", b"a"]
    assert images.sizes(wanted).tolist() == [1, -1, 5, 1]


@pytest.mark.parametrize(
    ("package", "present"),
    [
        ("cropped", ["BIOSCAN_5M_cropped.02.zip"]),
        ("cropped", ["BIOSCAN_5M_cropped.01.zip", "BIOSCAN_5M_cropped.03.zip"]),
        # That there are two is known from the published checksums.
        ("cropped_256", ["BIOSCAN_5M_cropped_256_pretrain.01.zip"]),
    ],
)
def test_a_part_of_the_numbered_archives_is_not_taken_for_all(package: str, present: list[str], tmp_path: Path) -> None:
    for name in present:
        made_zip(tmp_path / name, {})
    with pytest.raises(FileNotFoundError, match=f"all of their numbered parts.*found {', '.join(present)}"):
        find_images(tmp_path, package, ["pretrain"])
    made_zip(tmp_path / f"BIOSCAN_5M_{package}.zip", {})
    assert names(find_images(tmp_path, package, ["pretrain"])) == [f"BIOSCAN_5M_{package}.zip"]


def test_error_tells_what_was_expected_what_was_found_and_where_to_get_it(root: Path) -> None:
    for name in ("", "_train"):
        (root / f"BIOSCAN_5M_{PACKAGE}{name}.zip").unlink()
    with pytest.raises(FileNotFoundError) as error:
        find_images(root, PACKAGE, ["train", "val"])
    message = str(error.value)
    assert "\n" not in message
    assert f"No {PACKAGE} images of train, val in '{root}'" in message
    assert f"BIOSCAN_5M_{PACKAGE}_train.zip and BIOSCAN_5M_{PACKAGE}_eval.zip, or BIOSCAN_5M_{PACKAGE}.zip" in message
    assert f"found BIOSCAN_5M_Insect_Dataset_metadata_MultiTypes.zip, BIOSCAN_5M_{PACKAGE}_eval.zip" in message
    assert f"hf download bioscan-ml/BIOSCAN-5M BIOSCAN_5M_{PACKAGE}_train.zip" in message


@pytest.mark.parametrize("kind", ["absent", "empty", "full", "file"])
def test_error_where_there_are_no_archives_at_all(kind: str, tmp_path: Path) -> None:
    root, found = tmp_path / "root", "nothing"
    if kind == "file":
        root.touch()
    elif kind != "absent":
        root.mkdir()
    if kind == "full":
        for number in range(20):
            (root / f"{number:02}.jpg").touch()
        found = r"00\.jpg, 01\.jpg, .* 11\.jpg and 8 more"
    # This package is not on the Hub.
    with pytest.raises(FileNotFoundError, match=rf"found {found}\. The page of bioscan-ml/BIOSCAN-5M"):
        find_images(root, "original_full", ["val"])


def test_unknown_package_and_split(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`package` must be one of"):
        find_images(tmp_path, "cropped_512", ["val"])
    with pytest.raises(ValueError, match="Did you mean 'train'"):
        find_images(tmp_path, PACKAGE, ["trian"])


def test_archives_are_opened_when_they_are_needed(tmp_path: Path) -> None:
    first = made_zip(tmp_path / "1.zip", {"a": b"a"})
    images = ImageArchives([first, tmp_path / "2.zip"])
    assert images.read(["a"]) == [b"a"]
    with pytest.raises(FileNotFoundError, match=r"2\.zip"):
        images.read(["a", "b"])


def test_only_paths_are_pickled(root: Path, rows: list[Row]) -> None:
    images = find_images(root, PACKAGE, SPLIT_NAMES)
    before = pickle.dumps(images), Hasher.hash(images)
    contents = images.read([member(row) for row in rows])
    assert (pickle.dumps(images), Hasher.hash(images)) == before
    assert pickle.loads(before[0]).read([member(row) for row in rows]) == contents


def test_processes_of_datasets_read_the_archives(root: Path, rows: list[Row], tmp_path: Path) -> None:
    images = find_images(root, PACKAGE, SPLIT_NAMES)
    members = [member(row) for row in rows]
    images.read(members[:1])

    def generate(images: ImageArchives, members: list[str]) -> Iterator[dict[str, bytes | None]]:
        for content in images.read(members):
            yield {"content": content}

    arguments = {"images": images, "members": members}
    dataset = Dataset.from_generator(generate, gen_kwargs=arguments, num_proc=2, cache_dir=str(tmp_path))
    assert dataset["content"][:] == [row["image"] for row in rows]


def test_damage_is_told_with_archive_and_member(root: Path, rows: list[Row]) -> None:
    path = root / f"BIOSCAN_5M_{PACKAGE}_eval.zip"
    wanted = [member(row) for row in rows if row["split"] == "val"]
    data = bytearray(path.read_bytes())
    data[data.index(wanted[0].encode()) + len(wanted[0]) + 100] ^= 1
    path.write_bytes(data)
    images = find_images(root, PACKAGE, ["val"])
    with pytest.raises(ValueError, match=rf"_eval\.zip' \({wanted[0]}\) does not match its CRC-32"):
        images.read(wanted)
    path.write_bytes(data[:-100])
    with pytest.raises(ValueError, match=r"_eval\.zip' is a truncated zip archive"):
        find_images(root, PACKAGE, ["val"]).sizes(wanted)


def test_what_is_no_file_is_an_absent_image(tmp_path: Path) -> None:
    (tmp_path / "bioscan5m" / "a.jpg").mkdir(parents=True)
    (tmp_path / "bioscan5m" / "b.jpg").touch()
    members = ["bioscan5m/a.jpg", "bioscan5m/b.jpg/c.jpg", "bioscan5m/b.jpg", "bioscan5m/no/d.jpg"]
    assert ImageFolder(tmp_path).read(members) == [None, None, b"", None]
    assert ImageFolder(tmp_path).sizes(members).tolist() == [-1, -1, 0, -1]


@pytest.mark.parametrize("name", ["bioscan5m/../../secret", "/etc/passwd", "..\\secret"])
def test_no_path_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "root" / "bioscan5m").mkdir(parents=True)
    (tmp_path / "secret").touch()
    for method in (ImageFolder(tmp_path / "root").read, ImageFolder(tmp_path / "root").sizes):
        with pytest.raises(ValueError, match="leads out of"):
            method([name])


def test_a_file_too_large_for_an_image_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(bytes(11))
    monkeypatch.setattr(archives, "LARGEST_MEMBER", 10)
    with pytest.raises(ValueError, match=r"a\.jpg' has 11 bytes, more than the 10"):
        ImageFolder(tmp_path).read(["bioscan5m/a.jpg"])
