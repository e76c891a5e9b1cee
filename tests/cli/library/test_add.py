import json
from pathlib import Path

import pytest

from bioscan_hf.identification.library import Library
from bioscan_hf.identification.library_files import writing
from bioscan_hf.identification.search import CellIndex
from tests.cli.test_program import run
from tests.identification.made_library import specimens


@pytest.fixture
def lib(folder: Path) -> Path:
    Library.build(specimens("train", 30), calibration=specimens("val", 2)).save(folder / "lib", dtype="float16")
    return folder / "lib"


def test_further_specimens(lib: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "library", "add", "lib", "all.csv", "--split", "test") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "specimens 50" in shown and "added 20 specimens, after the calibration" in shown
    loaded = Library.load(lib)
    assert loaded.specimens["processid"][:] == [
        *specimens("train", 30)["processid"],
        *specimens("test", 20)["processid"],
    ]
    assert json.loads((lib / "library.json").read_text())["dtype"] == "float16", "as it was"


def test_while_another_process_writes_it_is_refused(
    lib: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What both add would else be what the last one adds."""
    with writing(lib):
        assert run(monkeypatch, "library", "add", "lib", "all.csv", "--split", "test") == 1
    assert "Another process writes the library" in capsys.readouterr().err
    assert len(Library.load(lib).specimens) == 30


def test_cells_are_made_anew(lib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    old = Library.load(lib)
    old.index = CellIndex.build(old.vectors)
    old.save(lib)
    before = (lib / "cells.faiss").stat().st_size
    assert run(monkeypatch, "library", "add", "lib", "all.csv", "--split", "test") == 0
    assert (lib / "cells.faiss").stat().st_size > before
    added = specimens("test", 20)
    (found,) = Library.load(lib).ask(added["dna_barcode"][4:5])[1].keys[:, 0].tolist()
    assert found == Library.load(lib).keys.of_specimen[30 + 4]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["lib"], 2, "Missing argument 'INPUT'"),
        (["nothing", "all.csv"], 1, "'nothing' is no library: it has no library.json"),
        (["lib", "plain.csv"], 1, "30 of the 60 specimens are in the library already, such as 'SIM"),
        (["lib", "no.csv"], 1, "no.csv"),
        (["lib", "plain.csv", "--split", "test"], 1, "no specimens of the split 'test'"),
    ],
)
def test_wrong_use_is_one_line_and_changes_nothing(
    words: list[str],
    code: int,
    message: str,
    lib: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = {path.name: path.read_bytes() for path in lib.iterdir()}
    assert run(monkeypatch, "library", "add", *words) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("bioscan: ") and message in error and "\n" not in error
    assert {path.name: path.read_bytes() for path in lib.iterdir()} == before
