"""Hooks of MkDocs: what the site of docs/ has beside the pages that lie there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docs_site.commands import command_pages
from docs_site.elsewhere import is_picture, page_of, site_files, standing
from docs_site.links import DOCS, ELSEWHERE, for_site
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from bioscan_hf.cli.program import app

ROOT = Path(__file__).resolve().parents[1]
COMMANDS, CARDS, RESULTS = "Command line", "Model cards", "Results"
"""Entries of the navigation that get the commands, the cards in model_cards/, and the pages in docs/results/."""

_commands: dict[str, str] = {}
_elsewhere: dict[str, str] = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the pages of the commands, and put them, the cards and the results into the navigation."""
    _commands.clear()
    _commands.update(command_pages(app))
    first, *others = _commands
    _find(config.nav, COMMANDS)[:] = [first, *({f"bioscan {Path(path).stem}": path} for path in others)]
    cards = sorted((ROOT / "model_cards").glob("*.md"), key=lambda card: (card.name != "README.md", card.name))
    _find(config.nav, CARDS)[:] = [{_card(card): f"{ELSEWHERE}/model_cards/{card.name}"} for card in cards]
    results = sorted((ROOT / DOCS).glob("results/**/README.md"))
    _find(config.nav, RESULTS)[:] = [
        {page.parent.name.replace("_", ", ").capitalize(): page.relative_to(ROOT / DOCS).as_posix()} for page in results
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the commands, and those of files outside docs/ that pages or the navigation lead to."""
    for path, content in _commands.items():
        files.append(File.generated(config, path, content=content))
    pages = [f"{DOCS}/{file.src_uri}" for file in files.documentation_pages()]
    pages += [path.removeprefix(f"{ELSEWHERE}/") for path in _paths(config.nav) if path.startswith(f"{ELSEWHERE}/")]
    _elsewhere.clear()
    _elsewhere.update(site_files(ROOT, pages))
    for path, source in _elsewhere.items():
        if is_picture(source):
            files.append(File.generated(config, path, abs_src_path=str(ROOT / source)))
        else:
            files.append(File.generated(config, path, content=page_of(ROOT, source)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Change links to files outside docs/ to their pages."""
    path = page.file.src_uri
    if path in _commands:
        return markdown
    source = _elsewhere.get(path, f"{DOCS}/{path}")
    return for_site(ROOT, standing(ROOT, source), path, markdown)


def _card(path: Path) -> str:
    return "Overview" if path.name == "README.md" else path.stem


def _find(nav: Any, title: str) -> Any:
    """The entries below a title.

    Raises:
        KeyError: If there is none.
    """
    for item in nav:
        for name, below in item.items() if isinstance(item, dict) else ():
            if name == title:
                return below
            if isinstance(below, list):
                try:
                    return _find(below, title)
                except KeyError:
                    continue
    raise KeyError(f"The navigation in mkdocs.yml needs an entry '{title}' with a list.")


def _paths(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    below = nav.values() if isinstance(nav, dict) else nav
    return [path for item in below for path in _paths(item)]
