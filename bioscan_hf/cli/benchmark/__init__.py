"""`bioscan benchmark`: the benchmarks of the BIOSCAN-5M paper, and that of identification."""

from __future__ import annotations

from bioscan_hf.cli.benchmark.barcode import barcode
from bioscan_hf.cli.benchmark.clustering import clustering
from bioscan_hf.cli.benchmark.identification import identification
from bioscan_hf.cli.benchmark.retrieval import retrieval
from bioscan_hf.cli.help import Program

benchmark = Program(
    help="""Run the benchmarks of the BIOSCAN-5M paper on a model of your own, or that of identification.

    Examples:
        # the packaged model on the embedded sample: half a minute
        bioscan benchmark barcode
        bioscan benchmark retrieval --model me/my-clibd --data bioscan-ml/BIOSCAN-5M
    """
)
benchmark.command()(barcode)
benchmark.command()(clustering)
benchmark.command()(retrieval)
benchmark.command()(identification)
