"""The answer to one query as HTML: verdicts, nearest specimens, alignments, and a map."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from bioscan_hf.app.alignment import align, alignment_html
from bioscan_hf.app.answering import Answered, Row
from bioscan_hf.app.served import NEAREST, Served
from bioscan_hf.app.sites import Site, sites_svg
from bioscan_hf.app.specimen_view import SPECIMEN_CSS, specimen_html
from bioscan_hf.app.verdict import EVIDENCE, agreement_html, percent, verdict_html
from bioscan_hf.identification.results import nearest_prefix

Found = tuple[int, str, str]
"""Row of a specimen, its process id, and how similar it is."""
ANSWER_CSS = (
    SPECIMEN_CSS
    + """
.bs-cards .specimen { flex-wrap: nowrap; }
.bs-cards .specimen img, .bs-cards .specimen .no-picture { width: 6.5rem; }
@media (max-width: 640px) {
  .bs-cards .specimen img, .bs-cards .specimen .no-picture { width: 5rem; }
  .bs-cards .specimen dl { grid-template-columns: 1fr; } .bs-cards .specimen dt { display: none; }
}
"""
)
"""Style of the cards, for the `css_template` of the component that holds an answer."""


def answer_html(served: Served, answered: Answered, place: int) -> str:
    """Show the answer to a query.

    All text is escaped: names come from files of whoever asks, or built the library.

    Args:
        served: What is served.
        answered: The answers.
        place: Of the query.
    """
    rows = answered.rows[place]
    verdicts = "".join(verdict_html(row, answered.max_error) for row in rows)
    parts = [f"<h2>{escape(answered.queries.processids[place])}</h2>"]
    if len(rows) == 2:
        parts.append(agreement_html(rows))
    parts.append(f'<div class="bs-pair">{verdicts}</div>')
    found = [_found(served, row) for row in rows]
    for row, own in zip(rows, found, strict=True):
        parts.append(_nearest(served, row, own, len(rows) == 2))
    barcode = answered.queries.barcodes[place] if rows[0]["evidence"] == "barcode" else None
    alignments = _alignments(served, found[0], barcode) if barcode else ""
    parts.append(f'<div class="bs-two">{alignments}{_map(served, answered, place, found)}</div>')
    return f'<article class="bs-answer">{"".join(parts)}</article>'


def _found(served: Served, row: Row) -> list[Found]:
    """Nearest specimens: their rows, process ids, and how similar they are."""
    found: list[Found] = []
    for place in range(NEAREST):
        prefix = nearest_prefix(place)
        processid = row[f"{prefix}processid"]
        if processid is not None:
            identity, similarity = row[f"{prefix}identity"], row[f"{prefix}similarity"]
            same = "" if identity is None else f", {percent(identity)} of the letters equal"
            found.append((served.row_of(processid), processid, f"similarity {similarity:.3f}{same}"))
    return found


def _nearest(served: Served, row: Row, found: Sequence[Found], by_both: bool) -> str:
    cards = [
        f"<li>{specimen_html(served, specimen, caption=f'{number}. {told}')}</li>"
        for number, (specimen, _, told) in enumerate(found, 1)
    ]
    if not cards:
        return ""
    which = f", {EVIDENCE[row['evidence']].lower()}" if by_both else ""
    return f'<h3>Nearest specimens of the library{which}</h3><ol class="bs-cards">{"".join(cards)}</ol>'


def _alignments(served: Served, found: Sequence[Found], barcode: str) -> str:
    alignments = align(served.library, barcode, [place for place, *_ in found])
    parts = []
    for number, ((_, processid, _), alignment) in enumerate(zip(found, alignments, strict=True), 1):
        title = f"{number}. {escape(processid)}: {_count(int(alignment.differs.sum()))}"
        opened = " open" if number == 1 else ""
        parts.append(
            f'<details class="bs-details"{opened}><summary>{title}</summary>'
            f"{alignment_html(alignment, processid)}</details>"
        )
    return f"<section><h3>Letter by letter</h3>{''.join(parts)}</section>" if parts else ""


def _count(differences: int) -> str:
    return "1 difference" if differences == 1 else f"{differences} differences"


def _map(served: Served, answered: Answered, place: int, found: Sequence[Sequence[Found]]) -> str:
    sites: list[Site] = []
    without = 0
    for row, own in zip(answered.rows[place], found, strict=True):
        letter = "P" if row["evidence"] == "image" and len(answered.rows[place]) == 2 else ""
        for number, ((_, processid, _), where) in enumerate(zip(own, _places(served, own), strict=True), 1):
            if where is None:
                without += 1
            else:
                sites.append(Site(*where, f"{letter}{number}", f"{letter}{number}: {processid}"))
    latitude, longitude = answered.queries.latitudes[place], answered.queries.longitudes[place]
    if not np.isnan(latitude):
        sites.append(Site(float(latitude), float(longitude), "query", "the query", is_query=True))
    if not sites:
        return ""
    note = "Numbers are those of the nearest specimens"
    note += ", with P by photograph." if len(answered.rows[place]) == 2 else "."
    note += f" {without} of them have no coordinates." if without else ""
    return (
        f"<section><h3>Where the nearest were collected</h3>{sites_svg(sites)}"
        f'<p class="bs-muted">{note} Equal Earth projection; land: Natural Earth.</p></section>'
    )


def _places(served: Served, found: Sequence[Found]) -> list[tuple[float, float] | None]:
    table = served.facts.select(["coord-lat", "coord-lon"]).take(np.array([row for row, *_ in found], np.int64))
    pairs = zip(table["coord-lat"].to_pylist(), table["coord-lon"].to_pylist(), strict=True)
    return [None if latitude is None or longitude is None else (latitude, longitude) for latitude, longitude in pairs]
