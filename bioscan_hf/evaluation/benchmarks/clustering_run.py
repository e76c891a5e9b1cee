"""A run of benchmark 2, from its arguments to the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.anywhere import describe_anywhere
from bioscan_hf.evaluation.benchmarks.barcode_classification import Report
from bioscan_hf.evaluation.benchmarks.pages import Column, Picture, Table, check_names, write_report
from bioscan_hf.evaluation.benchmarks.paper import PUBLISHED, clustering_name
from bioscan_hf.evaluation.benchmarks.pictures import RANK_NAMES, rank_curves
from bioscan_hf.evaluation.benchmarks.specimens import Say, load_labelled
from bioscan_hf.evaluation.benchmarks.zero_shot_clustering import (
    DNA,
    IMAGES,
    JOINT,
    METRICS,
    TARGETS,
    ClusteringSettings,
    Task,
    joint,
    one_per_barcode,
    with_modalities,
)
from bioscan_hf.evaluation.cached import embed_cached
from bioscan_hf.evaluation.encoders.base import Encoder
from bioscan_hf.evaluation.encoders.precomputed import Precomputed
from bioscan_hf.evaluation.pictures import embedding_map
from bioscan_hf.evaluation.results import Result

TITLE = "Zero-shot clustering"
_NEEDS = {DNA: "dna_barcode", IMAGES: "image"}


def run_clustering(
    encoders: Mapping[str, Sequence[Encoder]],
    source: str | Path,
    settings: ClusteringSettings,
    *,
    both: bool = True,
    splits: Path | None = None,
    limit: int | None = None,
    cache: Path,
    output: Path,
    command: str,
    report: Report,
    say: Say,
) -> list[Result]:
    """Ask benchmark 2 to encoders, and write what came out.

    All encoders are asked about the same specimens: those that have whatever one of them needs. Files of embeddings
    need neither images nor barcodes.

    Args:
        encoders: By modality, `DNA` and `IMAGES`.
        source: Where the specimens are (see `load_anywhere`); those of a file without splits take part all.
        settings: What is clustered, and how.
        both: Whether each pair of an encoder of images and one of DNA is asked together, too.
        splits: Table of splits.
        limit: Specimens of each split that are used; None for all.
        cache: Folder of embeddings that are kept.
        output: Folder of the report.
        command: The command line.
        report: Told of the progress.
        say: Told what a user should know.

    Returns:
        What was measured.

    Raises:
        FileNotFoundError: If there are no such data.
        ValueError: If there are no encoders, two of a modality have one name, or data, labels or embeddings are not
            what they should be.
        ImportError: If a package of the extra `clustering` is missing.
        OSError: If something cannot be read or written.
    """
    used = {modality: own for modality, own in encoders.items() if own}
    for own in used.values() or [()]:
        check_names([encoder.name for encoder in own])
    needed = [_NEEDS[name] for name, own in used.items() if not all(isinstance(e, Precomputed) for e in own)]
    specimens = _load(source, settings, needed, splits=splits, limit=limit, say=say)
    task = Task(specimens, settings.rank)
    say(f"{len(specimens):,} specimens, {task.classes:,} {settings.named_rank}.")
    data = describe_anywhere(source, splits)
    embedded: dict[tuple[str, str, str | None], NDArray[np.float32]] = {}
    for modality, own in used.items():
        for encoder in own:
            within = partial(report, f"embedding by {encoder.name}")
            vectors = embed_cached(encoder, specimens, cache, data_revision=data[1], report=within)
            embedded[modality, encoder.name, encoder.revision] = vectors
    if both:
        embedded |= _pairs(embedded)
    results = []
    for done, ((modality, name, revision), vectors) in enumerate(embedded.items()):
        report(f"clustering, {len(settings.seeds)} x {len(embedded)}", done, len(embedded))
        for c in task.measure(vectors, modality, settings):
            result = Result(
                c.benchmark, c.metric, c.value, c.count, name, revision, *data, settings.split, command, c.spread
            )
            results.append(result)
    report(f"clustering, {len(settings.seeds)} x {len(embedded)}", len(embedded), len(embedded))
    modalities = list(dict.fromkeys(modality for modality, *_ in embedded))
    write_report(
        output,
        title=f"{TITLE} (benchmark 2 of BIOSCAN-5M)",
        text=_text(task, specimens, settings),
        results=results,
        tables=[*main_tables(results), *_other_tables(modalities, settings.rank)],
        pictures=[*_curves(results, modalities), *_maps(embedded, specimens, settings)],
        settings={**asdict(settings), "limit": limit},
    )
    return results


def _load(
    source: str | Path,
    settings: ClusteringSettings,
    needed: Sequence[str],
    *,
    splits: Path | None,
    limit: int | None,
    say: Say,
) -> Dataset:
    specimens = load_labelled(
        source, settings.split, splits=splits, image="image" in needed, limit=limit, draw_splits=False, say=say
    )
    rows = with_modalities(specimens, needed)
    if len(rows) < len(specimens):
        lacking = " or no ".join(needed)
        say(f"{len(specimens) - len(rows):,} of {len(specimens):,} specimens are left out: they have no {lacking}.")
        specimens = specimens.select(rows)
    if settings.one_per_barcode:
        specimens = specimens.select(one_per_barcode(specimens))
    if not len(specimens):
        raise ValueError(f"'{source}' has no specimens with {' and '.join(needed)} in the split {settings.split!r}.")
    return specimens


def _pairs(
    embedded: dict[tuple[str, str, str | None], NDArray[np.float32]],
) -> dict[tuple[str, str, str | None], NDArray[np.float32]]:
    return {
        (JOINT, f"{image} + {dna}", " + ".join(filter(None, (version, other))) or None): joint(pixels, barcodes)
        for (first, image, version), pixels in embedded.items()
        for (second, dna, other), barcodes in embedded.items()
        if (first, second) == (IMAGES, DNA)
    }


def _text(task: Task, specimens: Dataset, settings: ClusteringSettings) -> str:
    recipe = settings.recipe
    reductions = {
        "umap": f"reduced to {recipe.dimensions} dimensions by UMAP ({recipe.neighbours} neighbours)",
        "pca": f"reduced to {recipe.dimensions} principal components",
        "none": "taken as they are",
    }
    methods = {"ward": "Ward's linkage", "average": "average linkage", "kmeans": "k-means"}
    found = "HDBSCAN finds" if recipe.method == "hdbscan" else f"{methods[recipe.method]} finds {task.classes:,}"
    repeated = f" Means over {len(settings.seeds)} seeds ± standard deviation." if len(settings.seeds) > 1 else ""
    return (
        f"Embeddings of {len(specimens):,} specimens{', one per barcode,' if settings.one_per_barcode else ''} of "
        f"{task.classes:,} {settings.named_rank} are {reductions[recipe.reduction]}; then {found} clusters.{repeated}"
    )


def main_tables(results: Sequence[Result]) -> list[Table]:
    """The table by rank of each modality that was asked."""
    asked = {result.benchmark for result in results}
    return [
        Table(
            f"{modality}: agreement by rank",
            "Adjusted mutual information in %, over the entropy of the labels, (MI - E[MI]) / (H - E[MI]), as in the "
            "figure of the paper's repository. In brackets the specimens with a label.",
            [Column(RANK_NAMES.get(t, t), clustering_name(modality, t), "ami_true_entropy") for t in TARGETS],
            PUBLISHED,
        )
        for modality in (DNA, IMAGES, JOINT)
        if any(clustering_name(modality, target) in asked for target in TARGETS)
    ]


def _other_tables(modalities: Sequence[str], rank: str) -> list[Table]:
    return [
        Table(
            f"{modality}: agreement with {RANK_NAMES.get(target, target)}, by several measures",
            "In %. AMI is adjusted mutual information, as scikit-learn has it (arithmetic mean of the entropies).",
            [
                Column(_METRIC_NAMES.get(metric, metric), clustering_name(modality, target), metric)
                for metric in METRICS[1:-1]
            ],
        )
        for modality in modalities
        for target in dict.fromkeys((rank, "dna_bin"))
    ]


_METRIC_NAMES = {"ami_arithmetic": "AMI", "nmi": "NMI", "ari": "ARI"}


def _curves(results: Sequence[Result], modalities: Sequence[str]) -> list[Picture]:
    return [
        Picture(
            f"ami_{modality.lower().replace(' + ', '_')}.png",
            f"Agreement of clusters of {modality} with each rank",
            rank_curves(
                results,
                {target: clustering_name(modality, target) for target in TARGETS},
                "ami_true_entropy",
                PUBLISHED,
                title=f"{TITLE} of {modality}",
                label="AMI over the entropy of the labels (%)",
            ),
        )
        for modality in modalities
    ]


def _maps(
    embedded: dict[tuple[str, str, str | None], NDArray[np.float32]], specimens: Dataset, settings: ClusteringSettings
) -> list[Picture]:
    """A map of the first encoder of each modality."""
    first: dict[str, tuple[str, NDArray[np.float32]]] = {}
    for (modality, name, _), vectors in embedded.items():
        first.setdefault(modality, (name, vectors))
    method: Literal["UMAP", "t-SNE"] = "UMAP" if settings.recipe.reduction == "umap" else "t-SNE"
    return [
        Picture(
            f"map_{modality.lower().replace(' + ', '_')}.png",
            f"{method} of {modality} by {name}, coloured by order",
            embedding_map(
                vectors, specimens["order"][:], title=f"{modality} by {name}", method=method, seed=settings.seeds[0]
            ),
        )
        for modality, (name, vectors) in first.items()
    ]
