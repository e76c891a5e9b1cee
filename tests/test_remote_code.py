"""A model folder works on the Hub by itself: `trust_remote_code=True` in a process without the package.

transformers copies a model file, and the files it names in `from .x import y`, into one flat folder. It finds these
lines by a regular expression over the whole text, docstrings included.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import PreTrainedModel

from tests.tiny import TINY_MODELS

MODELS = Path(__file__).parents[1] / "bioscan_hf" / "models"
FILES = sorted(path for path in MODELS.glob("*/*_*.py") if not path.name.startswith(("__", "convert_")))
# What a user who has only transformers and torch can import.
ALLOWED = {"transformers", "torch", "numpy", "huggingface_hub", "tokenizers"} | sys.stdlib_module_names
# The expressions of transformers/dynamic_module_utils.py (5.23.0).
LOOKS_RELATIVE = re.compile(r"^\s*(?:from\s+\.(\S+)\s+import|import\s+\.(\S+)\s*$)", re.MULTILINE)
LOAD = """
import sys
sys.modules["bioscan_hf"] = None  # any import of the package now fails
from transformers import {auto}
print(type({auto}.from_pretrained(sys.argv[1], trust_remote_code=True)).__module__)
"""
CASES = [
    pytest.param(auto, model, id=f"{auto}-{type(model).__name__}")
    for auto, models in TINY_MODELS.items()
    for model in models
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_model_file_is_self_contained(path: Path) -> None:
    text = path.read_text()
    siblings = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1 and node.module and "." not in node.module, f"line {node.lineno}: import a sibling"
            assert (path.parent / f"{node.module}.py").exists(), f"line {node.lineno}: no {node.module}.py beside it"
            siblings.add(node.module)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            outside = {name.split(".")[0] for name in names} - ALLOWED
            assert not outside, f"line {node.lineno}: a Hub user may not have {sorted(outside)}"
    seen = {first or second for first, second in LOOKS_RELATIVE.findall(text)}
    assert seen == siblings, f"text that only looks like an import: {sorted(seen - siblings)}"


@pytest.mark.parametrize(("auto", "model"), CASES)
def test_saved_model_loads_without_the_package(auto: str, model: PreTrainedModel, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    model.save_pretrained(saved)
    result = subprocess.run(
        [sys.executable, "-c", LOAD.format(auto=auto), str(saved)],
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.startswith("transformers_modules.")
