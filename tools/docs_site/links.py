"""Links in Markdown pages that are read in the repository and on the site."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

DOCS = "docs"
ELSEWHERE = "repository"
"""Folder of the site for what lies outside docs/."""

# Code first, so that what looks like a link in it is left alone.
_PIECES = re.compile(
    r"(?P<code>^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)[ \t]*$|``.*?``|`[^`\n]+`)"
    r"|(?P<before>\]\(|<(?:img|a)\b[^>]*?\b(?:src|href)=\")(?P<target>[^)\s\"]+)",
    re.MULTILINE | re.DOTALL,
)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:|//|#|/", re.IGNORECASE)


def change_targets(markdown: str, change: Callable[[str], str]) -> str:
    """Change the relative targets of links and images; those in code, addresses and anchors of the page stay.

    >>> change_targets("[a](b.md#c), `[a](b.md)`, [d](https://example.org)", str.upper)
    '[a](B.MD#C), `[a](b.md)`, [d](https://example.org)'
    """

    def changed(match: re.Match[str]) -> str:
        if match["code"] or _ADDRESS.match(match["target"]):
            return match[0]
        return match["before"] + change(match["target"])

    return _PIECES.sub(changed, markdown)


def targets(markdown: str) -> list[str]:
    """Relative targets of links and images, in their order."""
    found: list[str] = []

    def noted(target: str) -> str:
        found.append(target)
        return target

    change_targets(markdown, noted)
    return found


def resolve(page: str, target: str) -> str:
    """The path in the repository of what a page links to.

    >>> resolve("docs/how-to/gpu.md", "../../examples/README.md#several-gpus")
    'examples/README.md'
    """
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target.partition("#")[0]))


def site_path(root: Path, path: str) -> str:
    """Where the site has a file or folder of the repository.

    Args:
        root: Folder of the repository.
        path: Relative to it, with slashes.

    Returns:
        The path of the page's source, relative to docs/. A file of docs/ stays; of others, Markdown and pictures keep
        their names, text gets a page that shows it, and a folder its README, or else a page that lists its files.
    """
    place = root / path
    if place.is_dir():
        has_own = (place / "README.md").is_file()
        return site_path(root, f"{path}/README.md") if has_own else f"{ELSEWHERE}/{path}/index.md"
    if path.startswith(f"{DOCS}/"):
        return path.removeprefix(f"{DOCS}/")
    kept = place.suffix in (".md", *PICTURES)
    return f"{ELSEWHERE}/{path}" + ("" if kept else ".md")


PICTURES = (".png", ".jpg", ".svg")


def for_site(root: Path, page: str, at: str, markdown: str) -> str:
    """Change the links of a page so that they hold on the site.

    Args:
        root: Folder of the repository.
        page: Path of the page in it.
        at: Path of the page on the site.
        markdown: Its text.
    """
    folder = posixpath.dirname(at)

    def changed(target: str) -> str:
        path = resolve(page, target)
        if not (root / path).exists():
            return target  # the pages of the commands, which exist on the site only, or a mistake, which MkDocs reports
        _, hash_, anchor = target.partition("#")
        return posixpath.relpath(site_path(root, path), folder or ".") + hash_ + anchor

    return change_targets(markdown, changed)
