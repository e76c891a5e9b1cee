import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioscan_hf.data import verification
from bioscan_hf.data.conversion import convert
from bioscan_hf.data.metadata_checks import Check
from bioscan_hf.data.release import MD5, METADATA_ARCHIVE
from bioscan_hf.data.verification import md5_of, published_md5, verify
from tests.made_release import made_rows, make_release, member, unpack_release, write_csv
from tests.reference_conversion import ROWS, SHARD_BYTES, Conversion, reference_conversion

PACKAGE = "cropped_256: the specimens of the metadata"
KNOWN = "cropped_256: MD5 of known images"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    return reference_conversion(tmp_path_factory.mktemp("conversion"))


def failed(path: Path) -> dict[str, str]:
    return {check.name: check.detail for check in verify(path) if check.passed is False}


def found(path: Path) -> dict[str, Check]:
    return {check.name: check for check in verify(path)}


def known_images(rows: int = 3) -> dict[str, str]:
    """MD5 of some images, as `IMAGE_MD5` has them."""
    some = [row for row in ROWS if row["split"] in ("pretrain", "val")][:: 20 // rows]
    contents = {member(row).removeprefix("bioscan5m/images/cropped_256/"): row["image"] for row in some}
    return {name: hashlib.md5(content).hexdigest() for name, content in contents.items() if isinstance(content, bytes)}


def test_good_conversion_has_no_failures(whole: Conversion) -> None:
    checks = found(whole.folder)
    assert failed(whole.folder) == {}
    assert checks[PACKAGE].outcome == "passed" and "train 10" in checks[PACKAGE].detail
    assert checks["metadata and order"].detail == f"{len(ROWS)} specimens"


def _rewritten(name: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        table = pq.read_table(folder / name)
        pq.write_table(change(table), folder / name)

    return harm


def _truncated(folder: Path) -> None:
    path = folder / "cropped_256" / "test-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("harm", "check", "detail"),
    [
        (_rewritten("metadata/test-00000-of-00001.parquet", lambda t: t.slice(1)), PACKAGE, "test has 10 specimens"),
        (
            _rewritten("metadata/test-00000-of-00001.parquet", lambda t: t.slice(1)),
            "metadata and order",
            "order/test.parquet does not number the 9 rows",
        ),
        (
            _rewritten("order/train.parquet", lambda t: t.take(list(range(len(t)))[::-1])),
            "metadata and order",
            "order/train.parquet",
        ),
        (
            _rewritten("cropped_256/validation-00000-of-00002.parquet", lambda t: t.take(list(range(len(t)))[::-1])),
            PACKAGE,
            "val has 10 specimens that are not the 10",
        ),
        (
            lambda folder: (folder / "cropped_256/train-00001-of-00002.parquet").unlink(),
            PACKAGE,
            "train has 1 of 2 shards",
        ),
        (_truncated, PACKAGE, "test cannot be read"),
        (
            lambda folder: (folder / "metadata/test-00000-of-00001.parquet").write_bytes(b"PAR1"),
            "metadata and order",
            "test cannot be read",
        ),
        (lambda folder: (folder / "order/train.parquet").unlink(), "metadata and order", "train cannot be read"),
        (
            lambda folder: shutil.copy(
                folder / "metadata/test-00000-of-00001.parquet", folder / "metadata/train-00000-of-00001.parquet"
            ),
            "metadata and order",
            "train-00000-of-00001.parquet has rows of test",
        ),
    ],
)
def test_harm_to_a_conversion_is_found(
    harm: Callable[[Path], None], check: str, detail: str, whole: Conversion, tmp_path: Path
) -> None:
    shutil.copytree(whole.folder, tmp_path / "out")
    harm(tmp_path / "out")
    assert detail in failed(tmp_path / "out")[check]


def test_specimens_left_out_must_be_listed(whole: Conversion, tmp_path: Path) -> None:
    root, folder = tmp_path / "root", tmp_path / "out"
    gone = next(row for row in ROWS if row["split"] == "val")
    make_release(root, [row for row in ROWS if row != gone])
    shutil.copy(whole.root / METADATA_ARCHIVE, root)
    convert(root, folder, shard_bytes=SHARD_BYTES, on_error="skip")
    assert failed(folder) == {}
    (folder / "plan.json").unlink()  # as in what is published
    assert failed(folder) == {}
    report = json.loads((folder / "report.json").read_text())
    (folder / "report.json").write_text(json.dumps({**report, "skipped": []}))
    assert "val has 9 specimens that are not the 10" in failed(folder)[PACKAGE]


@pytest.mark.parametrize("converted", [True, False])
def test_known_images_are_compared(converted: bool, whole: Conversion, monkeypatch: pytest.MonkeyPatch) -> None:
    path, images = whole.folder if converted else whole.root, known_images()
    monkeypatch.setattr(verification, "IMAGE_MD5", {**images, "val/AACTA0-00.jpg": "0"})
    assert (found(path)[KNOWN].passed, found(path)[KNOWN].detail) == (
        True,
        f"{len(images)} of {len(images) + 1} are here",
    )
    wrong = next(name for name in images if name.startswith("val/"))
    monkeypatch.setattr(verification, "IMAGE_MD5", {**images, wrong: "0"})
    assert failed(path)[KNOWN] == f"{len(images)} of {len(images)} are here; other content: {wrong}"


def test_known_images_that_are_not_there_are_not_applicable(whole: Conversion) -> None:
    assert found(whole.folder)[KNOWN].outcome == found(whole.root)[KNOWN].outcome == "not applicable"


@pytest.mark.parametrize("unpacked", [False, True])
def test_release_is_checked(unpacked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_release(tmp_path, ROWS)
    if unpacked:
        unpack_release(tmp_path)
    monkeypatch.setattr(verification, "MD5", {path.name: md5_of(path) for path in tmp_path.glob("*.zip")})
    checks = found(tmp_path)
    assert failed(tmp_path) == {}
    assert checks["cropped_256: an image of every specimen"].detail.startswith(f"{len(ROWS)} of pretrain, train")
    assert checks["records"].detail == f"{len(ROWS)} good, 0 bad"
    if not unpacked:
        assert checks[f"MD5 of {METADATA_ARCHIVE}"].outcome == "passed"


def test_harm_to_a_release_is_found(tmp_path: Path) -> None:
    gone = next(row for row in ROWS if row["split"] == "train")
    bad = next(row for row in ROWS if row["split"] == "val")
    make_release(tmp_path, [row for row in ROWS if row != gone])
    rows = [{**row, "coord-lat": 900.0} if row is bad else row for row in ROWS]
    write_csv(tmp_path / "BIOSCAN_5M_Insect_Dataset_metadata.csv", rows)
    faults = failed(tmp_path)
    assert f"1 missing, such as {gone['processid']}" in faults["cropped_256: an image of every specimen"]
    assert f"{len(ROWS) - 1} good, 1 bad; {bad['processid']}: 'coord-lat'" in faults["records"]
    for name in (METADATA_ARCHIVE, "BIOSCAN_5M_cropped_256_train.zip"):
        assert f"instead of {MD5[name]}: damaged, or packed anew" in faults[f"MD5 of {name}"]


def test_one_archive_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_release(tmp_path, made_rows(1))
    path = tmp_path / "BIOSCAN_5M_cropped_256_train.zip"
    (md5, records) = verify(path)
    assert md5.outcome == "failed" and records.outcome == "not applicable"
    monkeypatch.setattr(verification, "MD5", {path.name: hashlib.md5(path.read_bytes()).hexdigest()})
    assert verify(path)[0].outcome == "passed"
    assert verify(tmp_path / "BIOSCAN_5M_cropped_256.zip")[0].outcome == "not applicable"


def test_archives_without_metadata_are_checked(tmp_path: Path) -> None:
    make_release(tmp_path, made_rows(1))
    (tmp_path / METADATA_ARCHIVE).unlink()
    assert found(tmp_path)["records"].detail == "no metadata here"


@pytest.mark.parametrize("name", ["nothing", "."])
def test_nothing_to_check_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No "):
        verify(tmp_path / name)


def test_md5_counts_what_is_done(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(bytes(2_500_000))
    told: list[tuple[str, int, int | None]] = []
    assert md5_of(path, lambda *call: told.append(call)) == hashlib.md5(bytes(2_500_000)).hexdigest()
    assert [done for _, done, _ in told] == [1 << 20, 2 << 20, 2_500_000]
    assert {(task, total) for task, _, total in told} == {("MD5 of a.zip", 2_500_000)}


def test_table_has_a_published_md5_packed_and_unpacked() -> None:
    assert published_md5(Path("x") / METADATA_ARCHIVE) == "ac381b69fafdbaedc2f9cfb89e3571f7"
    assert published_md5(Path("BIOSCAN_5M_Insect_Dataset_metadata.csv")) == "603020b433ef566946efba7a08dbb23d"
    assert published_md5(Path("other.csv")) is None
