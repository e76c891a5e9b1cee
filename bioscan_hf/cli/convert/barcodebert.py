"""`bioscan convert barcodebert`: checkpoints of the reference code to model folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bioscan_hf.cli.convert.given import read_given
from bioscan_hf.cli.screen import Json, Screen

if TYPE_CHECKING:
    from rich.console import Console

    from bioscan_hf.models.barcodebert.convert_barcodebert import Conversion


_SHOWN = (
    *("kmer_size", "vocabulary", "hidden_size", "num_hidden_layers", "num_attention_heads"),
    *("max_nucleotides", "pooling", "attend_to_padding"),
)


def barcodebert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="Checkpoint of BarcodeBERT or BarcodeMAE (.pt, .pth, .safetensors), folder with config.json and "
            "weights, or model on the Hub.",
            show_default=False,
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DST", help="New folder for the model.", show_default=False)],
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="What the checkpoint does not tell: fields of BarcodeBertConfig."),
    ] = None,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="REPO", help="Push the model and its card to this repository.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Convert a checkpoint of BarcodeBERT to a folder that AutoModel loads, with tokenizer and card.

    All layouts of the reference code are known: pretraining of 2023 and 2024, fine-tuned, BarcodeMAE, the files on the
    Hub. Checkpoints are opened without running anything that is in them. FILE.json may hold, for instance,
    {"num_attention_heads": 4, "generation": 2}; the generation (1, 2, 3) is that of the reference code.

    Examples:
        bioscan convert barcodebert checkpoint_pretraining.pt my-barcodebert
        # what is published on the Hub
        bioscan convert barcodebert bioscan-ml/BarcodeBERT my-barcodebert
    """
    if private and push_to_hub is None:
        raise typer.BadParameter("--private is for --push-to-hub REPO, which was not given.")
    # Imported here, so that help and wrong usage need not wait for them.
    from transformers.utils.logging import disable_progress_bar

    from bioscan_hf.hub.conversion import check_is_new, convert_to_folder, find_source
    from bioscan_hf.hub.push import check_can_push, push_folder
    from bioscan_hf.models.barcodebert.convert_config import check_given

    disable_progress_bar()
    given = read_given(config, check_given)
    check_is_new(folder)
    if push_to_hub is not None:
        check_can_push(push_to_hub)
    conversion = convert_to_folder(find_source(source), folder, given=given, model_id=push_to_hub or ".")
    screen = Screen.open(as_json)
    _show(conversion, screen.words)
    screen.words.print(f"Written to {folder}/")
    address = None if push_to_hub is None else push_folder(folder, push_to_hub, private=private)
    if address is not None:
        screen.answers.print(f"Pushed: {address}")
    screen.document({"folder": folder, **_document(conversion), "pushed": address})


def _document(conversion: Conversion) -> dict[str, Any]:
    return {
        "model": type(conversion.model).__name__,
        "parameters": conversion.model.num_parameters(),
        "layout": conversion.layout,
        "assumed": list(conversion.found.assumed),
        "left_out": list(conversion.left_out),
    }


def _show(conversion: Conversion, words: Console) -> None:
    model, found = conversion.model, conversion.found
    words.print(f"Found: {conversion.layout}, generation {found.generation} of the reference code")
    given = [
        name for name, origin in found.sources.items() if origin == "--config" and name not in (*_SHOWN, "id2label")
    ]
    fields = ", ".join(f"{name} {found.fields[name]}" for name in (*_SHOWN, *given))
    words.print(f"{type(model).__name__}, {model.num_parameters():,} parameters: {fields}")
    for line in found.assumed:
        words.print(f"Assumed: {line}")
    for line in conversion.left_out:
        words.print(f"Left out: {line}")
