"""Tables of specimens in the current folder."""

from pathlib import Path

import pytest

from tests.identification.made_library import HELD_OUT, joined, specimens


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: `all.csv` with splits, `plain.csv` without."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    joined(specimens("train", 100), specimens(HELD_OUT, 60), specimens("test", 20)).to_csv("all.csv")
    specimens("train", 60).remove_columns("split").to_csv("plain.csv")
    return tmp_path
