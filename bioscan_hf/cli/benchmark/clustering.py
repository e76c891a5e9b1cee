"""`bioscan benchmark clustering`: the paper's second benchmark, on any model of images or DNA."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bioscan_hf.cli import completion
from bioscan_hf.cli.benchmark.common import (
    DEFAULT_DNA,
    AsJson,
    BatchSize,
    CacheDir,
    Data,
    Device,
    Dna,
    Image,
    Limit,
    Pooling,
    PullRequest,
    PushToHub,
    Splits,
    TrustRemoteCode,
    check_push,
    load_encoders,
    push,
    reporting,
    show,
    this_command,
)
from bioscan_hf.cli.screen import Screen


def clustering(
    dna: Dna = None,
    image: Image = None,
    joint: Annotated[bool, typer.Option(help="Also cluster each pair of --image and --dna together.")] = True,
    data: Data = "sample",
    splits: Splits = None,
    split: Annotated[
        str,
        typer.Option(help="Split, or sum, to cluster; of a file without splits all.", autocompletion=completion.splits),
    ] = "test+test_unseen",
    rank: Annotated[
        str,
        typer.Option(
            help="As many clusters as labels of this rank; for specimens that have no species.",
            autocompletion=completion.ranks,
        ),
    ] = "species",
    output: Annotated[Path, typer.Option(help="Folder for results, page and pictures.")] = Path(
        "bioscan-benchmark-clustering"
    ),
    one_per_barcode: Annotated[
        bool, typer.Option("--one-per-barcode", help="Take one specimen of each distinct barcode.")
    ] = False,
    seeds: Annotated[int, typer.Option(help="Repeat with so many seeds; results are means ± deviation.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="The first seed.", min=0)] = 0,
    reduction: Annotated[Literal["umap", "pca", "none"], typer.Option(help="How dimensions are reduced.")] = "umap",
    dimensions: Annotated[int, typer.Option(help="Dimensions after the reduction.", min=1)] = 50,
    neighbours: Annotated[int, typer.Option(help="Of UMAP.", min=2)] = 30,
    min_dist: Annotated[float, typer.Option(help="Of UMAP.", min=0, max=1)] = 0.0,
    method: Annotated[
        Literal["ward", "average", "kmeans", "hdbscan"],
        typer.Option(help="How clusters are found; all but hdbscan find as many as there are species."),
    ] = "ward",
    min_cluster_size: Annotated[int, typer.Option(help="Of HDBSCAN.", min=2)] = 5,
    pooling: Pooling = "auto",
    limit: Limit = None,
    cache_dir: CacheDir = None,
    batch_size: BatchSize = None,
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
    push_to_hub: PushToHub = None,
    pull_request: PullRequest = False,
    as_json: AsJson = False,
) -> None:
    r"""Cluster embeddings without any training, and compare the clusters with the taxonomy and with BINs.

    The recipe is the paper's: UMAP to 50 dimensions, Ward's linkage, as many clusters as species; adjusted mutual
    information at each rank. All encoders of a run are asked about the same specimens: those that have whatever one of
    them needs. Needs `pip install 'bioscan-hf[clustering]'`. Embeddings are kept: killed, the same command computes
    none twice.

    Examples:
        # the packaged model on the embedded sample
        bioscan benchmark clustering
        bioscan benchmark clustering --image facebook/dino-vitb16 \
            --dna me/my-model --data bioscan-ml/BIOSCAN-5M
    """
    # Imported here, so that help and wrong usage need not wait for them.
    from datasets import disable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    from bioscan_hf.evaluation.benchmarks.clustering_run import main_tables, run_clustering
    from bioscan_hf.evaluation.benchmarks.zero_shot_clustering import DNA, IMAGES, ClusteringSettings
    from bioscan_hf.evaluation.cached import default_cache
    from bioscan_hf.evaluation.clustering.settings import Clustering

    disable_progress_bar()
    disable_progress_bars()
    screen = Screen.open(as_json)
    settings = ClusteringSettings(
        split=split,
        rank=rank,
        one_per_barcode=one_per_barcode,
        seeds=tuple(range(seed, seed + seeds)),
        recipe=Clustering(reduction, dimensions, neighbours, min_dist, method, min_cluster_size),
    )
    check_push(push_to_hub, pull_request)
    specs = dna or ([] if image else list(DEFAULT_DNA))
    of_dna, of_images = load_encoders(
        specs,
        image or [],
        pooling=pooling,
        batch_size=batch_size,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    encoders = {DNA: of_dna, IMAGES: of_images}
    with reporting(screen.words) as report:
        results = run_clustering(
            encoders,
            data,
            settings,
            both=joint,
            splits=splits,
            limit=limit,
            cache=cache_dir or default_cache(),
            output=output,
            command=this_command(),
            report=report,
            say=screen.words.print,
        )
    tables = main_tables(results)
    show(results, tables, output, screen)
    if push_to_hub is not None:
        first = next(encoder for own in encoders.values() for encoder in own)
        by_protocol = limit is None and settings == ClusteringSettings(seeds=settings.seeds)
        push(
            results,
            tables,
            first,
            push_to_hub,
            by_protocol=by_protocol,
            pull_request=pull_request,
            console=screen.answers,
        )
