"""Zip archives of images."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bioscan_hf.data.archives import ImageArchives, ImageFolder, read_each
from bioscan_hf.data.zips import LARGEST_MEMBER, ZipIndex, climbs_out
from tests.fuzz.helpers import growth, memory_below, tried
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS, made_zip


@tried(80)
@given(content=mutated(TARGETS["zip"].seeds))
@example(content=made_zip({"a\x1b[2J.jpg": b"x", "..\\\x1b.jpg": b"y"}))
def test_any_archive(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    TARGETS["zip"].run(content, tmp_path_factory.mktemp("zip"))


_NAMES = st.text(st.sampled_from("a.:/\\\0\n\x1bé"), min_size=1, max_size=8)


@tried(40)
@given(names=st.lists(_NAMES, min_size=1, max_size=4, unique=True))
@example(names=["/etc/passwd"])
@example(names=["a/../../b"])
@example(names=["C:\\a"])
def test_no_name_leads_out_of_the_folder(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("zip")
    inside = folder / "inside"
    inside.mkdir()
    for name in names:
        if not climbs_out(name):
            assert "\0" in name or (inside / name).resolve().is_relative_to(inside)
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo("x")
            info.filename = name  # `ZipInfo` itself cuts names at NUL
            archive.writestr(info, name.encode())
    written = zipfile.ZipFile(path).namelist()
    if any(map(climbs_out, names)):
        with pytest.raises(ValueError, match=r"a\.zip' .* has a name that climbs out of its folder") as error:
            ZipIndex(path)
        assert str(error.value).isprintable()
    elif written == names:
        assert ZipIndex(path).read(names) == [name.encode() for name in names]
    assert [path.name for path in folder.iterdir()] == ["a.zip", "inside"] or not list(inside.iterdir())


@pytest.mark.parametrize("member", ["../secret.jpg", "/etc/passwd", "bioscan5m/../../secret.jpg", "a\\..\\x.jpg"])
def test_no_member_is_read_outside_of_an_unpacked_folder(member: str, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    contents, reasons = read_each(ImageFolder(tmp_path / "root"), [member])
    assert contents == [None] and "leads out of" in reasons[0]


def test_a_member_that_inflates_too_far_is_refused(tmp_path: Path) -> None:
    bomb = made_zip({"a.jpg": bytes(100 << 20)})
    (tmp_path / "a.zip").write_bytes(bomb)
    with memory_below(30), pytest.raises(ValueError, match=rf"more than the {LARGEST_MEMBER:,} of any image"):
        ZipIndex(tmp_path / "a.zip").read(["a.jpg"])
    # Both headers say that it is small.
    (tmp_path / "b.zip").write_bytes(bomb.replace(struct.pack("<L", 100 << 20), struct.pack("<L", 1_000)))
    contents, reasons = read_each(ImageArchives([tmp_path / "b.zip"]), ["a.jpg"])
    assert contents == [None] and "inflates to more than the 1,000 bytes" in reasons[0]


def test_a_directory_of_nothing_takes_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "a.zip").open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(4 << 30)  # a hole
        file.seek(4 << 30)
        size = (4 << 30) - 100
        file.write(struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, size // 46, size // 46, size, 4))
        file.write(struct.pack("<4sLQL", b"PK\x06\x07", 0, 4 << 30, 1))
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    with memory_below(100), pytest.raises(ValueError, match=r"a\.zip' is a damaged zip archive"):
        ZipIndex(tmp_path / "a.zip")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["images/{i}.jpg", "{i}..jpg", "a/"])
def test_time_is_in_proportion(name: str, tmp_path: Path) -> None:
    def run(count: int) -> None:
        path = tmp_path / f"{count}.zip"
        if not path.exists():
            path.write_bytes(_many(name, count))
        ZipIndex(path)

    assert growth(run, 20_000, 10) < 13


def _many(name: str, count: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i in range(count):
            info = zipfile.ZipInfo(name.replace("{i}", str(i)))
            archive.filelist.append(info)
            info.header_offset = file.tell()
            info.CRC = info.compress_size = info.file_size = 0
            if i == 0 or "{i}" in name:
                file.write(info.FileHeader())
        archive.start_dir = file.tell()
        archive._didModify = True  # type: ignore[attr-defined]
    return file.getvalue()
