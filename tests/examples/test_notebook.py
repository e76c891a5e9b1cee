"""The notebook holds what it says: run again, it gives the same texts, to some digits, and pictures."""

import base64
import io
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
NUMBER = re.compile(r"(?<![\w.])\d+(?:[,.]\d+)*")
VARIES = "varies"
"""Tag of cells whose numbers are those of a training, and not the same everywhere."""


@pytest.fixture(scope="module")
def kept() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook, run anew."""
    output = tmp_path_factory.mktemp("notebook") / "fresh.ipynb"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(sys, "argv", ["run_notebook.py", str(output)])
        runpy.run_path(str(ROOT / "tools" / "run_notebook.py"), run_name="__main__")
    return nbformat.read(output, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text(cell: Any) -> str:
    """What a cell prints, and the tables that it shows; not on stderr."""
    printed = "".join(out.text for out in cell.outputs if out.output_type == "stream" and out.name == "stdout")
    shown = [out.data["text/plain"] for out in cell.outputs if "text/html" in out.get("data", {})]
    return printed + "\n".join(shown)


def pictures(cell: Any) -> list[Image.Image]:
    found = [out.data["image/png"] for out in cell.outputs if "image/png" in out.get("data", {})]
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def numbers(words: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(words)]


def test_it_is_small_whole_and_knows_no_machine(kept: Any) -> None:
    assert 10 <= len(kept.cells) <= 15
    assert NOTEBOOK.stat().st_size < 1_500_000
    nbformat.validate(kept)
    assert [cell.execution_count for cell in code_cells(kept)] == list(range(1, len(code_cells(kept)) + 1))
    assert sum(len(pictures(cell)) for cell in code_cells(kept)) >= 4
    for cell in code_cells(kept):
        assert not [out for out in cell.outputs if out.get("name") == "stderr" or out.output_type == "error"]
        assert cell.metadata.keys() <= {"tags"}, "no times"
    without_pictures = re.sub(r'"image/png": "[^"]*"', "", NOTEBOOK.read_text())
    assert not re.search(r"(?<![\w.])/(?:home|root|tmp|work|usr|Users)\b", without_pictures)


def test_links_lead_somewhere(kept: Any) -> None:
    source = "\n".join(cell.source for cell in kept.cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)]+)\)", source):
        assert target.startswith("https://") or (NOTEBOOK.parent / target).exists()


def test_run_again_it_says_the_same(kept: Any, fresh: Any) -> None:
    for old, new in zip(code_cells(kept), code_cells(fresh), strict=True):
        before, now = text(old), text(new)
        # Words are equal; numbers nearly, for processors round differently.
        assert NUMBER.sub("0", re.sub(r" +", " ", now)) == NUMBER.sub("0", re.sub(r" +", " ", before)), old.source
        if VARIES not in old.metadata.get("tags", ()):
            np.testing.assert_allclose(numbers(now), numbers(before), rtol=0.02, atol=0.02, err_msg=old.source)
        assert [picture.size for picture in pictures(new)] == [picture.size for picture in pictures(old)]


def test_what_it_teaches_works(fresh: Any) -> None:
    said = "\n".join(map(text, code_cells(fresh)))
    safe = re.search(r"(\d+) of 393 have a safe name, and ([\d.]+)% of these are right", said)
    assert safe and int(safe[1]) > 350 and float(safe[2]) > 95
    adapter = re.search(r"genus, seen species \(LoRA\): (\d+)% of 182", said)
    assert adapter and int(adapter[1]) > 80
    found = re.search(r"^order: (\d+)%$", said, re.MULTILINE)
    assert found and int(found[1]) > 40, "of guesses, 15 are right"
