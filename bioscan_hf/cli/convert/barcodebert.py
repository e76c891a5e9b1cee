"""`bioscan convert barcodebert`: checkpoints of the reference code to model folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bioscan_hf.cli.convert.given import read_given

if TYPE_CHECKING:
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
) -> None:
    """Convert a checkpoint of BarcodeBERT to a folder that AutoModel loads, with tokenizer and card.

    All layouts of the reference code are known: pretraining of 2023 and 2024, fine-tuned, BarcodeMAE, the files on the
    Hub. Checkpoints are opened without running anything that is in them. FILE.json may hold, for instance,
    {"num_attention_heads": 4, "generation": 2}; the generation (1, 2, 3) is that of the reference code.

    Example: bioscan convert barcodebert checkpoint_pretraining.pt my-barcodebert
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
    console = Console(highlight=False)
    _show(conversion, console)
    console.print(f"Written to {folder}/")
    if push_to_hub is not None:
        console.print(f"Pushed: {push_folder(folder, push_to_hub, private=private)}")


def _show(conversion: Conversion, console: Console) -> None:
    model, found = conversion.model, conversion.found
    console.print(f"Found: {conversion.layout}, generation {found.generation} of the reference code")
    given = [
        name for name, origin in found.sources.items() if origin == "--config" and name not in (*_SHOWN, "id2label")
    ]
    fields = ", ".join(f"{name} {found.fields[name]}" for name in (*_SHOWN, *given))
    console.print(f"{type(model).__name__}, {model.num_parameters():,} parameters: {fields}")
    for line in found.assumed:
        console.print(f"Assumed: {line}")
    for line in conversion.left_out:
        console.print(f"Left out: {line}")
