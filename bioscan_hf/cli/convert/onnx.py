"""`bioscan convert onnx`: a BarcodeBERT for programs without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bioscan_hf.cli.screen import Json, Screen


def onnx(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder of a BarcodeBERT, or its id on the Hub.", show_default=False)
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE.onnx", help="File to write; replaced if it is there.", show_default=False)
    ],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.", show_default="main")] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Export the encoder of a BarcodeBERT as one ONNX file.

    Inputs are `input_ids` and `attention_mask`, outputs `last_hidden_state` and `pooler_output`, the embedding; the
    file's metadata tell how barcodes become ids. It is written if onnxruntime computes the same from it as torch from
    the model. Needs the extra `onnx`.

    Examples:
        bioscan convert onnx my-barcodebert barcodebert.onnx
    """
    if file.suffix != ".onnx":
        raise typer.BadParameter(f"'{file}' must end with .onnx.")
    # Imported here, so that help and wrong usage need not wait for them.
    from transformers.utils.logging import disable_progress_bar

    from bioscan_hf.evaluation.encoders.barcodebert import BarcodeBertEncoder
    from bioscan_hf.evaluation.encoders.loading import load_encoder
    from bioscan_hf.hub.onnx import TOLERANCE, export_onnx

    disable_progress_bar()
    encoder = load_encoder(model, revision=revision, device="cpu")
    if not isinstance(encoder, BarcodeBertEncoder):
        raise ValueError(f"'{model}' is no BarcodeBERT; other models are exported by optimum.")
    export_onnx(encoder.model, file)
    screen, size = Screen.open(as_json), file.stat().st_size
    screen.document({"file": file, "bytes": size, "tolerance": TOLERANCE})
    screen.words.print(
        f"Written to {file} ({size / 2**20:,.1f} MiB); its outputs are the model's within {TOLERANCE:.0e}."
    )
