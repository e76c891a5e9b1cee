import multiprocessing
import pickle
import struct
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioscan_hf.data import zips
from bioscan_hf.data.zips import ZipIndex, climbs_out

LOCAL, ENTRY, END, END64, LOCATOR = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
MEMBERS = {"a/1.jpg": b"one" * 20, "a/2.jpg": b"two" * 30, "a/3.jpg": b""}


def made(path: Path, members: dict[str, bytes] = MEMBERS, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def overwritten(path: Path, signature: bytes, offset: int, form: str, *values: object) -> Path:
    """Write values over a field of the first record with a signature."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, data.index(signature) + offset, *values)
    path.write_bytes(data)
    return path


def assert_same_as_zipfile(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()[::-1]
        expected = [archive.read(name) for name in names]
    index = ZipIndex(path)
    assert len(index) == len(names)
    assert index.read(names) == expected
    assert index.sizes(names).tolist() == [len(content) for content in expected]


@st.composite
def archives(draw: st.DrawFn) -> list[tuple[str, bytes, int, bool]]:
    """Name, content, compression method of each member, and whether its local header has ZIP64 fields."""
    name = st.text("abÄ/.:- 0", min_size=1, max_size=30).filter(lambda name: name[-1] != "/" and not climbs_out(name))
    method = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    member = st.tuples(name, st.binary(max_size=200) | st.just(b"A" * 5000), method, st.booleans())
    return draw(st.lists(member, max_size=20, unique_by=lambda member: member[0]))


@pytest.mark.parametrize("limit", [zipfile.ZIP64_LIMIT, 50], ids=["zip32", "zip64"])
@settings(deadline=None, max_examples=60)
@given(members=archives(), block=st.integers(1, 400))
def test_every_member_is_as_zipfile_reads_it(
    tmp_path_factory: pytest.TempPathFactory, limit: int, members: list[tuple[str, bytes, int, bool]], block: int
) -> None:
    path = tmp_path_factory.mktemp("zips") / "a.zip"
    with patch.object(zipfile, "ZIP64_LIMIT", limit), zipfile.ZipFile(path, "w") as archive:
        for name, content, method, zip64 in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=zip64 or len(content) > limit // 2) as file:
                file.write(content)
    with patch.object(zips, "_BLOCK_BYTES", block):
        assert_same_as_zipfile(path)


def test_members_behind_four_gibibytes(tmp_path: Path) -> None:
    with (tmp_path / "a.zip").open("wb") as file:
        file.seek(5 << 30)  # a hole, which takes no space on the disk
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in MEMBERS.items():
                archive.writestr(name, content)
    assert (tmp_path / "a.zip").stat().st_size > 5 << 30
    assert_same_as_zipfile(tmp_path / "a.zip")


@pytest.mark.slow
def test_more_members_than_16_bits_count(tmp_path: Path) -> None:
    members = {f"images/{number:06}.jpg": number.to_bytes(4, "big") for number in range(70_000)}
    assert_same_as_zipfile(made(tmp_path / "a.zip", members))


def test_zip64_field_may_follow_others(tmp_path: Path) -> None:
    other = struct.pack("<HHBL", 0x5455, 5, 3, 1) + struct.pack("<HH", 0x7875, 0)
    with patch.object(zipfile, "ZIP64_LIMIT", 10), zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in MEMBERS.items():
            info = zipfile.ZipInfo(name)
            info.extra = other
            archive.writestr(info, content)
    data = (tmp_path / "a.zip").read_bytes()
    directory = data.rindex(ENTRY, 0, data.index(b"a/2.jpg", data.index(ENTRY)))
    zip64 = data[directory + 46 + len("a/2.jpg") :][:28]
    assert zip64.startswith(b"\x01\x00\x18\x00")
    (tmp_path / "a.zip").write_bytes(data.replace(zip64 + other, other + zip64))
    assert_same_as_zipfile(tmp_path / "a.zip")


def test_number_of_the_disk_may_be_left_to_zip64(tmp_path: Path) -> None:
    assert_same_as_zipfile(overwritten(made(tmp_path / "a.zip"), ENTRY, 34, "<H", 0xFFFF))


def test_comments_and_long_extra_fields(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.comment = b"PK\x01\x02" * 1000
        info = zipfile.ZipInfo("a.jpg")
        info.comment = b"PK\x01\x02"
        info.extra = struct.pack("<HH", 0x9999, 1000) + bytes(1000)
        archive.writestr(info, b"content")
        archive.writestr("b.jpg", b"more")
    assert_same_as_zipfile(tmp_path / "a.zip")


def test_end_record_is_told_from_a_comment_that_looks_like_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(made(tmp_path / "a.zip"), "a") as archive:
        archive.comment = b"PK\x05\x06" + b"x" * 40
    # zipfile itself is taken in.
    assert ZipIndex(tmp_path / "a.zip").read(list(MEMBERS)) == list(MEMBERS.values())


def test_order_repeats_and_absent_members(tmp_path: Path) -> None:
    index = ZipIndex(made(tmp_path / "a.zip"))
    assert index.read(["a/2.jpg", "no", "a/1.jpg", "a/2.jpg"]) == [b"two" * 30, None, b"one" * 20, b"two" * 30]
    sizes = index.sizes(["a/2.jpg", "no", "a/3.jpg"])
    assert sizes.tolist() == [90, -1, 0] and sizes.dtype == np.int64
    assert index.read([]) == [] and index.sizes([]).shape == (0,)
    empty = ZipIndex(made(tmp_path / "b.zip", {}))
    assert len(empty) == 0 and empty.read(["a"]) == [None] and empty.sizes(["a"]).tolist() == [-1]


@pytest.mark.parametrize("hashes", [1, 2, 7])
def test_members_are_told_apart_though_their_hashes_are_the_same(hashes: int, tmp_path: Path) -> None:
    def few(names: Sequence[bytes]) -> np.ndarray:
        return np.array([sum(name) % hashes for name in names], np.int64)

    with patch.object(zips, "_hashes", few):
        assert_same_as_zipfile(made(tmp_path / "a.zip", {f"{n}.jpg": str(n).encode() for n in range(30)}))
        assert ZipIndex(tmp_path / "a.zip").read([f"{n}.jpg" for n in range(30, 60)]) == [None] * 30


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("limit", [zipfile.ZIP64_LIMIT, 50], ids=["zip32", "zip64"])
def test_any_wrong_byte_is_found_or_harmless(method: int, limit: int, tmp_path: Path) -> None:
    with patch.object(zipfile, "ZIP64_LIMIT", limit):
        whole = made(tmp_path / "a.zip", method=method).read_bytes()
    for at in range(len(whole)):
        for wrong in (0x00, 0xFF, whole[at] ^ 1):
            (tmp_path / "a.zip").write_bytes(whole[:at] + bytes([wrong]) + whole[at + 1 :])
            try:
                contents = ZipIndex(tmp_path / "a.zip").read(list(MEMBERS))
            except ValueError as error:
                assert "a.zip" in str(error) and "\n" not in str(error)
            else:
                # A letter of a name in the directory may have changed.
                assert all(
                    content in (expected, None) for content, expected in zip(contents, MEMBERS.values(), strict=True)
                )


@pytest.mark.parametrize("limit", [zipfile.ZIP64_LIMIT, 50], ids=["zip32", "zip64"])
def test_no_beginning_of_an_archive_is_taken_for_the_whole(limit: int, tmp_path: Path) -> None:
    with patch.object(zipfile, "ZIP64_LIMIT", limit):
        whole = made(tmp_path / "a.zip").read_bytes()
    for size in range(2, len(whole)):
        (tmp_path / "a.zip").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"a\.zip' is a truncated zip archive"):
            ZipIndex(tmp_path / "a.zip")
    (tmp_path / "a.zip").write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="does not end with an end record"):
        ZipIndex(tmp_path / "a.zip")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x1f\x8b" * 50_000])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip' is not a zip archive"):
        ZipIndex(tmp_path / "a.zip")


BEYOND = 1_000_000


@pytest.mark.parametrize(
    ("signature", "offset", "form", "values", "message"),
    [
        (END, 4, "<H", (1,), "on several disks"),
        (END, 6, "<H", (1,), "on several disks"),
        (END, 8, "<H", (2,), "on several disks"),
        (END, 8, "<HH", (2, 2), "no list of 2 members"),
        (END, 8, "<HH", (4, 4), "4 members do not fit"),
        (END, 12, "<L", (BEYOND,), "directory would lie beyond"),
        (END, 16, "<L", (BEYOND,), "directory would lie beyond"),
        (END, 16, "<L", (0,), "ends inside an entry"),
        (END, 12, "<L", (3 * 46 + 3 * 7 - 1,), "ends inside an entry"),
        (ENTRY, 0, "<4s", (b"PK\x01\x03",), "no list of 3 members"),
        (ENTRY, 28, "<H", (60_000,), "ends inside an entry"),
        (ENTRY, 34, "<H", (2,), r"\(a/1\.jpg\) lies on another disk"),
        (ENTRY, 20, "<L", (BEYOND,), r"\(a/1\.jpg\) lies beyond the end"),
        # The members take 261 bytes; this one would, with its header, take 287.
        (ENTRY, 20, "<L", (250,), r"\(a/1\.jpg\) lies beyond the end"),
        (ENTRY, 42, "<L", (BEYOND,), r"\(a/1\.jpg\) lies beyond the end"),
        (ENTRY, 42, "<L", (0xFFFFFFFF,), r"\(a/1\.jpg\) lies beyond the end"),
    ],
)
def test_damaged_directory(
    signature: bytes, offset: int, form: str, values: tuple[object, ...], message: str, tmp_path: Path
) -> None:
    path = overwritten(made(tmp_path / "a.zip"), signature, offset, form, *values)
    with pytest.raises(ValueError, match=r"a\.zip'.* " + message):
        ZipIndex(path)


def test_more_members_announced_than_listed(tmp_path: Path) -> None:
    path = made(tmp_path / "a.zip", {"long" * 20: b""})
    with pytest.raises(ValueError, match="no list of 2 members"):
        ZipIndex(overwritten(path, END, 8, "<HH", 2, 2))


@pytest.mark.parametrize(
    ("signature", "offset", "form", "value", "message"),
    [
        (LOCATOR, 8, "<Q", BEYOND, "ZIP64 end record is not"),
        (LOCATOR, 8, "<Q", 0, "ZIP64 end record is not"),
        (LOCATOR, 8, "<Q", 2**64 - 1, "ZIP64 end record is not"),
        (LOCATOR, 16, "<L", 2, "on several disks"),
        (END64, 16, "<L", 1, "on several disks"),
        (END64, 32, "<Q", 2**62, "on several disks"),
        (END64, 40, "<Q", 2**63, "directory would lie beyond"),
        (END64, 48, "<Q", 2**64 - 100, "directory would lie beyond"),
        # In the extra field of the first member: size, compressed size.
        (ENTRY, 46 + 7 + 4 + 8, "<Q", 2**64 - 1, "lies beyond the end"),
        (ENTRY, 46 + 7 + 2, "<H", 4, "lies beyond the end"),
    ],
)
def test_damaged_zip64_directory(
    signature: bytes, offset: int, form: str, value: int, message: str, tmp_path: Path
) -> None:
    with patch.object(zipfile, "ZIP64_LIMIT", 50):
        path = made(tmp_path / "a.zip")
    with pytest.raises(ValueError, match=message):
        ZipIndex(overwritten(path, signature, offset, form, value))


@pytest.mark.parametrize(
    ("signature", "offset", "form", "value", "message"),
    [
        (LOCAL, 0, "<4s", b"PK\x03\x05", "not where the directory says"),
        (LOCAL, 30, "<1s", b"b", "not where the directory says"),
        (LOCAL, 6, "<H", 1, "is encrypted"),
        (LOCAL, 8, "<H", 12, "method 12"),
        (LOCAL, 8, "<H", 8, "cannot be inflated"),
        (LOCAL, 28, "<H", 65_535, "instead of"),
        (LOCAL, 40, "<1s", b"!", "CRC-32"),
        (ENTRY, 16, "<L", 0, "CRC-32"),
        (ENTRY, 20, "<L", 59, "59 bytes instead of 60"),
        (ENTRY, 24, "<L", 59, "60 bytes instead of 59"),
        (ENTRY, 24, "<L", (64 << 20) + 1, "67,108,865 bytes, more than"),
    ],
)
def test_damaged_member(signature: bytes, offset: int, form: str, value: object, message: str, tmp_path: Path) -> None:
    index = ZipIndex(overwritten(made(tmp_path / "a.zip"), signature, offset, form, value))
    with pytest.raises(ValueError, match=rf"a\.zip' \(a/1\.jpg\) .*{message}"):
        index.read(["a/2.jpg", "a/1.jpg"])
    assert index.read(["a/2.jpg"]) == [MEMBERS["a/2.jpg"]]


def test_bzip2_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(a/1\.jpg\) is compressed by method 12; expected stored \(0\) or deflated"):
        ZipIndex(made(tmp_path / "a.zip", method=zipfile.ZIP_BZIP2)).read(["a/1.jpg"])


def test_bombs_are_refused_without_inflating_them(tmp_path: Path) -> None:
    bomb = made(tmp_path / "a.zip", {"a/1.jpg": bytes((64 << 20) + 1)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"\(a/1\.jpg\) has 67,108,865 bytes, more than"):
        ZipIndex(bomb).read(["a/1.jpg"])
    with pytest.raises(ValueError, match=r"\(a/1\.jpg\) inflates to more than the 1,000 bytes"):
        ZipIndex(overwritten(bomb, ENTRY, 24, "<L", 1000)).read(["a/1.jpg"])


def test_no_more_is_read_of_the_archive_than_an_image_can_take(tmp_path: Path) -> None:
    index = ZipIndex(overwritten(made(tmp_path / "a.zip"), ENTRY, 24, "<L", 10))
    with patch.object(zips, "LARGEST_MEMBER", 50), pytest.raises(ValueError, match="has 60 bytes, more than the 50"):
        index.read(["a/1.jpg"])


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/..", "/etc/x", "C:/x", "c:x", "a\\b", "\\\\host\\x"])
def test_archives_with_climbing_names_are_refused(name: str, tmp_path: Path) -> None:
    made(tmp_path / "a.zip", {"good..name/a:b..jpg": b"", "d/.../e": b""})
    assert len(ZipIndex(tmp_path / "a.zip")) == 2
    made(tmp_path / "a.zip", {"a": b"", name: b"", "b": b""})
    with pytest.raises(ValueError, match="climbs out of its folder") as error:
        ZipIndex(tmp_path / "a.zip")
    assert name in str(error.value)


def test_a_name_that_occurs_twice_is_refused_but_not_a_folder(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a/", "a/b", "a/"):
            archive.writestr(name, b"")
    assert ZipIndex(tmp_path / "a.zip").read(["a/b"]) == [b""]
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("a/b", b"other")
    with pytest.raises(ValueError, match=r"a\.zip' \(a/b\) occurs more than once"):
        ZipIndex(tmp_path / "a.zip")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.zip"):
        ZipIndex(tmp_path / "a.zip")


MANY = {f"{number}.jpg": bytes([number % 256]) * (number * 7) for number in range(300)}


def reads_well(index: ZipIndex) -> bool:
    return all(index.read(list(MANY)[::-1]) == list(MANY.values())[::-1] for _ in range(10))


def exit_well_if_read_well(index: ZipIndex) -> None:
    raise SystemExit(0 if reads_well(index) else 1)


def test_threads_and_forked_processes_share_an_index(tmp_path: Path) -> None:
    index = ZipIndex(made(tmp_path / "a.zip", MANY))
    children = [multiprocessing.get_context("fork").Process(target=exit_well_if_read_well, args=(index,)) for _ in "12"]
    for child in children:
        child.start()
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(reads_well, [index] * 4))
    for child in children:
        child.join()
        assert child.exitcode == 0


def test_a_pickled_index_reads_the_directory_again(tmp_path: Path) -> None:
    index = ZipIndex(made(tmp_path / "a.zip", MANY))
    pickled = pickle.dumps(index)
    assert len(pickled) < 500
    assert reads_well(pickle.loads(pickled))
