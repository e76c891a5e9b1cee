"""The statistics of a dataset as a page: one HTML file that holds its pictures and asks the network for nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from bioscan_hf import __version__
from bioscan_hf.data.pictures import save_pictures
from bioscan_hf.data.statistics import Statistics

COUNTRIES = 20


def write_report(statistics: Statistics, folder: Path, *, title: str, source: str) -> list[str]:
    """Write `statistics.json`, the pictures as PNG files, and `index.html` with both.

    Args:
        statistics: What is shown.
        folder: Where to write; it must exist.
        title: Heading of the page.
        source: What was counted, one line.

    Returns:
        Names of the files.
    """
    figures = {"source": source, "bioscan_hf": __version__, **asdict(statistics)}
    (folder / "statistics.json").write_text(json.dumps(figures, ensure_ascii=False), encoding="utf-8")
    pictures = [(folder / f"{picture.name}.png", picture.alt) for picture in save_pictures(statistics, folder)]
    page = report_page(statistics, pictures, title=title, source=source)
    (folder / "index.html").write_text(page, encoding="utf-8")
    return ["index.html", "statistics.json", *(path.name for path, _ in pictures)]


def report_page(statistics: Statistics, pictures: Sequence[tuple[Path, str]], *, title: str, source: str) -> str:
    """The page as HTML.

    Args:
        statistics: What the tables show.
        pictures: PNG files, which become part of the page, each with a text for those who do not see it.
        title: Heading of the page.
        source: What was counted, one line.
    """
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string((files("bioscan_hf.data") / "report.html").read_text(encoding="utf-8"))
    return template.render(
        statistics=statistics,
        ranks={row.rank: row for row in statistics.ranks},
        countries=statistics.countries[:COUNTRIES],
        tiles=_tiles(statistics),
        pictures=[(base64.b64encode(path.read_bytes()).decode(), alt) for path, alt in pictures],
        title=title,
        source=source,
        version=__version__,
    )


def _tiles(statistics: Statistics) -> list[tuple[str, str]]:
    ranks = {row.rank: row for row in statistics.ranks}
    barcodes, letters = ranks["dna_barcode"], statistics.barcodes
    return [
        ("specimens", f"{statistics.specimens:,}"),
        ("distinct barcodes", f"{barcodes.categories:,}"),
        ("BINs", f"{ranks['dna_bin'].categories:,}"),
        ("species", f"{ranks['species'].categories:,}"),
        ("with a species label", f"{ranks['species'].labelled_percent:.1f} %"),
        ("countries", f"{sum(name is not None for name, _ in statistics.countries):,}"),
        ("barcodes with N", f"{100 * letters.with_n / max(barcodes.labelled, 1):.1f} %"),
        ("with other letters than ACGTN", f"{100 * letters.with_other_letters / max(barcodes.labelled, 1):.1f} %"),
    ]
