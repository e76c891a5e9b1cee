"""Pages of the site for files outside docs/: Markdown as it is, other text as code, folders as lists."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from docs_site.links import DOCS, PICTURES, resolve, site_path, targets

LARGEST = 60_000
"""Bytes of a file that are shown."""
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".sbatch": "bash", ".cfg": "ini"}


def linked(root: Path, pages: Iterable[str]) -> Iterator[str]:
    """Follow the links of pages, and of the pages that they lead to.

    Args:
        root: Folder of the repository.
        pages: Paths in it of Markdown pages.

    Yields:
        The path of each file or folder outside docs/, or folder in docs/, that is reached, and of `pages` that are
        outside docs/; each once.
    """
    waiting = list(pages)
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        place = root / path
        if path in seen or path.startswith("..") or not place.exists():
            continue
        seen.add(path)
        if place.is_dir() and (place / "README.md").is_file():
            waiting.append(f"{path}/README.md")
            continue
        if place.is_dir() or not path.startswith(f"{DOCS}/"):
            yield path
        if place.is_dir() or place.suffix == ".md":
            at = standing(root, path)
            waiting += [resolve(at, target) for target in targets(page_of(root, path))]


def standing(root: Path, path: str) -> str:
    """Where a page stands for its links: that of a folder as if it lay in it."""
    return f"{path}/index.md" if (root / path).is_dir() else path


def page_of(root: Path, path: str) -> str:
    """The Markdown of a page that shows a file or folder; its links are those of the repository."""
    place = root / path
    if place.is_dir():
        return _folder(place, path)
    if place.suffix == ".md":
        return place.read_text("utf-8")
    if place.suffix == ".ipynb":
        return "\n\n".join(_cells(json.loads(place.read_text("utf-8"))))
    text = place.read_bytes()[:LARGEST].decode("utf-8", "replace")
    cut = "" if place.stat().st_size <= LARGEST else f"\n\nThe first {LARGEST:,} bytes."
    fence = "`" * 4
    language = _LANGUAGES.get(place.suffix, "text")
    return f"# {place.name}\n\n`{path}`\n\n{fence}{language}\n{text.rstrip()}\n{fence}{cut}\n"


def is_picture(path: str) -> bool:
    """Whether a file is a picture, which is copied."""
    return Path(path).suffix in PICTURES


def _folder(place: Path, path: str) -> str:
    names = sorted(child.name for child in place.iterdir() if child.is_file() and not child.name.startswith("."))
    lines = [f"- [`{name}`]({name})" for name in names if name != "__init__.py"]
    return "\n".join([f"# {place.name}/", "", f"`{path}/`", "", *lines, ""])


def _cells(notebook: dict) -> Iterator[str]:
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield source
            continue
        yield f"````python\n{source}\n````"
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = "".join(output.get("text", data.get("text/plain", [])))
            picture = next((name for name in ("image/png", "image/jpeg") if name in data), None)
            if picture:
                content = "".join(data[picture]).replace("\n", "")
                yield f'<img alt="Picture made by the cell above" src="data:{picture};base64,{content}">'
            elif text.strip():
                yield f"````text\n{text.rstrip()}\n````"


def site_files(root: Path, pages: Iterable[str]) -> dict[str, str]:
    """What of the repository the site shows beside docs/.

    Returns:
        For each path on the site, relative to its root, the path in the repository.
    """
    return {site_path(root, path): path for path in linked(root, pages)}
