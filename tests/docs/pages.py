"""What a built page refers to."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

# Of these a browser fetches what the attribute names, when the page is opened.
_FETCHED = {
    "img": ("src", "srcset"),
    "script": ("src",),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src",),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
    "use": ("href",),
}
_FETCHED_RELATIONS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload"}


@dataclass
class BuiltPage(HTMLParser):
    """A page of the site.

    Attributes:
        path: Relative to the site, with slashes.
        ids: What an anchor may name.
        links: Targets of `<a>`.
        fetched: What a browser fetches to show the page.
        text: All text, as it would be read.
    """

    path: str
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        self.fetched += [values[name] for name in _FETCHED.get(tag, ()) if name in values]
        if tag == "link" and _FETCHED_RELATIONS & set(values.get("rel", "").split()):
            self.fetched.append(values["href"])

    def handle_data(self, data: str) -> None:
        self.text += data


@dataclass
class Site:
    """All files of a built site, and its pages by their paths."""

    folder: Path
    files: set[str]
    pages: dict[str, BuiltPage]

    @classmethod
    def read(cls, folder: Path) -> Site:
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        pages = {}
        for path in sorted(files):
            # The page for a missing page has addresses from the root of a server.
            if path.endswith(".html") and path != "404.html":
                pages[path] = BuiltPage(path)
                pages[path].feed((folder / path).read_text(encoding="utf-8"))
        return cls(folder, files, pages)

    def why_broken(self, page: BuiltPage, target: str) -> str | None:
        """What is wrong with a relative target; None if nothing is."""
        path, _, anchor = target.partition("#")
        path = unquote(path.partition("?")[0])
        there = posixpath.normpath(posixpath.join(posixpath.dirname(page.path), path)) if path else page.path
        if there not in self.files:
            return f"{page.path}: no file '{there}' for '{target}'"
        if anchor and there in self.pages and unquote(anchor) not in self.pages[there].ids:
            return f"{page.path}: no anchor '{anchor}' in '{there}'"
        return None
