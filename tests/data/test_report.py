import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from datasets import Dataset

from bioscan_hf.data.release import Published
from bioscan_hf.data.report import report_page, write_report
from bioscan_hf.data.statistics import Statistics, compute_statistics


@pytest.fixture(scope="module")
def statistics(sample: Dataset) -> Statistics:
    return compute_statistics(sample)


class Page(HTMLParser):
    """Tags that are open, attributes that load something, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def test_report_holds_its_pictures_and_all_figures(statistics: Statistics, tmp_path: Path) -> None:
    names = write_report(statistics, tmp_path, title="A title", source="a source")
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert not page.open and page.words.count("A title") == 2 and "a source" in page.words
    pictures = [base64.b64decode(link.removeprefix("data:image/png;base64,")) for link in page.links]
    assert pictures == [(tmp_path / name).read_bytes() for name in names if name.endswith(".png")]
    figures = json.loads((tmp_path / "statistics.json").read_text(encoding="utf-8"))
    assert figures["source"] == "a source" and figures["specimens"] == 16000
    assert figures["ranks"][6]["rank"] == "species" and figures["ranks"][6]["categories"] == 253
    assert {"16,000", "7,469", "253", "pretrain", "dna_bin", "Simland"} <= set(page.words)


def test_page_asks_the_network_for_nothing(statistics: Statistics) -> None:
    html = report_page(statistics, [], title="A title", source="a source")
    assert not Page(html).tags & {"script", "link", "iframe"}
    assert not re.search(r"https?:|url\(|@import", html)


def test_names_are_escaped(statistics: Statistics) -> None:
    hostile = "<script>alert('&')</script>"
    html = report_page(replace(statistics, countries=[(hostile, 3), (None, 1)]), [], title=hostile, source=hostile)
    page = Page(html)
    assert "script" not in page.tags and not page.open
    assert page.words.count(hostile) == 4 and "unknown" in page.words


def test_difference_from_published_sizes_is_shown(statistics: Statistics) -> None:
    (first, *_) = statistics.splits
    published = Published(first.specimens, first.barcodes + 1, first.species)
    html = report_page(replace(statistics, splits=[replace(first, published=published)]), [], title="", source="")
    words = Page(html).words
    assert words.count("as published") == 2 and words.count("published: 6,567") == 1
    assert html.count('class="differs"') == 1


def test_table_without_labels_makes_a_page(sample: Dataset, tmp_path: Path) -> None:
    names = ("split", "class", "order", "family", "species", "dna_bin", "country", "coord-lat", "coord-lon")
    bare = sample.select(range(5)).map(lambda row: dict.fromkeys(names))
    written = write_report(compute_statistics(bare), tmp_path, title="", source="")
    assert "sites.png" not in written and "taxonomy.png" not in written
    assert "no split" in Page((tmp_path / "index.html").read_text(encoding="utf-8")).words
