"""Image files, and folders of them."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
from datasets import Dataset, Features, Image, Value
from hypothesis import example, given
from hypothesis import strategies as st

from bioscan_hf.data.image_folder import folder_digest, read_image_folder
from bioscan_hf.data.images import ImageBatches
from bioscan_hf.data.pixels import LARGEST_FILE, MAX_PIXELS, decode_image, image_content
from bioscan_hf.identification.queries import read_queries
from tests.fuzz.helpers import memory_below, tried
from tests.fuzz.mutations import encoded, mutated
from tests.fuzz.targets import IMAGE_TABLE, IMAGES, JPEG, TARGETS


@tried(80)
@given(content=mutated(IMAGES))
def test_any_image(content: bytes, tmp_path: Path) -> None:
    TARGETS["image"].run(content, tmp_path)


@tried(30)
@given(content=mutated(IMAGES))
def test_any_image_in_a_folder(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    TARGETS["image_folder"].run(content, tmp_path_factory.mktemp("images"))


@tried(30)
@given(content=encoded(mutated(IMAGE_TABLE)))
@example(content=b"file_name,genus\n../../../etc/passwd,Aus\n/etc/passwd,Aus\nA1.jpg,Aus\n")
@example(content=b"a" * 9_000 + b"\n")
def test_any_table_of_a_folder(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    TARGETS["image_table"].run(content, tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "PNG"), ("RGB", "TIFF"), ("L", "PNG"), ("L", "TIFF")])
def test_what_was_written_is_read(mode: str, kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    image = PIL.Image.fromarray(pixels).convert(mode)
    file = io.BytesIO()
    image.save(file, kind)
    assert np.array_equal(decode_image(file.getvalue()), np.array(image.convert("RGB")))


def png(width: int, height: int, content: bytes = b"") -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]


def tiff(width: int, height: int, **tags: int) -> bytes:
    known = {256: width, 257: height, 258: 8, 259: 5, 262: 1, 277: 1} | {int(tag[1:]): n for tag, n in tags.items()}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(known.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(known)) + entries + bytes(300)


HUGE = {
    "png": png(65_000, 65_000),
    "jpeg": jpeg(65_000, 65_000),
    "tiff": tiff(65_000, 65_000, t273=8, t278=65_000, t279=64),
    "tiles": tiff(8, 8, t322=60_000, t323=30_000, t324=8, t325=64),  # Pillow took 1.7 GB for one tile
    "narrow": png(1, MAX_PIXELS + 1),
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_huge_image_takes_no_memory(kind: str, tmp_path: Path) -> None:
    name = f"A1.{kind if kind in ('png', 'jpeg') else 'tif'}"
    (tmp_path / name).write_bytes(HUGE[kind])
    with memory_below(30):
        with pytest.raises(ValueError, match=r"the image cannot be decoded \(.*(pixels|decompression bomb)"):
            decode_image(HUGE[kind])
        with pytest.raises(ValueError, match=rf"'{name}'.*the image cannot be read \("):
            read_image_folder(tmp_path)


@pytest.mark.slow
def test_the_largest_image_takes_a_bounded_memory() -> None:
    side = int(MAX_PIXELS**0.5)
    content = png(side, side, bytes((3 * side + 1) * side))
    with memory_below(4 * 3 * MAX_PIXELS // 1_000_000):
        assert decode_image(content).shape == (side, side, 3)


@tried(30)
@given(name=st.binary(min_size=1, max_size=12).filter(lambda name: b"/" not in name and b"\0" not in name))
@example(name=b"\xff\xfe")  # UnicodeEncodeError
@example(name=b"a\x1b[2J")
@example(name=b"a\nb")
@example(name=b"=cmd")
def test_an_image_of_any_name(name: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("images")
    (folder / "Z9.jpg").write_bytes(JPEG)
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name + b".jpg")).write_bytes(JPEG)
    assert len(folder_digest(folder)) == 12
    with warnings.catch_warnings(record=True, action="always") as caught:
        found = read_image_folder(folder, on_error="skip")["processid"].to_pylist()
    assert "Z9" in found and all(str(warning.message).isprintable() for warning in caught)
    if len(found) == 1:
        with pytest.raises(ValueError, match="images") as error:
            read_image_folder(folder)
        assert str(error.value).isprintable()
    notes = [note for queries in read_queries(folder) for note in queries.notes]
    assert all(note is None or note.isprintable() for note in notes)


def test_what_is_no_file_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    for name, target in (("zero", "/dev/zero"), ("loop", "loop.jpg"), ("gone", "gone"), ("null", "/dev/null")):
        (tmp_path / f"{name}.jpg").symlink_to(target)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.warns(UserWarning, match="left out 5 of 6"):
        assert read_image_folder(tmp_path, on_error="skip")["processid"].to_pylist() == ["a"]


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "large"])
def test_a_path_in_a_table_of_images_is_that_of_a_file(kind: str, tmp_path: Path) -> None:
    # A Parquet file from elsewhere may name any path; that of /dev/zero filled the memory.
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    path = {"device": "/dev/zero", "folder": str(tmp_path)}.get(kind, str(tmp_path / kind))
    features = Features({"processid": Value("string"), "image": Image(decode=False)})
    rows = pa.table({"processid": ["A1"], "image": pa.array([{"bytes": None, "path": path}])})
    with memory_below(30):
        with pytest.raises(ValueError, match="is no file, or has more than 268,435,456 bytes"):
            image_content({"bytes": None, "path": path})
        with pytest.raises(ValueError, match=r"process id A1\): .* is no file"):
            list(ImageBatches(Dataset(rows.cast(features.arrow_schema))))
