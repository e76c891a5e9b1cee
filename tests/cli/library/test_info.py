import json
from pathlib import Path

import pytest

from bioscan_hf.identification.library import Library
from tests.cli.test_program import run
from tests.identification.made_library import specimens


@pytest.fixture
def lib(folder: Path) -> Path:
    info = {"source": "my [/old] data[1].csv", "command": "bioscan library build 'my [/old] data[1].csv'"}
    Library.build(specimens("train", 30), calibration=specimens("val", 2), info=info).save(folder / "lib")
    return folder / "lib"


def test_as_text(lib: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "library", "info", "lib") == 0
    lines = capsys.readouterr().out.splitlines()
    facts = {line[:24].split("  ")[0]: line for line in lines}
    assert {"specimens", "keys", "taxa", "model", "source", "made by", "size"} <= set(facts)
    assert "my [/old] data[1].csv" in facts["source"] and "build 'my [/old] data[1].csv'" in facts["made by"]


def test_as_json(lib: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "library", "info", "lib", "--json") == 0
    shown = capsys.readouterr().out
    assert shown.count("\n") == 1 and json.loads(shown) == json.loads((lib / "library.json").read_text())


def test_verified(lib: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "library", "info", "lib", "--verify") == 0
    assert "4 files are as they were written." in capsys.readouterr().out
    content = bytearray((lib / "keys.safetensors").read_bytes())
    content[-1] ^= 1
    (lib / "keys.safetensors").write_bytes(content)
    assert run(monkeypatch, "library", "info", "lib", "--verify") == 1
    assert "'lib' is damaged: keys.safetensors is not as it was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "No such library: 'nothing'. Expected a folder"),
        ("all.csv", "'all.csv' is a file; a library is a folder"),
        (".", "'.' is no library: it has no library.json. `bioscan library build` makes one."),
    ],
)
def test_no_library(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "library", "info", name) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("bioscan: ") and message in error and "\n" not in error


@pytest.mark.parametrize("words", [["library"], ["library", "--help"]])
def test_help_names_the_commands(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *words) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("build", "add", "info", "push"))
