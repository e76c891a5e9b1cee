"""The built site has no broken link, asks no other host for anything, and shows all that is public."""

import re
from pathlib import Path
from typing import Any

import typer
import yaml

import bioscan_hf
from bioscan_hf.cli.program import app
from tests.docs.pages import BuiltPage, Site

ROOT = Path(__file__).parents[2]
EXTERNAL = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)


def inner(targets: list[str]) -> list[str]:
    return [target for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:|//", target, re.IGNORECASE)]


def test_every_link_and_picture_is_there(site: Site) -> None:
    targets = [(page, target) for page in site.pages.values() for target in inner([*page.links, *page.fetched])]
    assert len(site.pages) > 60 and len(targets) > 5000
    assert not [why for page, target in targets if (why := site.why_broken(page, target))]


def test_no_other_host_is_asked(site: Site) -> None:
    for page in site.pages.values():
        assert not [target for target in page.fetched if EXTERNAL.match(target)], page.path
    sheets = [site.folder / name for name in site.files if name.endswith(".css")]
    assert sheets
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"@import|url\(\s*[\"']?(?:https?:)?//", text), sheet.name


def test_each_public_name_has_one_place_in_the_reference(site: Site) -> None:
    pages = [page for path, page in site.pages.items() if path.startswith("reference/")]
    overview = site.pages["reference/index.html"].text.replace(",", " ").split()
    for name in bioscan_hf.__all__:
        assert sum(f"bioscan_hf.{name}" in page.ids for page in pages) == 1 and name in overview, name


def test_each_command_and_option_is_on_its_page(site: Site) -> None:
    program: Any = typer.main.get_command(app)
    commands = program.commands
    assert len(commands) >= 10
    for name, command in commands.items():
        text = site.pages[f"reference/commands/{name}.html"].text
        for option in options(command):
            assert option in text, f"bioscan {name} {option}"


def options(command: Any) -> list[str]:
    """Long names of the options of a command and of those below it."""
    own = [word for parameter in command.params for word in parameter.opts if word.startswith("--")]
    below = [word for child in getattr(command, "commands", {}).values() for word in options(child)]
    return [word for word in (*own, *below) if word != "--help"]


def test_each_page_of_docs_is_in_the_navigation(site: Site) -> None:
    # MkDocs warns of pages that the navigation lacks, and the build is strict; this shows that it looks at all of them.
    written = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert len(written) > 20
    for path in written:
        built = re.sub(r"README\.md$", "index.md", path).removesuffix(".md") + ".html"
        assert built in site.pages, path


def test_search_knows_the_pages(site: Site) -> None:
    index = (site.folder / "search" / "search_index.js").read_text(encoding="utf-8")
    for word in ("Bradysia tilicola", "--gradient-accumulation-steps", "nearest_k"):
        assert word in index


def test_the_repository_is_not_public_yet() -> None:
    # A link "edit this page" to nowhere would be on every page.
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    settings = yaml.safe_load(text)
    assert "repo_url" not in settings and settings["theme"]["font"] is False


def test_a_broken_link_would_be_seen() -> None:
    page = BuiltPage("how-to/x.html", ids={"here"})
    site = Site(ROOT, {"how-to/x.html", "index.html"}, {"how-to/x.html": page, "index.html": BuiltPage("index.html")})
    assert site.why_broken(page, "#here") is None and site.why_broken(page, "../index.html") is None
    assert "no anchor 'there'" in str(site.why_broken(page, "#there"))
    assert "no anchor 'here'" in str(site.why_broken(page, "../index.html#here"))
    assert "no file 'how-to/y.html'" in str(site.why_broken(page, "y.html"))


def test_what_a_browser_fetches_is_seen() -> None:
    page = BuiltPage("index.html")
    page.feed('<link rel="stylesheet" href="a.css"><link rel="next" href="b.html"><img src="c.png"><a href="d">e</a>')
    assert page.fetched == ["a.css", "c.png"] and page.links == ["d"] and page.text == "e"
