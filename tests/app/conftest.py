"""A browser, and apps that run while it looks at them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants
from numpy.typing import NDArray
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from bioscan_hf.app import points
from bioscan_hf.app.application import build_app, launch
from bioscan_hf.app.served import Served

OpenPage = Callable[..., Page]
_WAIT_MS = 60_000


def find_chromium() -> str:
    """The program; without one, tests are skipped here, and fail in CI."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if program := shutil.which(name):
            return program
    message = "needs chromium (`apt-get install chromium`)"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


# Of the module, not of the session: as long as Playwright runs, no other test of this process can use asyncio.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium, without a window."""
    program = find_chromium()
    expect.set_options(timeout=_WAIT_MS)
    with sync_playwright() as playwright:
        # In a container, Chromium has no sandbox.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Served], str]]:
    """Starts an app, and gives its address."""
    started: list[Any] = []

    def start(served: Served) -> str:
        app = build_app(served)
        started.append(app)
        _, address, _ = launch(app, prevent_thread_lock=True, quiet=True)
        return address.rstrip("/")

    def layout(vectors: NDArray[np.float32], settings: object, *, seed: int) -> NDArray[np.float32]:
        return vectors[:, :2]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HOME", str(tmp_path_factory.mktemp("hf")))
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        # UMAP is compiled for 20 seconds; `test_points.py` has a slow test with it.
        patch.setattr(points, "reduce", layout)
        yield start
        for app in started:
            app.close(verbose=False)


@pytest.fixture(scope="module")
def sample_app(serve: Callable[[Served], str]) -> str:
    """Address of an app that serves the library of the embedded sample."""
    return serve(Served.open())


@pytest.fixture
def open_page(chromium: Browser, tmp_path: Path) -> Iterator[OpenPage]:
    """Opens an address. In the end, nothing was asked of other computers, and nothing went wrong in a page.

    The last state of each page is in `page-<number>.png` in pytest's temporary folder.
    """
    asked: list[str] = []
    errors: list[str] = []
    pages: list[Page] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    def open_one(address: str, width: int = 1200, height: int = 900) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        context.set_default_timeout(_WAIT_MS)
        page = context.new_page()
        page.on("request", note)
        page.on("console", listen)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        pages.append(page)
        return page

    yield open_one
    for number, page in enumerate(pages):
        page.screenshot(path=tmp_path / f"page-{number}.png", full_page=True)
        page.context.close()
    elsewhere = [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))]
    assert asked and not elsewhere and not errors
