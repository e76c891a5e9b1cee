"""`bioscan benchmark retrieval`: the paper's third benchmark, on models of one or several modalities."""

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
    Keys,
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

# All ranks of the paper do not fit on a screen; they are on the page.
_SHOWN_RANKS = ("genus", "species")


def retrieval(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder or repository of a CLIBD, which embeds images, DNA and text in one space; may be repeated.",
            autocompletion=completion.models,
            show_default=False,
        ),
    ] = None,
    dna: Dna = None,
    image: Image = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            help="What finds what, with commas between: image, dna, text and joint (image and DNA together) find these "
            "and `all`; and concat-concat. An example: image-dna,joint-all.",
            show_default="dna-dna, image-image, image-dna, image-text, joint-dna, as far as models and data allow",
        ),
    ] = None,
    data: Data = "sample",
    splits: Splits = None,
    output: Annotated[Path, typer.Option(help="Folder for results, page and pictures.")] = Path(
        "bioscan-benchmark-retrieval"
    ),
    keys: Keys = "train+key_unseen",
    queries: Annotated[
        Literal["test", "val"], typer.Option(help="Split of the queries; also of those of unseen species.")
    ] = "test",
    shown: Annotated[int, typer.Option("--show", help="Queries in the pictures of what was found.", min=0)] = 6,
    pooling: Pooling = "auto",
    limit: Limit = None,
    seed: Annotated[int, typer.Option(help="Seed of --limit and --show.", min=0)] = 0,
    cache_dir: CacheDir = None,
    batch_size: BatchSize = None,
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
    push_to_hub: PushToHub = None,
    pull_request: PullRequest = False,
    as_json: AsJson = False,
) -> None:
    """Find specimens of the same taxon among known ones: by image, DNA or text, within a modality and across.

    The protocol is the paper's: exact search among the keys of seen and unseen species; top-1, top-3 and top-5
    accuracy at order, family, genus and species, per query and per taxon; for queries of seen and of unseen species,
    and the harmonic mean. Models of one modality find within it. Embeddings are kept: killed, the same command
    computes none twice.

    Examples:
        # the packaged model of barcodes on the embedded sample
        bioscan benchmark retrieval
        bioscan benchmark retrieval --model me/my-clibd --data bioscan-ml/BIOSCAN-5M
    """
    # Imported here, so that help and wrong usage need not wait for them.
    from datasets import disable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    from bioscan_hf.evaluation.benchmarks.retrieval_pairs import DNA, IMAGE, RetrievalModel, RetrievalSettings
    from bioscan_hf.evaluation.benchmarks.retrieval_run import run_retrieval
    from bioscan_hf.evaluation.benchmarks.retrieval_tables import main_tables
    from bioscan_hf.evaluation.cached import default_cache
    from bioscan_hf.evaluation.encoders.clibd import load_clibd

    disable_progress_bar()
    disable_progress_bars()
    screen = Screen.open(as_json)
    names = None if pairs is None else tuple(name for word in pairs.split(",") if (name := word.strip()))
    settings = RetrievalSettings(keys, queries, names, seed)
    check_push(push_to_hub, pull_request)
    specs = dna or ([] if model or image else list(DEFAULT_DNA))
    models = []
    for spec in model or []:
        encoders = load_clibd(spec, batch_size=batch_size, device=device)
        models.append(RetrievalModel(next(iter(encoders.values())).name, encoders))
    of_dna, of_images = load_encoders(
        specs,
        image or [],
        pooling=pooling,
        batch_size=batch_size,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    models += [RetrievalModel(encoder.name, {DNA: encoder}) for encoder in of_dna]
    models += [RetrievalModel(encoder.name, {IMAGE: encoder}) for encoder in of_images]
    with reporting(screen.words) as report:
        results = run_retrieval(
            models,
            data,
            settings,
            shown=shown,
            splits=splits,
            limit=limit,
            cache=cache_dir or default_cache(),
            output=output,
            command=this_command(),
            report=report,
            say=screen.words.print,
        )
    show(results, main_tables(results, _SHOWN_RANKS), output, screen)
    if push_to_hub is not None:
        by_protocol = limit is None and (settings.keys, settings.queries) == ("train+key_unseen", "test")
        push(
            results,
            main_tables(results),
            next(iter(models[0].encoders.values())),
            push_to_hub,
            by_protocol=by_protocol,
            pull_request=pull_request,
            console=screen.answers,
        )
