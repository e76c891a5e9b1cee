"""`bioscan benchmark barcode`: the paper's first benchmark, on any model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioscan_hf.cli import completion
from bioscan_hf.cli.benchmark.common import (
    AsJson,
    BatchSize,
    CacheDir,
    Data,
    Device,
    Keys,
    Limit,
    PullRequest,
    PushToHub,
    Queries,
    QueriesUnseen,
    Report,
    Splits,
    TrustRemoteCode,
    check_push,
    push,
    reporting,
    show,
    this_command,
)
from bioscan_hf.cli.screen import Screen
from bioscan_hf.models.pretrained import DEFAULT_ENCODER

if TYPE_CHECKING:
    from rich.console import Console

    from bioscan_hf.evaluation.encoders.base import Encoder
    from bioscan_hf.evaluation.results import Result


def barcode(
    model: Annotated[
        list[str],
        typer.Option(
            help="Folder or repository of a BarcodeBERT or another DNA model, a file of embeddings, kmer:6 …; may be "
            "repeated.",
            autocompletion=completion.models,
        ),
    ] = [DEFAULT_ENCODER],  # noqa: B006 (typer copies it)
    data: Data = "sample",
    splits: Splits = None,
    output: Annotated[Path, typer.Option(help="Folder for results, page and pictures.")] = Path(
        "bioscan-benchmark-barcode"
    ),
    baselines: Annotated[
        str,
        typer.Option(
            help="With commas between: encoders as for --model; `cnn`, the paper's, trained on the keys; `blast`, if "
            "it is installed. These two take a minute on the sample, and hours on many specimens. `none` for none."
        ),
    ] = "kmer:4,kmer:6",
    keys: Keys = "train",
    queries: Queries = "test",
    queries_unseen: QueriesUnseen = "test_unseen",
    neighbours: Annotated[int, typer.Option(help="Keys that vote in the weighted k-NN.", min=1)] = 20,
    temperature: Annotated[float, typer.Option(help="Of their votes.")] = 0.02,
    linear_probe: Annotated[
        bool, typer.Option("--linear-probe", help="Fit the paper's linear probe, too: 200 epochs of gradient descent.")
    ] = False,
    finetune: Annotated[
        bool,
        typer.Option("--finetune", help="Fine-tune each BarcodeBERT, too, in OUTPUT/finetuned-MODEL; resumable."),
    ] = False,
    finetune_config: Annotated[
        Path | None, typer.Option(help="YAML file of settings of `bioscan finetune`.", show_default="the paper's")
    ] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(help="File results.json of another run on the same data, to stand beside; may be repeated."),
    ] = None,
    limit: Limit = None,
    seed: Annotated[int, typer.Option(help="Seed of probes, CNN and --limit.")] = 0,
    cache_dir: CacheDir = None,
    batch_size: BatchSize = None,
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
    push_to_hub: PushToHub = None,
    pull_request: PullRequest = False,
    as_json: AsJson = False,
) -> None:
    """Name specimens by their barcode: species in the closed world, genus of unseen species in the open world.

    One nearest neighbour, weighted neighbours, linear classifiers on frozen embeddings, and fine-tuning if asked for;
    beside k-mer counts, the paper's CNN and BLAST, measured in the same run, and the published numbers. On the sample
    this takes half a minute. Embeddings are kept: killed, the same command goes on where it was.

    Examples:
        # the packaged model on the embedded sample
        bioscan benchmark barcode
        bioscan benchmark barcode --model me/my-model --data bioscan-ml/BIOSCAN-5M
    """
    if finetune_config is not None and not finetune:
        raise typer.BadParameter("--finetune-config is for --finetune, which was not given.")
    if finetune and limit is not None:
        raise typer.BadParameter("--limit draws specimens, and --finetune takes all; give one of the two.")
    # Imported here, so that help and wrong usage need not wait for them.
    from datasets import disable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    from bioscan_hf.evaluation.benchmarks.barcode_classification import ClassificationSettings
    from bioscan_hf.evaluation.benchmarks.barcode_run import BLAST, CNN, main_table, run_classification
    from bioscan_hf.evaluation.cached import default_cache
    from bioscan_hf.evaluation.encoders.loading import load_encoder
    from bioscan_hf.evaluation.results import read_results

    disable_progress_bar()
    disable_progress_bars()
    screen = Screen.open(as_json)
    settings = ClassificationSettings(
        keys, queries, queries_unseen, neighbours, temperature, linear_probe=linear_probe, seed=seed
    )
    check_push(push_to_hub, pull_request)
    others = [result for path in compare or [] for result in read_results(path)]
    wanted = [name for word in baselines.split(",") if (name := word.strip()) not in ("", "none")]
    specs = list(dict.fromkeys([*model, *(name for name in wanted if name not in (BLAST, CNN))]))
    encoders = [
        load_encoder(spec, batch_size=batch_size, device=device, trust_remote_code=trust_remote_code) for spec in specs
    ]
    with reporting(screen.words) as report:
        if finetune:
            for spec, encoder in zip(dict.fromkeys(model), encoders, strict=False):
                others += _finetuned(spec, encoder, data, splits, output, finetune_config, report, screen.words)
        results = run_classification(
            encoders,
            data,
            settings,
            baselines=[name for name in wanted if name in (BLAST, CNN)],
            splits=splits,
            limit=limit,
            others=others,
            device=device,
            cache=cache_dir or default_cache(),
            output=output,
            command=this_command(),
            report=report,
            say=screen.words.print,
        )
    tables = [main_table(settings)]
    show(results, tables, output, screen)
    if push_to_hub is not None:
        by_protocol = limit is None and (keys, queries, queries_unseen) == ("train", "test", "test_unseen")
        push(
            results,
            tables,
            encoders[0],
            push_to_hub,
            by_protocol=by_protocol,
            pull_request=pull_request,
            console=screen.answers,
        )


def _finetuned(
    spec: str,
    encoder: Encoder,
    data: str,
    splits: Path | None,
    output: Path,
    config: Path | None,
    report: Report,
    console: Console,
) -> list[Result]:
    from bioscan_hf.training.arguments import FinetuningArguments
    from bioscan_hf.training.benchmark import finetuned_results
    from bioscan_hf.training.settings import make_settings

    given = {"model": spec, "data": data, "splits": splits, "rank": "species", "method": "full"}
    folder = output / f"finetuned-{encoder.name.replace('/', '--')}"
    arguments = make_settings(FinetuningArguments, {**given, "output": folder}, config)
    return finetuned_results(arguments, encoder.name, command=this_command(), report=report, say=console.print)
