from pathlib import Path

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


@pytest.mark.parametrize("split", ["train", "validation", "seen", "train+val", "all"])
def test_select_split_keeps_just_its_specimens(split: str, sample: Dataset) -> None:
    from bioscan_hf.data.features import resolve_split

    expected = [name for name in sample["split"] if name in resolve_split(split)]
    assert select_split(sample, split)["split"][:] == expected


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


def test_images_of_an_own_file_are_refused(csv: Path) -> None:
    with pytest.raises(ValueError, match="embedded sample only"):
        load_specimens(csv, image=True)


def test_revision_follows_the_content(csv: Path) -> None:
    name, revision = describe_source(csv)
    assert name == "own.csv" and len(revision) == 12 and describe_source(csv)[1] == revision
    csv.write_text(CSV.replace("GGGG", "GGGA"))
    assert describe_source(csv)[1] != revision
    assert "simulated" in describe_source()[0]
    assert describe_source(splits=csv)[1] != describe_source()[1]
