import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def test_picture_in_the_readme_is_that_of_the_shipped_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["contact_sheet.py", str(tmp_path / "sheet.jpg")])
    runpy.run_path(str(ROOT / "tools" / "contact_sheet.py"), run_name="__main__")
    made, shown = (
        np.asarray(Image.open(path), dtype=float) for path in (tmp_path / "sheet.jpg", ROOT / "docs/images/sample.jpg")
    )
    # Not equal bytes: another version of Pillow may write another JPEG of the same picture.
    assert made.shape == shown.shape and abs(made - shown).mean() < 1
