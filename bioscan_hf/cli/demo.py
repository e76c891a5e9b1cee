"""`bioscan demo`: the whole way from records to a model, its results and its card."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bioscan_hf.cli.screen import Screen, bars

if TYPE_CHECKING:
    from datasets import Dataset

    from bioscan_hf.evaluation.results import Result


def demo(
    data: Annotated[
        Path | None,
        typer.Option(help="FASTA, CSV, TSV or Parquet file of specimens.", show_default="embedded simulated sample"),
    ] = None,
    splits: Annotated[
        Path | None, typer.Option(help="Table of processid and split.", show_default="column `split`, or drawn")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the model, its card, results and pictures.")] = Path(
        "bioscan-demo"
    ),
    max_steps: Annotated[int, typer.Option(help="Training steps of 32 barcodes.", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and masking.")] = 0,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="REPO", help="Push the model and its card to this repository.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Train a small BarcodeBERT and name specimens with it.

    Loads specimens, pretrains on their barcodes, embeds them, and compares its nearest neighbours with those of 4-mer
    counts: species among seen species, genus among unseen species. On two cores this takes a minute, and two to three
    for 30,000 specimens.

    Examples:
        # the embedded sample
        bioscan demo
        # barcodes of your own
        bioscan demo --data my_barcodes.fasta --output my-demo
    """
    # Imported here, so that help and wrong usage need not wait for them.
    from transformers.utils.logging import disable_progress_bar

    from bioscan_hf.data.files import staged
    from bioscan_hf.data.specimens import describe_source, load_specimens
    from bioscan_hf.hub.push import check_can_push, push_folder
    from bioscan_hf.training.demo import run_demo

    if private and push_to_hub is None:
        raise typer.BadParameter("--private is for --push-to-hub REPO, which was not given.")
    screen = Screen.open()
    words = screen.words
    disable_progress_bar()
    if push_to_hub is not None:
        check_can_push(push_to_hub)
    with staged(output) as stage:
        specimens = load_specimens(data, splits=splits)
        source = describe_source(data, splits)
        if None in (barcodes := set(specimens["dna_barcode"])):
            raise ValueError(f"'{data}' has specimens without barcode; the demonstration needs the barcode of each.")
        words.print(f"{len(specimens):,} specimens, {len(barcodes):,} distinct barcodes: {source[0]}")
        if not any(specimens["split"]):
            specimens = _with_splits(specimens, seed)
            words.print("No splits were given; drew pretrain, train, test and test_unseen.")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with bars(words, *columns, TimeRemainingColumn()) as progress:
            tasks = {}

            def report(task: str, done: int, total: int, remark: str) -> None:
                if task not in tasks:
                    tasks[task] = progress.add_task(task)
                progress.update(tasks[task], completed=done, total=total, description=task + remark)

            results = run_demo(
                specimens,
                stage,
                source=source,
                simulated=data is None,
                max_steps=max_steps,
                seed=seed,
                command=shlex.join(["bioscan", *sys.argv[1:]]),
                model_id=push_to_hub or ".",
                report=report,
            )
    _show(results, screen)
    words.print(f"Written to {output}/: model/ (with its card), results.json, embeddings.png, loss.png")
    if push_to_hub is not None:
        screen.answers.print(f"Pushed: {push_folder(output / 'model', push_to_hub, private=private)}")


def _with_splits(specimens: Dataset, seed: int) -> Dataset:
    import pyarrow as pa

    from bioscan_hf.data.partition import partition

    drawn = pa.array(partition(specimens, seed=seed), pa.string())
    return specimens.remove_columns("split").add_column("split", drawn)


def _show(results: list[Result], screen: Screen) -> None:
    from bioscan_hf.cli.tables import results_table
    from bioscan_hf.evaluation.probing import PROBES

    for probe in PROBES:
        if probe.name not in {result.benchmark for result in results}:
            screen.words.print(f"{probe.name}: left out; it needs a {probe.rank} in {probe.keys} and {probe.queries}.")
    if results:
        screen.answers.print(results_table(results))
