"""The answers to many queries as a table, of which a row is chosen."""

from __future__ import annotations

import base64
from html import escape

from bioscan_hf.app.answering import Answered, Row, agreed_rank
from bioscan_hf.app.verdict import finest_html, is_rated, percent, taxon_html

CHOOSE_JS = """
function choose(event) {
  const row = event.target.closest('tr[data-place]');
  if (!row) return;
  event.preventDefault();
  element.querySelectorAll('tr[aria-selected]').forEach(other => other.removeAttribute('aria-selected'));
  row.setAttribute('aria-selected', 'true');
  trigger('click', { place: Number(row.dataset.place) });
}
element.addEventListener('click', choose);
element.addEventListener('keydown', event => { if (event.key === 'Enter' || event.key === ' ') choose(event); });
"""
"""For the component that holds the table: a click on a row, or Enter, tells its `place`."""

_NONE = "\u2013"


def results_html(answered: Answered) -> str:
    """A row for each query; one with barcode and photograph is told by its barcode.

    Args:
        answered: The answers; for a single query there is no table.
    """
    if len(answered) < 2:
        return ""
    rated = any(is_rated(row) for rows in answered.rows for row in rows)
    rows = [_row(place, rows, rated) for place, rows in enumerate(answered.rows)]
    named = sum(rows[0]["safe_rank"] is not None for rows in answered.rows)
    new = sum(bool(rows[0]["novel"]) for rows in answered.rows)
    error = f"{100 * answered.max_error:g}\u00a0%"
    told = (
        f"{named:,} with a name that is safe at {error} errors, {new:,} of a species that is probably new"
        if rated
        else "the library is not calibrated, so that no name is called safe"
    )
    head = (
        f"<tr><th>query</th><th>{'safe name' if rated else 'name'}</th>"
        '<th class="bs-wide">rank</th><th>sure</th><th>new</th>'
        '<th class="bs-wide">identity</th><th class="bs-wide">notes</th></tr>'
    )
    return (
        f"<p><b>{len(answered):,} queries</b>: {told}. Choose a row to see its answer below.</p>"
        f'<div class="bs-scroll"><table class="bs-results"><thead>{head}</thead><tbody>{"".join(rows)}</tbody>'
        "</table></div>"
    )


def download_html(answered: Answered) -> str:
    """A link to the results as a file, which lies in the link itself, so that nothing is left on the server.

    Args:
        answered: The answers.
    """
    content = base64.b64encode(answered.csv()).decode()
    return f'<a class="bs-download" download="names.csv" href="data:text/csv;base64,{content}">Download as CSV</a>'


def _row(place: int, rows: list[Row], rated: bool) -> str:
    row = rows[0]
    rank = row["safe_rank"]
    name = taxon_html(rank, row["safe_taxon"]) if rank else _NONE if rated else finest_html(row) or _NONE
    sure = percent(row[f"{rank}_probability"]) if rank else _NONE
    new = _NONE if row["novelty"] is None else f"{'yes, ' if row['novel'] else ''}{percent(row['novelty'])}"
    identity = _NONE if row["nearest_identity"] is None else percent(row["nearest_identity"])
    notes = [row["notes"]] if row["notes"] else []
    if len(rows) == 2:
        notes.append(f"with photograph: same {agreed_rank(rows)}" if agreed_rank(rows) else "photograph disagrees")
    selected = ' aria-selected="true"' if place == 0 else ""
    return (
        f'<tr data-place="{place}" tabindex="0"{selected}><td>{escape(row["processid"])}</td><td>{name}</td>'
        f'<td class="bs-wide">{rank or ""}</td><td>{sure}</td><td>{new}</td><td class="bs-wide">{identity}</td>'
        f'<td class="bs-wide">{escape("; ".join(notes))}</td></tr>'
    )
