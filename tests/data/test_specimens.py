from pathlib import Path

import PIL.Image
import pytest
from datasets import Dataset

from bioscan_hf import load_specimens, select_split
from bioscan_hf.data.features import bioscan_features
from bioscan_hf.data.specimens import describe_source
from tests.tiny import CSV


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "own.csv"
    path.write_text(CSV)
    return path


def test_sample_has_every_modality(sample: Dataset) -> None:
    assert sample.features == bioscan_features(image=False)
    with_images = select_split(load_specimens(image=True), "test")
    assert with_images.features == bioscan_features()
    assert with_images[0]["image"].size == (96, 96) and with_images[0]["dna_barcode"]


def test_own_file_has_the_same_columns(csv: Path, sample: Dataset) -> None:
    assert load_specimens(csv).features == sample.features


def test_splits_replace_the_column(csv: Path, tmp_path: Path) -> None:
    table = tmp_path / "splits.csv"
    table.write_text("processid,split\nA1,test\nP1,train\nelsewhere,val\n")
    assert load_specimens(csv, splits=table)["split"][:] == ["test", None, None, None, None, "train"]


def test_splits_of_other_specimens_are_refused(csv: Path, tmp_path: Path) -> None:
    table = tmp_path / "splits.csv"
    table.write_text("processid,split\nZ1,test\n")
    with pytest.raises(ValueError, match="names none of the specimens"):
        load_specimens(csv, splits=table)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, name in enumerate(("A1.jpg", "B1.png")):
        PIL.Image.new("RGB", (8 + i, 6)).save(folder / name)
    return folder


def test_images_of_a_folder_are_decoded_when_they_are_looked_at(photos: Path) -> None:
    specimens = load_specimens(photos)
    assert specimens.features == bioscan_features() and specimens["processid"][:] == ["A1", "B1"]
    (photos / "A1.jpg").unlink()
    assert specimens[1]["image"].size == (9, 6) and specimens[1]["dna_barcode"] is None
    with pytest.raises(FileNotFoundError):
        specimens[0]


def test_a_folder_is_found_from_anywhere(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    specimens = load_specimens("photos")
    monkeypatch.chdir(photos)
    assert specimens[0]["image"].size == (8, 6)
    assert describe_source(".") == describe_source(photos) and describe_source(photos)[0] == "photos"


def test_a_folder_takes_splits(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "splits.csv"
    table.write_text("processid,split\nB1,validation\n")
    assert load_specimens(photos, splits=table)["split"][:] == [None, "val"]
    assert describe_source(photos, table)[1] != describe_source(photos)[1]


def test_skipping_reaches_the_readers(csv: Path, photos: Path) -> None:
    csv.write_text(CSV.replace("GGGG", "GGG!"))
    (photos / "A1.jpg").write_bytes(b"")
    with pytest.warns(UserWarning, match="left out 1 of 6"):
        assert len(load_specimens(csv, on_error="skip")) == 5
    with pytest.warns(UserWarning, match="left out 1 of 2"):
        assert len(load_specimens(photos, on_error="skip")) == 1


def test_revision_follows_the_content(csv: Path) -> None:
    name, revision = describe_source(csv)
    assert name == "own.csv" and len(revision) == 12 and describe_source(csv)[1] == revision
    csv.write_text(CSV.replace("GGGG", "GGGA"))
    assert describe_source(csv)[1] != revision
    assert "simulated" in describe_source()[0]
    assert describe_source(splits=csv)[1] != describe_source()[1]
