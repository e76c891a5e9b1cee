import json
from pathlib import Path

import datasets
import pytest

from bioscan_hf.data.metadata import find_metadata
from bioscan_hf.data.metadata_conversion import convert_metadata
from bioscan_hf.data.release import CONFIGURATIONS
from tests.cli.test_program import run
from tests.made_release import make_release, unpack_release


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("COLUMNS", "200")


def row(shown: str, name: str) -> list[str]:
    """Cells of the line of a table that begins with a name."""
    lines = [[cell.strip() for cell in line.strip("\u2502 ").split("\u2502")] for line in shown.splitlines()]
    (found,) = [cells for cells in lines if cells[0] == name]
    return found[1:]


def test_configurations_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "data", "info") == 0
    shown = capsys.readouterr().out
    for name in CONFIGURATIONS:
        assert row(shown, name)
    assert row(shown, "metadata") == ["5,150,850", "all 8", "none"]
    assert row(shown, "cropped_256_eval")[:1] == ["183,891"] and "validation" in row(shown, "cropped_256_eval")[1]
    assert run(monkeypatch, "data", "info", "--json") == 0
    found = {entry["configuration"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert list(found) == list(CONFIGURATIONS) and found["metadata"]["specimens"] == 5_150_850
    assert "validation" in found["cropped_256_eval"]["splits"]


@pytest.mark.parametrize("unpacked", [False, True])
def test_release_is_described(
    unpacked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_release(tmp_path / "release")
    if unpacked:
        unpack_release(tmp_path / "release")
    assert run(monkeypatch, "data", "info", str(tmp_path / "release")) == 0
    shown = capsys.readouterr().out
    metadata, images = ("csv/BIOSCAN_5M", "cropped_256/") if unpacked else ("MultiTypes.zip", "cropped_256_eval.zip")
    assert metadata in shown and images in shown
    barcodes = {record["dna_barcode"] for record in rows if record["split"] == "test"}
    species = {record["species"] for record in rows if record["split"] == "test"}
    assert row(shown, "test") == ["20", str(len(barcodes)), str(len(species)), "39,373 / 18,362 / 3,483"]
    assert row(shown, "phylum") == ["1", "160", "100.0", "0", "1"]


def test_converted_folder_is_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path / "release")
    convert_metadata(find_metadata(tmp_path / "release"), tmp_path / "converted")
    assert run(monkeypatch, "data", "info", str(tmp_path / "converted")) == 0
    shown = capsys.readouterr().out
    assert "(converted)" in shown and "Images: none" in shown and row(shown, "val")[0] == "20"
    assert run(monkeypatch, "data", "info", str(tmp_path / "converted"), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == [] and "(converted)" in found["source"]
    assert {split["split"]: split["specimens"] for split in found["splits"]}["val"] == 20


def test_folder_without_a_dataset_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "data", "info", str(tmp_path)) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("bioscan: No metadata in") and "\n" not in error
