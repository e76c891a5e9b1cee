"""`bioscan convert clibd`: checkpoints of CLIBD's reference code to model folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bioscan_hf.cli.convert.given import read_given

if TYPE_CHECKING:
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
) -> None:
    """Convert a checkpoint of CLIBD to a folder that AutoModel and AutoProcessor load, with a card.

    Known are checkpoints with two or three towers, trained whole or by LoRA, which is added to the weights; not those
    with OpenCLIP's towers. They are opened without running anything that is in them. FILE.json may hold, for instance,
    {"dna_pooling": "mean", "vision_config": {"num_attention_heads": 12}}; the pooling is that of the published
    checkpoints if none is given (head_softmax_mean), else head_mean, mean or cls.

    Example: bioscan convert clibd bioscan-ml/clibd:ckpt/bioscan_clip/ver_1_0/bioscan_5m/image_dna_text_4gpu/best.pth
    my-clibd
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
    console = Console(highlight=False)
    _show(conversion, console)
    console.print(f"Written to {folder}/")
    if push_to_hub is not None:
        console.print(f"Pushed: {push_folder(folder, push_to_hub, private=private)}")


def _show(conversion: ClibdConversion, console: Console) -> None:
    from bioscan_hf.hub.clibd_conversion import towers_in_words

    config = conversion.model.config
    console.print(f"Found: CLIBD, {' + '.join(config.modalities)}, {conversion.layout}")
    console.print(f"ClibdModel, {conversion.model.num_parameters():,} parameters, {config.projection_dim} dimensions")
    for name, words in towers_in_words(config).items():
        pooling = f"; pooling {config.dna_pooling}" if name == "dna" else ""
        console.print(f"Tower for {name}: {words}{pooling}")
    for line in conversion.found.assumed:
        console.print(f"Assumed: {line}")
    for line in conversion.left_out:
        console.print(f"Left out: {line}")
