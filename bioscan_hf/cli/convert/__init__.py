"""`bioscan convert`: models from and for other programs."""

from bioscan_hf.cli.convert.barcodebert import barcodebert
from bioscan_hf.cli.convert.clibd import clibd
from bioscan_hf.cli.convert.onnx import onnx
from bioscan_hf.cli.help import Program

convert = Program(
    help="""Convert models: from checkpoints of the reference code, and to ONNX.

    Examples:
        bioscan convert barcodebert checkpoint_pretraining.pt my-barcodebert
        bioscan convert onnx my-barcodebert barcodebert.onnx
    """
)


for command in (barcodebert, clibd, onnx):
    convert.command()(command)
