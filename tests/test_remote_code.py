"""A model folder works on the Hub by itself: `trust_remote_code=True` in a process without the package.

transformers copies a model file, and the files it names in `from .x import y`, into one flat folder. It finds these
lines by a regular expression over the whole text, docstrings included.
"""

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from bioscan_hf import (
    BarcodeBertForMaskedLM,
    BarcodeBertForSequenceClassification,
    BarcodeBertForTaxonomicClassification,
    BarcodeBertModel,
    BarcodeMAE,
)
from tests.hub_server.fixture import LocalHub
from tests.tiny import TINY_MODELS

MODELS = Path(__file__).parents[1] / "bioscan_hf" / "models"
FILES = sorted(path for path in MODELS.glob("*/*_*.py") if not path.name.startswith(("__", "convert_")))
# What a user who has only transformers and torch can import.
ALLOWED = {"transformers", "torch", "numpy", "huggingface_hub", "tokenizers", "PIL"} | sys.stdlib_module_names
# The expressions of transformers/dynamic_module_utils.py (5.23.0).
LOOKS_RELATIVE = re.compile(r"^\s*(?:from\s+\.(\S+)\s+import|import\s+\.(\S+)\s*$)", re.MULTILINE)
LOAD = """
import json
import sys
sys.modules["bioscan_hf"] = None  # any import of the package now fails
import torch
import transformers

for auto, folder in json.loads(sys.argv[1]):
    options = {"num_labels": 7} if auto == "AutoModelForSequenceClassification" else {}
    model, report = getattr(transformers, auto).from_pretrained(
        folder, trust_remote_code=True, output_loading_info=True, **options
    )
    with torch.no_grad():
        embedding = getattr(model, "bert", model)(torch.tensor([[5, 9, 2, 30]])).pooler_output[0]
    print(json.dumps({
        "module": type(model).__module__,
        "class": type(model).__name__,
        "new": sorted({key.split(".")[0] for key in report["missing_keys"]}),
        "embedding": embedding.tolist(),
    }))
"""
CASES = [(auto, i, model) for auto, models in TINY_MODELS.items() for i, model in enumerate(models)]
# Classes that an Auto class may give: of another class's folder, the first.
OWN_CLASSES: dict[str, list[type[PreTrainedModel]]] = {
    "AutoModel": [BarcodeBertModel],
    "AutoModelForMaskedLM": [BarcodeBertForMaskedLM],
    "AutoModelForPreTraining": [BarcodeMAE],
    "AutoModelForSequenceClassification": [
        BarcodeBertForSequenceClassification,
        BarcodeBertForTaxonomicClassification,
    ],
}
# What the others lack.
HEADS = {
    "AutoModel": [],
    "AutoModelForMaskedLM": ["classifier"],
    "AutoModelForPreTraining": ["decoder", "decoder_classifier", "projection"],
    "AutoModelForSequenceClassification": ["score"],
}


@pytest.fixture(scope="module")
def loaded(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], dict[str, Any]]:
    """What a process without the package makes of each folder."""
    folder = tmp_path_factory.mktemp("models")
    for auto, i, model in CASES:
        model.save_pretrained(folder / f"{auto}_{i}")
    result = hub.run(LOAD, folder, json.dumps([(auto, str(folder / f"{auto}_{i}")) for auto, i, _ in CASES]))
    return dict(zip(((auto, i) for auto, i, _ in CASES), map(json.loads, result.stdout.splitlines()), strict=True))


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


@pytest.mark.parametrize(("auto", "i", "model"), [pytest.param(*c, id=f"{c[0]}-{type(c[2]).__name__}") for c in CASES])
def test_saved_model_loads_without_the_package(
    auto: str, i: int, model: PreTrainedModel, loaded: dict[tuple[str, int], dict[str, Any]]
) -> None:
    found, own_classes = loaded[auto, i], [cls.__name__ for cls in OWN_CLASSES[auto]]
    assert found["module"].startswith("transformers_modules.")
    assert found["class"] == (type(model).__name__ if type(model).__name__ in own_classes else own_classes[0])
    assert found["new"] == ([] if type(model).__name__ in own_classes else HEADS[auto])
    with torch.no_grad():
        expected = getattr(model, "bert", model).eval()(torch.tensor([[5, 9, 2, 30]])).pooler_output[0]
    torch.testing.assert_close(torch.tensor(found["embedding"]), expected)
