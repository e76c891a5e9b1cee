"""`bioscan data convert`: released archives to Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from bioscan_hf.cli.data.verify import reporting, show_checks


def convert(
    source: Annotated[
        Path,
        typer.Argument(help="Folder with the released archives, or with what they unpack to.", show_default=False),
    ],
    folder: Annotated[
        Path, typer.Argument(help="Where to write: a new folder, or one to go on with.", show_default=False)
    ],
    package: Annotated[
        list[str] | None,
        typer.Option(help="Image package; may be given several times.", show_default="all that are there"),
    ] = None,
    metadata_only: Annotated[bool, typer.Option("--metadata-only", help="Convert no images.")] = False,
    num_proc: Annotated[
        int | None, typer.Option(help="Processes, or tasks at a time on a cluster.", min=1, show_default="1, or all")
    ] = None,
    on_error: Annotated[
        Literal["raise", "skip"],
        typer.Option(help="Stop at a bad record, a missing or a damaged image, or leave it out and list it."),
    ] = "raise",
    executor: Annotated[
        Literal["local", "slurm", "ray"],
        typer.Option(help="Write images on this machine, in jobs of Slurm, or on a Ray cluster."),
    ] = "local",
    partition: Annotated[str | None, typer.Option(help="Slurm: partition of the jobs.")] = None,
    time: Annotated[str | None, typer.Option(help="Slurm: time limit of a job, as 1:00:00.")] = None,
    environment: Annotated[
        str | None, typer.Option(help="Slurm: command that makes Python and this package available in a job.")
    ] = None,
) -> None:
    """Convert the released archives to Parquet files, with the card of the dataset.

    `load_dataset` reads the result, `bioscan data push` publishes it. Interrupted or killed, the same command goes on
    where it was; more images can be added later. report.json, which comes last, lists checksums, counts, what was left
    out and what was verified.

    Example: bioscan data convert bioscan5m bioscan5m-parquet --num-proc 4
    """
    if metadata_only and package:
        raise typer.BadParameter("--metadata-only and --package contradict each other; give one of them.")
    slurm = {"partition": partition, "time": time, "env_command": environment}
    if executor == "slurm" and not (partition and time):
        raise typer.BadParameter("--executor slurm needs --partition and --time.")
    if executor != "slurm" and any(slurm.values()):
        raise typer.BadParameter("--partition, --time and --environment are for --executor slurm.")
    console = Console(highlight=False)
    with reporting(console) as report:
        common: dict[str, Any] = {
            "packages": [] if metadata_only else package,
            "on_error": on_error,
            "report": report,
        }
        # Imported here, so that help and wrong usage need not wait for them.
        if executor == "local":
            from bioscan_hf.data.conversion import convert as convert_here

            result = convert_here(source, folder, num_proc=num_proc or 1, **common)
        else:
            from bioscan_hf.data.cluster import convert_on_cluster

            options = {"workers": num_proc or -1, **{name: value for name, value in slurm.items() if value}}
            submitted = convert_on_cluster(source, folder, executor=executor, options=options, **common)
            if submitted is None:
                console.print(f"Jobs are submitted; their logs are in {folder}/.logs/.")
                console.print("When report.json is there, the same command without --executor writes the card.")
                return
            result = submitted
    _finish(folder, result, console)


def _finish(folder: Path, result: dict[str, Any], console: Console) -> None:
    from bioscan_hf.data.metadata_checks import Check
    from bioscan_hf.hub.dataset_cards import save_dataset_card

    save_dataset_card(folder)
    for family, splits in result["rows"].items():
        console.print(f"{family}: {sum(splits.values()):,} specimens in {', '.join(splits)}")
    if skipped := result["skipped"]:
        first = skipped[0]
        console.print(
            f"{len(skipped):,} left out, see report.json; the first is {first['processid']}: {first['reason']}"
        )
    console.print(f"Written to {folder}/")
    show_checks([Check(**check) for check in result["checks"]], console)
