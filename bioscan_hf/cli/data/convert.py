"""`bioscan data convert`: released archives to Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bioscan_hf.cli.data.verify import reporting, show_checks
from bioscan_hf.cli.screen import Screen


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
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json and nothing else.")] = False,
) -> None:
    """Convert the released archives to Parquet files, with the card of the dataset.

    `load_dataset` reads the result, `bioscan data push` publishes it. Interrupted or killed, the same command goes on
    where it was; more images can be added later. report.json, which comes last, lists checksums, counts, what was left
    out and what was verified.

    Examples:
        bioscan data convert bioscan5m bioscan5m-parquet --num-proc 4
        # the metadata first; without the option it goes on with the images
        bioscan data convert bioscan5m bioscan5m-parquet --metadata-only
    """
    if metadata_only and package:
        raise typer.BadParameter("--metadata-only and --package contradict each other; give one of them.")
    slurm = {"partition": partition, "time": time, "env_command": environment}
    if executor == "slurm" and not (partition and time):
        raise typer.BadParameter("--executor slurm needs --partition and --time.")
    if executor != "slurm" and any(slurm.values()):
        raise typer.BadParameter("--partition, --time and --environment are for --executor slurm.")
    screen = Screen.open(as_json)
    with reporting(screen.words) as report:
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
                screen.document({"folder": folder, "submitted": True})
                screen.words.print(f"Jobs are submitted; their logs are in {folder}/.logs/.")
                screen.words.print("When report.json is there, the same command without --executor writes the card.")
                return
            result = submitted
    _finish(folder, result, screen)


def _finish(folder: Path, result: dict[str, Any], screen: Screen) -> None:
    from bioscan_hf.data.metadata_checks import Check
    from bioscan_hf.hub.dataset_cards import save_dataset_card

    save_dataset_card(folder)
    screen.document(result)
    for family, splits in result["rows"].items():
        screen.words.print(f"{family}: {sum(splits.values()):,} specimens in {', '.join(splits)}")
    if skipped := result["skipped"]:
        first = skipped[0]
        screen.words.print(
            f"{len(skipped):,} left out, see report.json; the first is {first['processid']}: {first['reason']}"
        )
    screen.words.print(f"Written to {folder}/")
    show_checks([Check(**check) for check in result["checks"]], screen.answers)
