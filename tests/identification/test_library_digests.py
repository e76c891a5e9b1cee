from pathlib import Path

import pytest

from bioscan_hf.identification import library_digests
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.library_digests import check_files
from bioscan_hf.identification.library_files import read_manifest
from tests.identification.made_library import specimens, without_digests

FILES = ["keys.safetensors", "space.safetensors", "specimens.parquet", "calibration-barcode.parquet"]


@pytest.fixture(scope="module")
def small() -> Library:
    return Library.build(specimens("train", 30), calibration=specimens("val_unseen", 2))


@pytest.fixture
def saved(small: Library, tmp_path: Path) -> Path:
    small.save(tmp_path / "lib")
    return tmp_path / "lib"


def flip(path: Path, place: float) -> None:
    """Change one bit, and not the size."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.4, 0.99])
def test_one_bit_is_noticed_when_a_library_is_loaded(name: str, place: float, saved: Path) -> None:
    Library.load(saved)
    flip(saved / name, place)
    with pytest.raises(ValueError, match=rf"lib' is damaged: {name} is not as it was written\. Copy it, or build it"):
        Library.load(saved)


def test_a_digit_of_the_description_is_noticed(saved: Path) -> None:
    text = (saved / "library.json").read_text()
    assert '"specimens": 30' in text
    (saved / "library.json").write_text(text.replace('"specimens": 30', '"specimens": 31'))
    with pytest.raises(ValueError, match=r"library\.json' is not as it was written; copy the library again, or build"):
        Library.load(saved)


def test_large_files_are_looked_through_if_it_is_asked_for(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(saved)
    assert check_files(saved, manifest) == len(FILES)
    monkeypatch.setattr(library_digests, "CHECKED_BYTES", 0)
    flip(saved / "keys.safetensors", 0.9)
    assert check_files(saved, manifest) == 0
    with pytest.raises(ValueError, match=r"keys\.safetensors is not as it was written"):
        check_files(saved, manifest, all_sizes=True)


def test_one_without_digests_is_loaded(saved: Path, small: Library) -> None:
    assert Library.load(without_digests(saved)).info == small.info
    assert check_files(saved, read_manifest(saved)) == 0
