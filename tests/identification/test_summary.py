import base64
import io
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from bioscan_hf import __version__
from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.result_counts import ResultCounts
from bioscan_hf.identification.summary import TAXA, Origin, Summary
from tests.made_results import made_results, rows

ORIGIN = Origin("field.fasta", "my-library", 10931, "barcodebert-small", 0.025, "bioscan identify field.fasta")
RINGS, NOVELTY, IDENTITY, MAP = "Rings of classes", "Number of queries by novelty", "alignment identity", "Map of"


class Page(HTMLParser):
    """What a page shows: text, and pictures by the text for those who do not see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.pictures: dict[str, bytes] = {}
        self.text = ""
        self.feed(html)
        assert not self.open
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        values = dict(attrs)
        assert not values.keys() & {"href", "srcset"}
        if tag == "img":
            data = values["src"] or ""
            assert data.startswith("data:image/png;base64,")
            self.pictures[values["alt"] or ""] = base64.b64decode(data.partition(",")[2])
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f" {data}" if self.open and self.open[-1] != "style" else ""

    def shows(self, alt: str) -> bool:
        return any(alt in text for text in self.pictures)


def summary_of(results: pa.Table, batch: int = 97) -> Summary:
    summary = Summary()
    for start in range(0, len(results), batch):
        summary.add(results.slice(start, batch))
    return summary


def page_of(results: pa.Table) -> Page:
    return Page(summary_of(results).page(ORIGIN))


@pytest.fixture(scope="module")
def results() -> pa.Table:
    return made_results(1500)


@pytest.fixture(scope="module")
def html(results: pa.Table) -> str:
    return summary_of(results).page(ORIGIN)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_sizes_and_order_of_the_batches_do_not_matter(results: pa.Table, html: str) -> None:
    turned = results.take(pa.array(range(len(results) - 1, -1, -1)))
    assert summary_of(turned, 777).page(ORIGIN) == html


def test_page_holds_figures_and_pictures(page: Page, results: pa.Table) -> None:
    counts = summary_of(results).counts
    species, none = counts.safe_ranks["species"], counts.safe_ranks[None]
    for tile in (
        "1,500 queries",
        f"{species:,} {100 * species / 1500:.1f} % named to species, safely",
        f"{counts.novel:,} {100 * counts.novel / 1500:.1f} % flagged as novel",
        f"{none:,} {100 * none / 1500:.1f} % without a safe name",
        f"{counts.noted:,} {100 * counts.noted / 1500:.1f} % with notes",
    ):
        assert tile in page.text
    both = species + counts.safe_ranks["genus"]
    genus = counts.safe_ranks["genus"]
    assert f"genus {genus:,} {genus / 15:.1f} % {both:,} {both / 15:.1f} %" in page.text
    assert f"none {none:,} {none / 15:.1f} %" in page.text
    first = counts.taxa()[0]
    assert first.identity is not None
    assert f"{first.name} {first.rank} {first.queries:,} {100 * first.identity:.1f} %" in page.text
    assert f"The {TAXA} most frequent of {len(counts.taxa())} taxa" in page.text
    assert f"stop codon {counts.notes['stop codon']}" in page.text
    located = sum(count for *_, count in counts.places())
    assert f"{located:,} have coordinates, {1500 - located:,} have none" in page.text
    assert all(page.shows(alt) for alt in (RINGS, NOVELTY, IDENTITY, MAP)) and len(page.pictures) == 4
    for content in page.pictures.values():
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
        assert min(pixels.shape) > 400 and pixels.std() > 5


def test_page_says_how_it_was_made_and_what_it_means(page: Page) -> None:
    for fact in ("field.fasta", "my-library, 10,931 specimens", "barcodebert-small", "bioscan identify field.fasta"):
        assert fact in page.text
    assert f"bioscan_hf {__version__}" in page.text
    assert "wrong in at most 2.5 % of the cases" in page.text
    assert "Novelty is the probability that the species of a query is not in the library; from 0.5 on" in page.text


def test_page_asks_the_network_for_nothing(html: str, page: Page) -> None:
    assert not page.tags.keys() & {"script", "link", "iframe"}
    assert not re.search(r"https?:|url\(|@import", html)


def test_file_is_the_page(tmp_path: Path) -> None:
    summary = summary_of(rows({"notes": "an é"}))
    path = tmp_path / "new" / "page.html"
    summary.write(path, ORIGIN)
    assert path.read_text(encoding="utf-8") == summary.page(ORIGIN)
    assert list(path.parent.iterdir()) == [path]


def test_names_are_escaped() -> None:
    hostile = "<script>alert('&')</script>"
    names = dict.fromkeys(RANKS, hostile)
    table = rows({**names, "safe_rank": "species", "safe_taxon": hostile, "evidence": hostile, "notes": "<b>x</b>"})
    summary = summary_of(table)
    page = Page(summary.page(Origin(hostile, hostile, 1, hostile, 0.01, hostile)))
    assert "script" not in page.tags and "<b>x</b>" in page.text
    # In the legends (2), the table of taxa, the evidence, the title, and the origin (4).
    assert page.text.count(hostile) == 9


def test_no_queries_make_a_page() -> None:
    for summary in (Summary(), summary_of(made_results(0))):
        page = Page(summary.page(ORIGIN))
        assert "0 queries" in page.text and "There were no queries." in page.text and "my-library" in page.text
        assert not page.pictures and "%" not in page.text.replace("2.5 %", "")


def test_queries_without_names_make_a_page() -> None:
    page = page_of(rows(*[{"notes": "the barcode is empty"}] * 3, {"notes": "not like the barcodes of the library"}))
    assert "None of the queries could be named" in page.text and not page.pictures
    assert "4 100.0 % without a safe name" in page.text and "the barcode is empty 3 75.0 %" in page.text
    assert "nothing to go by: 4" in page.text


def test_names_without_probabilities_are_explained() -> None:
    page = page_of(rows({**dict.fromkeys(RANKS, "x"), "nearest_identity": 0.5, "evidence": "barcode"}))
    assert "The library is not calibrated" in page.text and page.shows(IDENTITY) and not page.shows(RINGS)


def test_images_have_no_identity_and_places_may_be_missing() -> None:
    row = {**dict.fromkeys(RANKS, "x"), "safe_rank": "species", "safe_taxon": "x", "evidence": "image", "novelty": 0.3}
    page = page_of(rows(*[{**row, "species_probability": 0.9, "coord-lat": np.nan, "coord-lon": np.nan}] * 2))
    assert (
        "x species 2 \u2013" in page.text and "image: 2" in page.text and "None of the queries has a note" in page.text
    )
    assert page.shows(NOVELTY) and page.shows(RINGS) and not page.shows(IDENTITY) and not page.shows(MAP)


def test_missing_column_is_an_error() -> None:
    with pytest.raises(KeyError, match="novelty"):
        ResultCounts().add(made_results(3).drop_columns(["novelty"]))
