import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def test_picture_in_the_readme_is_that_of_the_sample_and_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["readme_picture.py", str(tmp_path / "made.png")])
    runpy.run_path(str(ROOT / "tools" / "readme_picture.py"), run_name="__main__")
    made, shown = (
        np.asarray(Image.open(path).convert("L"), dtype=float)
        for path in (tmp_path / "made.png", ROOT / "docs/images/identification.png")
    )
    # Not equal: another version of matplotlib may draw letters a little differently.
    assert made.shape == shown.shape and abs(made - shown).mean() < 1
