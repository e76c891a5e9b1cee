from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from bioscan_hf.app.pictures import Pictures
from tests.app.made_app import pictured
from tests.identification.made_library import picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("P1", "P2", "P3")):
        (tmp_path / f"{name}.png").write_bytes(picture("Aus", seed))
    return tmp_path


def test_a_folder_is_found_by_the_names_of_its_files(folder: Path) -> None:
    pictures = Pictures.open(folder)
    image = pictures.of("P2")
    assert image is not None and image.mode == "RGB" and image.size == (30, 24)
    assert "P2" in pictures and "P9" not in pictures and pictures.of("P9") is None


def test_a_table_says_whose_they_are(folder: Path) -> None:
    (folder / "metadata.csv").write_text("file_name,processid\nP1.png,A\nP2.png,B\nP3.png,C\n")
    pictures = Pictures.open(folder)
    assert pictures.of("B") is not None and "P2" not in pictures


def test_a_picture_that_breaks_off_is_none(folder: Path) -> None:
    path = folder / "P3.png"
    path.write_bytes(path.read_bytes()[:-400])
    pictures = Pictures.open(folder)
    assert pictures.of("P3") is None and pictures.of("P1") is not None


def test_specimens_without_image_are_left_out() -> None:
    chosen = pictured().select(range(4))
    images = [None if row % 2 else image for row, image in enumerate(chosen.with_format("arrow")["image"].to_pylist())]
    table = chosen.remove_columns("image").add_column("image", images, feature=chosen.features["image"])
    pictures = Pictures(Dataset(table.data.table, info=chosen.info))
    assert [name in pictures for name in chosen["processid"]] == [True, False, True, False]
    image = pictures.of(chosen[2]["processid"])
    assert image is not None and np.array_equal(np.asarray(image), np.asarray(chosen[2]["image"].convert("RGB")))


def test_nothing_is_not_an_error() -> None:
    assert Pictures().of("P1") is None and "P1" not in Pictures()


def test_the_sample_has_some() -> None:
    assert Pictures.open("sample").of("SIMA0085-26") is not None


def test_what_has_no_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("processid,dna_barcode\nA,ACGT\n")
    with pytest.raises(ValueError, match="image"):
        Pictures.open(tmp_path / "names.csv")
    with pytest.raises(FileNotFoundError, match="nothing"):
        Pictures.open(tmp_path / "nothing")
