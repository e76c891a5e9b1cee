"""`bioscan data info`: the configurations of BIOSCAN-5M, or what a folder holds of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from bioscan_hf.cli.screen import Json, Screen

if TYPE_CHECKING:
    from bioscan_hf.data.statistics import Statistics


def info(
    root: Annotated[
        Path | None,
        typer.Argument(
            help="Folder with the released archives, with what they unpack to, or converted.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """List the configurations of BIOSCAN-5M, or show what a folder holds.

    Examples:
        bioscan data info
        bioscan data info bioscan5m
    """
    screen = Screen.open(as_json)
    if root is None:
        _show_configurations(screen)
        return
    # Imported here, so that help and the list of configurations need not wait for them.
    from bioscan_hf.cli.data.stats import count, load_root
    from bioscan_hf.data.release import PUBLISHED

    specimens, source = load_root(root)
    images = _images(root)
    screen.answers.print(f"Metadata: {source}")
    screen.answers.print(f"Images: {', '.join(images) or 'none'}")
    statistics = count(specimens, screen.words, published=PUBLISHED)
    screen.document({"source": source, "images": images, **asdict(statistics)})
    _show(statistics, screen.answers)


def _show_configurations(screen: Screen) -> None:
    from bioscan_hf.data.features import SPLIT_NAMES, published_name
    from bioscan_hf.data.release import CONFIGURATIONS, METADATA_ARCHIVE, PACKAGES, PUBLISHED, REPOSITORY

    console, found = screen.answers, []
    table = _table("configuration", "specimens", "splits", "images", numbers=(1,))
    for configuration in CONFIGURATIONS.values():
        specimens = sum(PUBLISHED[split].specimens for split in configuration.splits)
        names = [published_name(split) for split in configuration.splits]
        found.append({"configuration": configuration.name, "specimens": specimens, "splits": names})
        table.add_row(
            configuration.name,
            f"{specimens:,}",
            f"all {len(SPLIT_NAMES)}" if configuration.splits == SPLIT_NAMES else ", ".join(names),
            PACKAGES[configuration.package] if configuration.package else "none",
        )
    screen.document(found)
    console.print(table)
    console.print(f"Splits: {', '.join(published_name(split) for split in SPLIT_NAMES)}.")
    console.print(f"Archives: {METADATA_ARCHIVE}, and BIOSCAN_5M_<configuration>.zip with the images.")
    console.print(f'bioscan_hf.load_dataset("{REPOSITORY}", configuration, split=...) loads them.')


def _images(root: Path) -> list[str]:
    """Archives and folders that are named like a package of images."""
    from bioscan_hf.data.release import PACKAGES, PARTS, archive_pattern

    patterns = [archive_pattern(package, part) for package in PACKAGES for part in (None, *PARTS)]
    archives = [path.name for place in (root, root / "bioscan5m") for path in sorted(place.glob("*.zip"))]
    folders = [f"{place}{package}/" for package in PACKAGES for place in ("", "images/", "bioscan5m/images/")]
    return [
        *(name for name in archives if any(pattern.fullmatch(name) for pattern in patterns)),
        *(folder for folder in folders if (root / folder).is_dir()),
    ]


def _show(statistics: Statistics, console: Console) -> None:
    splits = _table("split", "specimens", "distinct barcodes", "species", "published", numbers=(1, 2, 3))
    for split in statistics.splits:
        own, published = (split.specimens, split.barcodes, split.species), split.published
        figures = () if published is None else (published.specimens, published.barcodes, published.species)
        remark = "" if published is None else "same" if own == figures else " / ".join(f"{n:,}" for n in figures)
        splits.add_row(split.split or "no split", *(f"{number:,}" for number in own), remark)
    console.print(splits)
    ranks = _table("rank", "categories", "labelled", "%", "missing", "imbalance ratio", numbers=range(1, 6))
    for rank in statistics.ranks:
        ratio = "" if rank.imbalance_ratio is None else f"{rank.imbalance_ratio:,.0f}"
        share = f"{rank.labelled_percent:.1f}"
        ranks.add_row(rank.rank, f"{rank.categories:,}", f"{rank.labelled:,}", share, f"{rank.missing:,}", ratio)
    console.print(ranks)


def _table(*header: str, numbers: range | tuple[int, ...]) -> Table:
    table = Table(*header)
    table.columns[0].no_wrap = True  # names are copied
    for at in numbers:
        table.columns[at].justify = "right"
    return table
