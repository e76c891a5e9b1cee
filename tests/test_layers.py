"""Imports inside `bioscan_hf` point one way: from the end of the data flow to its start."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bioscan_hf"
# A folder may import the folders to its left, never those to its right; some come in later steps.
ORDER = ["tokenization", "data", "models", "evaluation", "identification", "hub", "training", "app", "cli"]
FOLDERS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
# A model folder is copied to the Hub by itself, so it may import nothing of ours.
CLOSED = {"models"}


def imported_folders(path: Path) -> set[str]:
    """Top-level folders of the package that the module at `path` imports."""
    inside = path.relative_to(PACKAGE.parent).with_suffix("").parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[list[str]] = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(inside[: len(inside) - node.level]) if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            names = [[*module, alias.name] for alias in node.names]
        found |= {name[1] for name in names if len(name) > 1 and name[0] == PACKAGE.name}
    return found & set(ORDER)


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_one_way(folder: str) -> None:
    allowed = set() if folder in CLOSED else set(ORDER[: ORDER.index(folder)])
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        wrong = imported_folders(path) - allowed - {folder}
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {sorted(wrong)}; {folder}/ may import {sorted(allowed)}"


def test_every_folder_has_a_place_in_the_order() -> None:
    assert set(FOLDERS) <= set(ORDER)


def test_an_import_against_the_order_would_be_seen() -> None:
    assert imported_folders(PACKAGE / "cli" / "demo.py") >= {"data", "evaluation", "hub", "training"}
