import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset
from playwright.sync_api import Locator, Page, expect

from bioscan_hf.app.pictures import Pictures
from bioscan_hf.app.served import NEAREST, Served
from bioscan_hf.data.features import RANKS
from bioscan_hf.data.selection import select_split
from bioscan_hf.data.specimens import load_specimens
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.image_space import rows_with_images
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.results import results_schema
from tests.app.conftest import OpenPage, find_chromium
from tests.app.made_app import hostile
from tests.identification.made_library import specimens, with_column, without


def ask(page: Page, text: str) -> None:
    page.locator("#bs-barcodes textarea").fill(text)
    page.get_by_role("button", name="Identify", exact=True).click()


def answer(page: Page) -> Locator:
    return page.locator("#bs-answer")


def explore(page: Page) -> Locator:
    """Open the tab, and wait for the map."""
    page.get_by_role("tab", name="Explore").click()
    canvas = page.locator("#bs-map canvas")
    expect(page.locator("#bs-map .legend li").first).to_be_visible()
    return canvas


# The first dot that is meant: those that are not are pale.
DOT = """canvas => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const place = pixels.findIndex((value, i) => i % 4 === 3 && value > 128) >> 2;
  return [place % canvas.width, Math.floor(place / canvas.width)].map(value => value / devicePixelRatio);
}"""


def point_at(page: Page, canvas: Locator) -> tuple[float, float]:
    """Move the pointer to a point of the map."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    x, y = canvas.evaluate(DOT)
    page.mouse.move(box["x"] + x, box["y"] + y)
    expect(page.locator("#bs-map .tip")).to_be_visible()
    return box["x"] + x, box["y"] + y


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_without_a_browser_they_fail_in_ci_only(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(outcome, match="needs chromium"):
        find_chromium()


def known_and_new(sample: Dataset) -> tuple[Dataset, Dataset]:
    return select_split(sample, "test"), select_split(sample, "test_unseen")


def test_a_barcode_gets_its_name(sample_app: str, open_page: OpenPage, sample: Dataset) -> None:
    page = open_page(sample_app)
    known, new = known_and_new(sample)
    ask(page, known[0]["dna_barcode"])
    expect(answer(page).locator(".bs-name")).to_have_text(known[0]["species"])
    expect(answer(page).locator(".bs-known")).to_contain_text("probably a species of the library")
    expect(answer(page).locator(".specimen")).to_have_count(NEAREST)
    ask(page, f">mine\n{new[0]['dna_barcode']}")
    expect(answer(page).locator("h2")).to_have_text("mine")
    expect(answer(page).locator(".bs-new")).to_contain_text("probably a species that the library does not have")
    expect(answer(page).locator(".bs-ranks")).to_contain_text(new[0]["family"])


def test_wrong_input_is_explained(sample_app: str, open_page: OpenPage) -> None:
    page = open_page(sample_app)
    wrong = {"": "nothing to identify yet", "MKVLAAGIVGLLLAAC": "looks like a protein", ">only-a-name": "is empty"}
    for text, message in wrong.items():
        page.get_by_role("button", name="Known species").click()
        expect(answer(page).locator(".bs-answer")).to_be_visible()
        ask(page, text)
        expect(page.locator("#bs-message [role=alert]")).to_contain_text(message)
        expect(answer(page).locator(".bs-answer")).to_have_count(0)  # the old one is gone
    assert "Traceback" not in page.inner_text("body")


def test_a_photograph_gets_a_name(sample_app: str, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(sample_app)
    pictured = select_split(load_specimens(image=True), "test")
    row = int(rows_with_images(pictured)[0])
    file = tmp_path / "my photograph.png"
    pictured[row]["image"].save(file)
    page.locator("#bs-photographs input[type=file]").set_input_files(file)
    expect(page.locator("#bs-photographs img").first).to_be_visible()
    page.get_by_role("button", name="Identify", exact=True).click()
    expect(answer(page).locator(".bs-verdict h3")).to_have_text("By photograph")
    expect(answer(page).locator(".bs-ranks")).to_contain_text(pictured[row]["class"])


def test_results_can_be_downloaded(sample_app: str, open_page: OpenPage, sample: Dataset, tmp_path: Path) -> None:
    page = open_page(sample_app)
    some = known_and_new(sample)[0].select(range(3))
    rows = zip(some["processid"], some["dna_barcode"], strict=True)
    ask(page, "\n".join(f">{name}\n{barcode}" for name, barcode in rows))
    expect(page.locator("#bs-results tbody tr")).to_have_count(3)
    page.locator("#bs-results tbody tr").nth(2).click()
    expect(answer(page).locator("h2")).to_have_text(some[2]["processid"])
    with page.expect_download() as started:
        page.locator("#bs-csv a").click()
    started.value.save_as(tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == results_schema(NEAREST).names
    assert [row["processid"] for row in table] == some["processid"][:]
    assert [row["order"] for row in table] == some["order"][:]


def test_exploring_by_rings_and_points(sample_app: str, open_page: OpenPage, sample: Dataset) -> None:
    page = open_page(sample_app)
    canvas = explore(page)
    train = select_split(sample, "train")
    expect(page.locator("#bs-rings .number")).to_have_text(f"{len(train):,}")
    order = train[0]["order"]
    piece = page.locator(f"#bs-rings path[data-label^='{order} (order)']")
    number = sum(name == order for name in train["order"])
    piece.dispatch_event("pointerover")  # the middle of the box around a piece may lie beside it
    expect(page.locator("#bs-rings .hint")).to_have_text(f"{order} (order): {number} specimens")
    piece.dispatch_event("click")
    expect(page.locator("#bs-rings .number")).to_have_text(f"{number:,}")
    expect(page.locator("#bs-rings nav")).to_contain_text(order)
    expect(page.locator("#bs-rank input")).to_have_value("family")
    families = {name for name, own in zip(train["family"], train["order"], strict=True) if own == order}
    expect(page.locator("#bs-map .legend li").first).to_contain_text(re.compile("|".join(families)))

    page.mouse.click(*point_at(page, canvas))
    card = page.locator("#bs-specimen .specimen")
    expect(card).to_be_visible()
    told = page.locator("#bs-map .tip").text_content()
    expect(card.locator("h3")).to_have_text(told or "?")
    page.locator("#bs-rings .middle").click()
    expect(page.locator("#bs-rings .number")).to_have_text(f"{len(train):,}")


def test_searching_a_specimen_and_asking_for_it(sample_app: str, open_page: OpenPage, sample: Dataset) -> None:
    page = open_page(sample_app)
    explore(page)
    specimen = select_split(sample, "train")[7]
    search = page.locator("#bs-search textarea, #bs-search input").first
    search.fill("Nobody")
    search.press("Enter")
    expect(page.locator("#bs-found")).to_contain_text("no taxon, process id or BIN like")
    search.fill(specimen["processid"].lower())
    search.press("Enter")
    expect(page.locator("#bs-specimen .specimen")).to_contain_text(specimen["processid"])
    page.get_by_role("button", name="Identify this barcode").click()
    expect(answer(page).locator("h2")).to_have_text(specimen["processid"])
    expect(page.locator("#bs-barcodes textarea")).to_have_value(re.compile(f">{specimen['processid']}\n[ACGTN]+"))


def test_zooming(sample_app: str, open_page: OpenPage) -> None:
    page = open_page(sample_app)
    canvas = explore(page)
    whole = canvas.screenshot()
    tip = page.locator("#bs-map .tip")
    x, y = point_at(page, canvas)
    name = tip.text_content()
    page.mouse.wheel(0, -400)
    expect(tip).to_be_hidden()
    # What was near the pointer still is, at twice the distance.
    around = [(x + dx, y + dy) for dx in range(-20, 21, 10) for dy in range(-20, 21, 10)]
    names = set()
    for spot in around:
        page.mouse.move(*spot)
        names.add(tip.text_content() if tip.is_visible() else None)
    assert name in names
    page.mouse.move(5, 5)
    assert canvas.screenshot() != whole
    page.get_by_role("button", name="Show the whole map").click()
    page.mouse.move(5, 5)
    assert canvas.screenshot() == whole


def test_a_phone(sample_app: str, open_page: OpenPage) -> None:
    page = open_page(sample_app, width=400, height=850)
    button = page.get_by_role("button", name="Identify", exact=True)
    expect(button).to_be_visible()
    box = button.bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= 400
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) <= 400
    page.get_by_role("button", name="Known species").click()
    expect(answer(page).locator(".bs-name")).to_be_visible()
    assert page.evaluate(wide) <= 400
    canvas = explore(page)
    page.mouse.click(*point_at(page, canvas))
    expect(page.locator("#bs-specimen .specimen")).to_be_in_viewport()
    assert page.evaluate(wide) <= 400


def test_names_of_a_small_library_are_text_only(serve: Callable[[Served], str], open_page: OpenPage) -> None:
    """Three specimens without orders, whose names are code."""
    chosen = without(specimens("train", 3), "order")
    for name in ("processid", "species", "family", "dna_bin", "country"):
        chosen = with_column(chosen, name, [hostile(f"{name}{row}") for row in range(3)])
    served = Served(Identifier(Library.build(chosen), nearest=NEAREST), hostile("library"), False, Pictures())
    page = open_page(serve(served))
    # A dialog that opens would wait for an answer.
    page.on("dialog", lambda dialog: pytest.fail(f"ran: {dialog.message}"))
    ask(page, f">{hostile('query')}\n{chosen[0]['dna_barcode']}")
    expect(answer(page)).to_contain_text(hostile("species0"))
    canvas = explore(page)
    assert set(served.library.taxa) == set(RANKS) and not served.library.taxa["order"]
    for _ in range(3):
        page.locator("#bs-rings path[data-path]").last.dispatch_event("click")
        expect(page.locator("#bs-rings nav")).to_contain_text("All")
    page.locator("#bs-rings .middle").click()
    page.mouse.click(*point_at(page, canvas))
    expect(page.locator("#bs-specimen .specimen")).to_contain_text(
        re.compile(r"processid\d<script>alert\(1\)</script><img src=x")
    )
