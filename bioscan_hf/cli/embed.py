"""`bioscan embed`: an embedding for each specimen, however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from bioscan_hf.cli import completion
from bioscan_hf.cli.screen import Json, Screen, bars
from bioscan_hf.models.pretrained import DEFAULT_ENCODER

if TYPE_CHECKING:
    from bioscan_hf.data.records import BadRecord
    from bioscan_hf.evaluation.bulk.run import Written
    from bioscan_hf.evaluation.encoders.base import Report


def embed(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="FASTA, CSV, TSV or Parquet file; folder of images with a table; folder with the released archives, "
            "unpacked or converted; or repository on the Hub.",
            autocompletion=completion.sources,
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option(help="A file *.parquet, or else a folder for shards of about 500 MB.", show_default=False)
    ],
    model: Annotated[
        str,
        typer.Option(
            help="Folder or repository of a BarcodeBERT or another DNA model; kmer:4 for 4-mer counts; by default the "
            "small BarcodeBERT that comes with the package.",
            autocompletion=completion.models,
        ),
    ] = DEFAULT_ENCODER,
    split: Annotated[
        str | None,
        typer.Option(help="Split, or sum as train+val.", autocompletion=completion.splits, show_default="all"),
    ] = None,
    dtype: Annotated[Literal["float32", "float16"], typer.Option(help="Type of the numbers in the file.")] = "float32",
    precision: Annotated[
        Literal["float32", "bfloat16", "int8"], typer.Option(help="Precision in which the model computes.")
    ] = "float32",
    normalise: Annotated[bool, typer.Option(help="Give each embedding length 1.")] = True,
    on_error: Annotated[
        Literal["raise", "skip"],
        typer.Option(help="Stop at a missing or bad barcode, or leave it out and list it in OUTPUT.skipped.csv."),
    ] = "raise",
    batch_size: Annotated[
        int | None, typer.Option(help="Barcodes in a forward pass.", min=1, show_default="32, on a GPU 256")
    ] = None,
    reading_frames: Annotated[
        int | None,
        typer.Option(
            help="Average over this many starts; k makes it independent of the first letter.",
            min=1,
            show_default="as the model says, mostly 1",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …", show_default="GPU if there is one")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the model.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the code in the model's repository.")
    ] = False,
    executor: Annotated[
        Literal["local", "slurm", "ray"], typer.Option(help="Compute here, in jobs of Slurm, or on a Ray cluster.")
    ] = "local",
    tasks: Annotated[
        int | None, typer.Option(help="Cluster: number of tasks.", min=1, show_default="one per 100,000 barcodes")
    ] = None,
    cpus_per_task: Annotated[int | None, typer.Option(help="Cluster: cores of a task.", min=1)] = None,
    gpus_per_task: Annotated[int | None, typer.Option(help="Cluster: GPUs of a task.", min=0)] = None,
    partition: Annotated[str | None, typer.Option(help="Slurm: partition of the jobs.")] = None,
    time: Annotated[str | None, typer.Option(help="Slurm: time limit of a job, as 1:00:00.")] = None,
    environment: Annotated[
        str | None, typer.Option(help="Slurm: command that makes Python and this package available in a job.")
    ] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    r"""Embed the barcodes of specimens; process ids and embeddings go to a Parquet file, in the order of the input.

    Each distinct barcode is computed once. Interrupted or killed, the same command goes on where it was. With several
    GPUs, or machines that share a disk, start it by `torchrun --no-python --nproc-per-node 4 bioscan embed ...`.

    Examples:
        bioscan embed my_barcodes.fasta --output embeddings.parquet
        # a model from the Hub, a split of the dataset, half the space
        bioscan embed bioscan-ml/BIOSCAN-5M --split test --dtype float16 \
            --model bioscan-ml/BarcodeBERT --output embeddings
    """
    slurm = {"partition": partition, "time": time, "env_command": environment}
    given = {"cpus_per_task": cpus_per_task, "gpus_per_task": gpus_per_task, **slurm}
    options = {name: value for name, value in given.items() if value is not None}
    if executor == "slurm" and not (partition and time):
        raise typer.BadParameter("--executor slurm needs --partition and --time.")
    if executor != "slurm" and any(slurm.values()):
        raise typer.BadParameter("--partition, --time and --environment are for --executor slurm.")
    if executor == "local" and (options or tasks):
        raise typer.BadParameter("--tasks, --cpus-per-task and --gpus-per-task are for --executor slurm or ray.")
    # Imported here, so that help and wrong usage need not wait for them.
    from transformers.utils.logging import disable_progress_bar

    from bioscan_hf.evaluation.bulk.run import embed_to_parquet, processes
    from bioscan_hf.evaluation.bulk.specimens import load_barcodes
    from bioscan_hf.evaluation.encoders.loading import load_encoder

    disable_progress_bar()
    settings: dict[str, Any] = {
        "precision": precision,
        "batch_size": batch_size,
        "reading_frames": reading_frames,
        "revision": revision,
        "trust_remote_code": trust_remote_code,
    }
    load = partial(load_encoder, _absolute(model), **settings)
    skipped: list[BadRecord] = []
    common: dict[str, Any] = {"dtype": dtype, "normalise": normalise, "on_error": on_error, "skipped": skipped}
    screen = Screen.open(as_json)
    if executor != "local":
        from bioscan_hf.evaluation.bulk.cluster import embed_on_cluster

        specimens = load_barcodes(source, split=split, on_error=on_error, skipped=skipped)
        there = partial(load, device=device)
        result = embed_on_cluster(there, specimens, output, executor=executor, tasks=tasks, options=options, **common)
        if result is None:
            screen.document({"output": output, "submitted": True})
            logs = output.with_name(f".{output.name}.logs")
            screen.words.print(f"Jobs are submitted; the last one writes {output}. Their logs are in {logs}/.")
            screen.words.print("If a job fails, the same command goes on, with or without --executor.")
        else:
            _show(result, output, screen)
        return
    state = processes(cpu=device == "cpu")
    several = state.num_processes > 1
    encoder = load(device=str(state.device) if several else device)
    with _reporting(screen.words, hidden=not state.is_main_process) as report:
        specimens = (
            load_barcodes(source, split=split, on_error=on_error, skipped=skipped) if state.is_main_process else None
        )
        result = embed_to_parquet(encoder, specimens, output, report=report, **common)
    if state.is_main_process:
        _show(result, output, screen)


def _absolute(model: str) -> str:
    """A folder as jobs, which start elsewhere, find it; anything else as it is."""
    path = Path(model).expanduser()
    return str(path.absolute()) if path.exists() else model


class _Speed(ProgressColumn):
    """Barcodes per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} barcodes/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def _reporting(console: Console, *, hidden: bool) -> Iterator[Report]:
    """Show a bar: first that specimens are read, then how many distinct barcodes are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), _Speed(), TimeRemainingColumn())
    with bars(Console(quiet=True) if hidden else console, *columns) as progress:
        task = progress.add_task("Reading specimens", total=None)

        def report(done: int, total: int) -> None:
            progress.update(task, description=f"{total:,} distinct barcodes", completed=done, total=total)

        yield report


def _show(result: Written, output: Path, screen: Screen) -> None:
    screen.document({**asdict(result), "output": output})
    speed = f", {result.computed / result.seconds:,.0f} barcodes/s" if result.computed and result.seconds else ""
    screen.words.print(
        f"{result.specimens:,} specimens, {result.barcodes:,} distinct barcodes, {result.dimension} dimensions: "
        f"{output}{speed}"
    )
    if result.skipped:
        screen.words.print(f"{result.skipped:,} specimens are left out, see {output}.skipped.csv")
