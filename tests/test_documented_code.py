"""The Python in README.md, the model cards and the pages of examples runs.

A block that needs the network or a GPU starts with a comment `# not run: <reason>`; it is compiled, not run.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "model_cards").glob("*.md")),
    *sorted((ROOT / "examples").glob("**/README.md")),
    *sorted((ROOT / "bioscan_hf").glob("**/README.md")),
]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks() -> list:
    cases = []
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            cases.append(pytest.param(page, line, match[1], id=f"{page.relative_to(ROOT)}:{line}"))
    return cases


@pytest.mark.parametrize(("page", "line", "source"), blocks())
def test_block(page: Path, line: int, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = compile("\n" * (line - 1) + source, str(page), "exec")
    if source.startswith("# not run:"):
        pytest.skip(source.splitlines()[0])
    monkeypatch.chdir(tmp_path)
    exec(code, {"__name__": "__main__"})
