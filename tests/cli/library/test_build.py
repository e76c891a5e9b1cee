import csv
import json
from pathlib import Path
from typing import Any

import pytest

from bioscan_hf.identification.library import Library
from tests.cli.test_program import run
from tests.identification.made_library import HELD_OUT, picture, save_clibd, specimens

WORDS = ["library", "build", "all.csv", "--output", "lib"]


def manifest(folder: Path) -> Any:
    return json.loads((folder / "lib" / "library.json").read_text())


def calibrated_on(folder: Path) -> list[str]:
    return Library.load(folder / "lib").calibration["barcode"].processids


def test_splits_tell_what_is_held_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *WORDS) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "specimens 100" in shown and "source all.csv, revision " in shown and "calibrated by barcode phylum" in shown
    assert "made by bioscan_hf" in shown and "bioscan library build all.csv --output lib" in shown
    assert shown.endswith("Written to lib/. Now: bioscan identify QUERIES --library lib")
    assert sorted(path.name for path in folder.iterdir()) == ["all.csv", "lib", "plain.csv"]
    made = Library.load(folder / "lib")
    assert made.specimens["processid"][:] == specimens("train", 100)["processid"][:]
    assert sorted(calibrated_on(folder)) == sorted(specimens(HELD_OUT, 60)["processid"])
    assert made.info["split"] == "train" and made.info["calibrated_on"] == "given specimens"


def test_without_splits_a_part_is_held_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "library", "build", "plain.csv", "--output", "lib", "--dtype", "float16") == 0
    assert manifest(folder)["dtype"] == "float16" and manifest(folder)["split"] is None
    processids = specimens("train", 60)["processid"][:]
    assert Library.load(folder / "lib").specimens["processid"][:] == processids
    assert set(calibrated_on(folder)) < set(processids)
    assert manifest(folder)["calibrated_on"] == "a part of the specimens, held out"


def test_chosen_splits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *WORDS, "--split", "train+val", "--calibration", "test") == 0
    assert calibrated_on(folder) == specimens("test", 20)["processid"][:]
    assert run(monkeypatch, *WORDS, "--calibration", "held-out") == 0
    assert set(calibrated_on(folder)) < set(specimens("train", 100)["processid"])
    # Of the usual ones those that are there.
    rows = Path("all.csv").read_text().splitlines(keepends=True)
    Path("all.csv").write_text("".join(row for row in rows if ",val_unseen," not in row))
    assert run(monkeypatch, *WORDS) == 0
    found = set(calibrated_on(folder))
    assert found and found < set(specimens(HELD_OUT, 60)["processid"])


def test_splits_from_another_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processids = specimens("train", 60)["processid"][:]
    lines = [f"{name},{'train' if row < 40 else 'val'}\n" for row, name in enumerate(processids)]
    Path("splits.csv").write_text("processid,split\n" + "".join(lines))
    assert run(monkeypatch, "library", "build", "plain.csv", "--splits", "splits.csv", "--output", "lib") == 0
    assert Library.load(folder / "lib").specimens["processid"][:] == processids[:40]
    assert calibrated_on(folder) == processids[40:]


def test_cells(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    assert run(monkeypatch, *WORDS, "--cells") == 0
    assert "cells.faiss" in manifest(folder)["files"] and manifest(folder)["dtype"] == "float16"
    assert run(monkeypatch, *WORDS, "--cells", "--dtype", "float32") == 0
    assert "cells.faiss" in manifest(folder)["files"] and manifest(folder)["dtype"] == "float32"


def test_a_model(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    save_clibd(folder / "clibd")
    for name in ("--image-model", "--model"):
        assert run(monkeypatch, *WORDS, name, "clibd", "--device", "cpu") == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert " model aligned image model clibd, revision " in shown
        assert manifest(folder)["image_tower"] == "dna", "there are no images"
        assert (folder / "lib" / "image_model" / "model.safetensors").is_file()
    assert run(monkeypatch, *WORDS, "--model", "kmer:4", "--image-model", "clibd") == 0
    assert " model kmer:4 image model clibd, revision " in " ".join(capsys.readouterr().out.split())
    assert manifest(folder)["image_model"] == "clibd"


def test_photographs_are_named_by_the_image_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder of photographs with a table to names."""
    save_clibd(folder / "clibd")
    for name, rows in (("known", specimens("train", 30)), ("asked", specimens("train", 5))):
        (folder / name).mkdir()
        table = rows.add_column("file_name", [f"{row}.png" for row in range(len(rows))]).remove_columns("split")
        table.to_csv(folder / name / "metadata.csv")
        for row, genus in enumerate(rows["genus"]):
            (folder / name / f"{row}.png").write_bytes(picture(genus, row))
    (folder / "asked" / "metadata.csv").unlink()
    assert run(monkeypatch, "library", "build", "known", "--image-model", "clibd", "--output", "lib") == 0
    assert manifest(folder)["image_tower"] == "image"
    assert run(monkeypatch, "identify", "asked", "--library", "lib", "--output", "names.csv") == 0
    with (folder / "names.csv").open() as file:
        found = {row["processid"]: row for row in csv.DictReader(file)}
    assert [found[str(row)]["nearest_processid"] for row in range(5)] == specimens("train", 5)["processid"][:]
    assert {row["evidence"] for row in found.values()} == {"image"}


def test_bad_records(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = Path("plain.csv").read_text().splitlines(keepends=True)
    barcode = specimens("train")[3]["dna_barcode"]
    lines[4] = lines[4].replace(barcode, "not a barcode!")
    Path("plain.csv").write_text("".join(lines))
    words = ["library", "build", "plain.csv", "--output", "lib"]
    assert run(monkeypatch, *words) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and specimens("train")[3]["processid"] in error and "line 5" in error
    assert not (folder / "lib").exists()
    assert run(monkeypatch, *words, "--on-error", "skip") == 0
    assert "left out 1 of 60" in capsys.readouterr().err and manifest(folder)["counts"]["specimens"] == 59


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["library", "build", "all.csv"], 2, "Missing option '--output'"),
        ([*WORDS, "--dtype", "int8"], 2, "'int8' is not one of"),
        ([*WORDS, "--calibration", "train"], 2, "--calibration train and --split train have specimens in common"),
        ([*WORDS, "--calibration", "key_unseen"], 1, "no specimens of the split 'key_unseen'"),
        ([*WORDS, "--split", "tset"], 1, "Did you mean 'test'?"),
        ([*WORDS, "--model", "nothing/of/this"], 1, "'nothing/of/this' is no encoder"),
        ([*WORDS, "--model", "all.csv"], 1, "all.csv"),
        ([*WORDS, "--image-model", "all.csv"], 1, "'all.csv' is a file; expected 'clibd-small'"),
        ([*WORDS, "--image-model", "kmer:4"], 1, "'kmer:4' is no encoder; expected 'clibd-small'"),
        ([*WORDS, "--image-model", "barcodebert-small"], 1, "is no CLIBD, but of the type 'barcodebert'; expected"),
        ([*WORDS, "--model", "clibd", "--image-model", "clibd"], 1, "'clibd' is a CLIBD, which is for images"),
        (["library", "build", "no.csv", "--output", "lib"], 1, "no.csv"),
        (["library", "build", "empty.csv", "--output", "lib"], 1, "empty.csv"),
        (
            ["library", "build", "nameless.csv", "--output", "lib"],
            1,
            "needs specimens with a label at one of the ranks",
        ),
        (["library", "build", "no.csv", "--output", "."], 1, "'.' exists, and is no library; choose another folder."),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str],
    code: int,
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_clibd(folder / "clibd")
    Path("empty.csv").write_text("")
    Path("nameless.csv").write_text("processid,dna_barcode\nA,ACGT\n")
    assert run(monkeypatch, *words) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("bioscan: ") and message in " ".join(error.split()) and "\n" not in error
    assert not (folder / "lib").exists()
