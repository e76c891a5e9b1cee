"""Take pictures of the app for the pages: an answer on a wide screen, and the map of the library on a phone.

    python tools/app_screenshots.py docs/images

Needs chromium and the extras `app` and `test`. The map is laid out first, which takes up to a minute.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

import PIL.Image
from playwright.sync_api import Browser, Page, sync_playwright

from bioscan_hf.app.application import build_app, launch
from bioscan_hf.app.served import Served

WIDE, PHONE = (1200, 1330), (400, 860)
_WAIT_MS = 120_000


def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="takes app.png and app_phone.png")
    folder = parser.parse_args().folder
    app = build_app(Served.open())
    _, address, _ = launch(app, prevent_thread_lock=True, quiet=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        _answer(browser, address, folder / "app.png")
        _map(browser, address, folder / "app_phone.png")
        browser.close()
    app.close(verbose=False)


def _answer(browser: Browser, address: str, path: Path) -> None:
    page = _open(browser, address, WIDE)
    page.get_by_role("button", name="Barcode and photograph").click()
    page.locator("#bs-answer .specimen").first.wait_for()
    page.mouse.move(5, 5)
    _save(page, path)


def _map(browser: Browser, address: str, path: Path) -> None:
    page = _open(browser, address, PHONE)
    page.get_by_role("tab", name="Explore").click()
    page.locator("#bs-map .legend li").first.wait_for()
    search = page.locator("#bs-search textarea, #bs-search input").first
    search.fill("Mythoskosia")
    search.press("Enter")
    page.locator("#bs-specimen .specimen").wait_for()
    page.locator("#bs-rings .middle").click()  # all points in colours again, with the specimen marked
    page.locator("#bs-map .legend li").nth(4).wait_for()
    page.wait_for_timeout(1500)  # the page glides to the specimen
    page.locator("#bs-search").evaluate("box => window.scrollBy(0, box.getBoundingClientRect().top - 16)")
    _save(page, path)


def _open(browser: Browser, address: str, size: tuple[int, int]) -> Page:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme="light")
    page.set_default_timeout(_WAIT_MS)
    page.goto(address)
    return page


def _save(page: Page, path: Path) -> None:
    """As a PNG of 256 colours, which has a third of the size."""
    picture = PIL.Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(256, method=PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
