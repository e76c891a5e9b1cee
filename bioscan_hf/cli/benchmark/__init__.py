"""`bioscan benchmark`: the benchmarks of the BIOSCAN-5M paper, and that of identification."""

from __future__ import annotations

import typer

from bioscan_hf.cli.benchmark.barcode import barcode
from bioscan_hf.cli.benchmark.clustering import clustering
from bioscan_hf.cli.benchmark.identification import identification
from bioscan_hf.cli.benchmark.retrieval import retrieval

benchmark = typer.Typer(
    help="Run the benchmarks of the BIOSCAN-5M paper on a model of your own, or that of identification."
)
benchmark.command()(barcode)
benchmark.command()(clustering)
benchmark.command()(retrieval)
benchmark.command()(identification)
