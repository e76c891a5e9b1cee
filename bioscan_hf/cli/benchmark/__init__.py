"""`bioscan benchmark`: the benchmarks of the BIOSCAN-5M paper."""

from __future__ import annotations

import typer

from bioscan_hf.cli.benchmark.barcode import barcode
from bioscan_hf.cli.benchmark.clustering import clustering
from bioscan_hf.cli.benchmark.retrieval import retrieval

benchmark = typer.Typer(help="Run the benchmarks of the BIOSCAN-5M paper on a model of your own.")
benchmark.command()(barcode)
benchmark.command()(clustering)
benchmark.command()(retrieval)
