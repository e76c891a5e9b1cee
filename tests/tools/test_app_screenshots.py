import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PICTURES = {"app.png": 1200, "app_phone.png": 400}


@pytest.mark.parametrize(("name", "width"), PICTURES.items())
def test_pictures_of_the_app_are_small(name: str, width: int) -> None:
    path = ROOT / "docs" / "images" / name
    assert Image.open(path).size[0] == width and path.stat().st_size < 300_000


@pytest.mark.slow  # starts the app and lays out its map
def test_the_tool_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["app_screenshots.py", str(tmp_path)])
    runpy.run_path(str(ROOT / "tools" / "app_screenshots.py"), run_name="__main__")
    for name in PICTURES:
        made, shown = (Image.open(folder / name).size for folder in (tmp_path, ROOT / "docs" / "images"))
        assert made == shown
