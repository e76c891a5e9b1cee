"""`bioscan library build`: reference specimens to a library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bioscan_hf.cli.benchmark.common import this_command
from bioscan_hf.cli.library.common import Source, Splits, load, reporting, show
from bioscan_hf.cli.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from datasets import Dataset

CALIBRATION = ("val", "val_unseen", "other_heldout")
"""Splits that probabilities are fitted on, if the specimens have them."""
HELD_OUT = "held-out"


def build(
    source: Source,
    output: Annotated[Path, typer.Option(help="Folder of the library.", show_default=False)],
    model: Annotated[
        str,
        typer.Option(
            help="By what barcodes are compared: `aligned`, their letters, weighed as the library's labels teach; or "
            "folder or repository of a BarcodeBERT or another DNA model. That of a CLIBD: as --image-model."
        ),
    ] = "aligned",
    image_model: Annotated[
        str | None,
        typer.Option(
            help="CLIBD by which images are compared: folder or repository, or `clibd-small`, which comes with the "
            "package and knows simulated specimens only.",
            show_default="none: images are not identified",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Splits of the reference specimens.", show_default="train, if there are splits; else all"),
    ] = None,
    splits: Splits = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="Splits that probabilities are fitted on, or `held-out` for a part of the specimens.",
            show_default="val+val_unseen+other_heldout, as far as there are such; else held-out",
        ),
    ] = None,
    dtype: Annotated[
        Literal["float32", "float16"] | None,
        typer.Option(
            help="Type of the vectors; float16 needs half the space.", show_default="float32, with --cells float16"
        ),
    ] = None,
    cells: Annotated[
        bool,
        typer.Option("--cells", help="For millions of specimens: compare a query with the nearest cells only (faiss)."),
    ] = False,
    on_error: Annotated[
        Literal["raise", "skip"], typer.Option(help="Stop at a bad record, or leave it out with a warning.")
    ] = "raise",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …", show_default="GPU if there is one")] = None,
) -> None:
    """Make a library of reference specimens, for `bioscan identify`.

    It learns from their labels how to compare barcodes, and from other specimens with labels how sure a name is: from
    those of the splits `val`, `val_unseen` and `other_heldout`, or from a part that it holds out first. The folder
    holds safetensors and Parquet only.

    Examples:
        bioscan library build my_reference.csv --output my-library
        # the embedded sample, barcodes and photographs
        bioscan library build sample --image-model clibd-small --output my-library
    """
    # Imported here, so that help and wrong usage need not wait for them.
    from transformers.utils.logging import disable_progress_bar

    from bioscan_hf.data.anywhere import describe_anywhere, is_own, own_split
    from bioscan_hf.identification.library import Library
    from bioscan_hf.identification.library_files import read_manifest, writing
    from bioscan_hf.identification.models import load_models
    from bioscan_hf.identification.search import load_faiss

    disable_progress_bar()
    words = Screen.open().words
    if cells:
        load_faiss()  # an error now, rather than after the work
    with writing(output) as save, reporting(words) as report:
        models = load_models(model, image_model, device=device)
        image = models.images is not None
        # A user's own file is read once.
        own = load(source, split=None, splits=splits, image=image, on_error=on_error) if is_own(source) else None
        divided = own is None or any(own["split"][:])
        split = split or ("train" if divided else None)

        def of(split: str | None) -> Dataset:
            if own is None:
                return load(source, split=split, splits=splits, image=image, on_error=on_error)
            return own if split is None else own_split(own, split, source)

        specimens = of(split)
        held_out: Dataset | None = None
        if calibration != HELD_OUT and (divided or calibration is not None):
            held_out = _others(of, calibration, split)
        name, revision = describe_anywhere(source, splits)
        info = {"source": name, "revision": revision, "split": split, "command": this_command()}
        library = Library.build(
            specimens,
            calibration=held_out,
            model=models.barcodes,
            image_model=models.images,
            info=info,
            dtype=dtype or ("float16" if cells else "float32"),  # in cells, vectors are float16 in any case
            cells=cells,
            report=report,
        )
        report("writing", 0, 1)
        save(library, None)
    show(output, read_manifest(output), words)
    words.print(f"\nWritten to {output}/. Now: bioscan identify QUERIES --library {output}")


def _others(of: Callable[[str], Dataset], wanted: str | None, split: str | None) -> Dataset | None:
    """Specimens that probabilities are fitted on; None if there are none of the usual splits."""
    from bioscan_hf.data.features import resolve_split

    chosen = wanted or "+".join(name for name in CALIBRATION if split is None or name not in resolve_split(split))
    if wanted and split and set(resolve_split(wanted)) & set(resolve_split(split)):
        raise typer.BadParameter(f"--calibration {wanted} and --split {split} have specimens in common.")
    if not chosen:
        return None
    try:
        return of(chosen)
    except ValueError:
        if wanted:
            raise
        return None
