"""Tables on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from bioscan_hf.evaluation.results import Result, result_rows


def results_table(results: Sequence[Result]) -> Table:
    """Results with one row per benchmark and one column per model."""
    header, rows = result_rows(results)
    table = Table(*header)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    return table
