"""`bioscan convert clibd`: checkpoints of CLIBD's reference code to model folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bioscan_hf.cli.convert.given import read_given
from bioscan_hf.cli.screen import Json, Screen

if TYPE_CHECKING:
    from rich.console import Console

    from bioscan_hf.models.clibd.convert_clibd import ClibdConversion


def clibd(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="Checkpoint of CLIBD (.pth, .pt, .safetensors), or REPO:PATH/IN/REPO of one on the Hub.",
            show_default=False,
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DST", help="New folder for the model.", show_default=False)],
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="What the checkpoint does not tell: `dna_pooling`, fields of the towers' configs."
        ),
    ] = None,
    text_tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="REPO_OR_FOLDER", help="Tokenizer of the tower for text.", show_default="prajjwal1/bert-small"
        ),
    ] = None,
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Keep LoRA apart, as an adapter for peft in DST/adapter.")
    ] = False,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="REPO", help="Push the model and its card to this repository.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Convert a checkpoint of CLIBD to a folder that AutoModel and AutoProcessor load, with a card.

    Known are checkpoints with two or three towers, trained whole or by LoRA, which is added to the weights; not those
    with OpenCLIP's towers. They are opened without running anything that is in them. FILE.json may hold, for instance,
    {"dna_pooling": "mean", "vision_config": {"num_attention_heads": 12}}; the pooling is that of the published
    checkpoints if none is given (head_softmax_mean), else head_mean, mean or cls.

    Examples:
        bioscan convert clibd best.pth my-clibd
        # a file in a repository on the Hub
        bioscan convert clibd me/checkpoints:image_dna_text/best.pth my-clibd
    """
    if private and push_to_hub is None:
        raise typer.BadParameter("--private is for --push-to-hub REPO, which was not given.")
    # Imported here, so that help and wrong usage need not wait for them.
    from transformers.utils.logging import disable_progress_bar

    from bioscan_hf.hub.clibd_conversion import TEXT_TOKENIZER, convert_clibd_to_folder
    from bioscan_hf.hub.conversion import check_is_new, find_file
    from bioscan_hf.hub.push import check_can_push, push_folder
    from bioscan_hf.models.clibd.convert_config import check_given

    disable_progress_bar()
    given = read_given(config, check_given)
    check_is_new(folder)
    if push_to_hub is not None:
        check_can_push(push_to_hub)
    conversion = convert_clibd_to_folder(
        find_file(source),
        folder,
        given=given,
        text_tokenizer=text_tokenizer or TEXT_TOKENIZER,
        adapter=adapter,
        model_id=push_to_hub or ".",
    )
    screen = Screen.open(as_json)
    _show(conversion, screen.words)
    screen.words.print(f"Written to {folder}/")
    address = None if push_to_hub is None else push_folder(folder, push_to_hub, private=private)
    if address is not None:
        screen.answers.print(f"Pushed: {address}")
    screen.document({"folder": folder, **_document(conversion), "pushed": address})


def _document(conversion: ClibdConversion) -> dict[str, Any]:
    return {
        "model": type(conversion.model).__name__,
        "parameters": conversion.model.num_parameters(),
        "layout": conversion.layout,
        "assumed": list(conversion.found.assumed),
        "left_out": list(conversion.left_out),
    }


def _show(conversion: ClibdConversion, words: Console) -> None:
    from bioscan_hf.hub.clibd_conversion import towers_in_words

    config = conversion.model.config
    words.print(f"Found: CLIBD, {' + '.join(config.modalities)}, {conversion.layout}")
    words.print(f"ClibdModel, {conversion.model.num_parameters():,} parameters, {config.projection_dim} dimensions")
    for name, tower in towers_in_words(config).items():
        pooling = f"; pooling {config.dna_pooling}" if name == "dna" else ""
        words.print(f"Tower for {name}: {tower}{pooling}")
    for line in conversion.found.assumed:
        words.print(f"Assumed: {line}")
    for line in conversion.left_out:
        words.print(f"Left out: {line}")
