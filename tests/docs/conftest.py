"""The site of docs/, built once."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from tests.docs.pages import Site

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tools"))  # where `docs_site` lies


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Site:
    """The built site; what MkDocs warns of, as a link to a page that is missing, is an error."""
    base = tmp_path_factory.getbasetemp()
    # Workers of pytest-xdist share the folder above theirs; the first of them builds.
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "site"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            built = folder.with_name("site-unfinished")
            _build(built)
            built.rename(folder)
    return Site.read(folder)


def _build(folder: Path) -> None:
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("mkdocs")
    logger.addHandler(handler)
    try:
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    except Abort as error:
        raise AssertionError("\n".join(warnings)) from error
    finally:
        logger.removeHandler(handler)
