"""`bioscan demo`: the whole way from records to a model, its results and its card."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer
from datasets import Dataset
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

from bioscan_hf import BarcodeBertConfig, BarcodeBertForMaskedLM, __version__, build_tokenizer
from bioscan_hf.data.files import digest, staged
from bioscan_hf.data.loading import describe_source, load_specimens, select_split
from bioscan_hf.data.partition import partition
from bioscan_hf.evaluation.embeddings import Embeddings, embed, kmer_counts
from bioscan_hf.evaluation.pictures import embedding_map, loss_curve, save_picture
from bioscan_hf.evaluation.probing import PROBES, nearest_neighbour_accuracy
from bioscan_hf.evaluation.results import Result, result_rows, write_results
from bioscan_hf.hub.cards import Training, chance_loss, pretraining_card
from bioscan_hf.hub.push import check_can_push, push_folder, save_card, save_model
from bioscan_hf.training.arguments import TrainingArguments
from bioscan_hf.training.masked_lm import distinct_barcodes, pretrain

TITLE = "BarcodeBERT demo"
SUMMARY = (
    "A very small BarcodeBERT, pretrained by `bioscan demo` for less than a minute on two CPU cores, to show the way "
    "from records to a model."
)
LIMITS = (
    "A demonstration: the model is small and barely trained. Do not identify specimens with it, least of all for "
    "regulatory purposes."
)
SIMULATED = " The specimens are simulated; nothing can be concluded about real insects."
# What two CPU cores can train in a minute. No dropout: no barcode is seen often enough to be learnt by heart.
SIZES: dict[str, Any] = {
    "kmer_size": 5,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
BATCH_SIZE = 32
LEARNING_RATE = 5e-4
# Without labels, so that the test splits stay unseen; the paper uses pretrain and other_heldout only.
PRETRAINING_SPLITS = "pretrain+train+other_heldout"
EVALUATION_SPLITS = "train+test+test_unseen"


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
    """Train a small BarcodeBERT and name specimens with it, in under three minutes on two cores.

    Loads specimens, pretrains on their barcodes, embeds them, and compares its nearest neighbours with those of 4-mer
    counts: species among seen species, genus among unseen species.

    Example: bioscan demo --data my_barcodes.fasta --output my-demo
    """
    console = Console(highlight=False)
    disable_progress_bar()
    if push_to_hub is not None:
        check_can_push(push_to_hub)
    with staged(output) as stage, _progress(console) as progress:
        specimens = _load(data, splits, seed, console)
        source = describe_source(data, splits)
        model, training = _pretrain(specimens, max_steps, seed, progress)
        save_model(stage / "model", model, build_tokenizer(model.config.kmer_size))
        curve = loss_curve(
            training.losses, chance=chance_loss(model.config.kmer_size), title="Masked language modelling of barcodes"
        )
        save_picture(curve, stage / "loss.png")
        results = _evaluate(model, specimens, stage, progress, source)
        write_results(results, stage / "results.json")
        card = pretraining_card(
            model,
            training,
            results,
            source=source,
            reading_frames=model.config.kmer_size,
            model_id=push_to_hub or ".",
            title=TITLE,
            summary=SUMMARY + (SIMULATED if data is None else ""),
            limits=LIMITS + (SIMULATED if data is None else ""),
            version=__version__,
        )
        save_card(stage / "model", card)
    _show(results, console)
    console.print(f"Written to {output}/: model/ (with its card), results.json, embeddings.png, loss.png")
    if push_to_hub is not None:
        console.print(f"Pushed: {push_folder(output / 'model', push_to_hub, private=private)}")


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)


def _load(data: Path | None, splits: Path | None, seed: int, console: Console) -> Dataset:
    specimens = load_specimens(data, splits=splits)
    name, _ = describe_source(data, splits)
    console.print(f"{len(specimens):,} specimens, {len(set(specimens['dna_barcode'])):,} distinct barcodes: {name}")
    if not any(specimens["split"]):
        drawn = pa.array(partition(specimens, seed=seed), pa.string())
        specimens = specimens.remove_columns("split").add_column("split", drawn)
        console.print("No splits were given; drew pretrain, train, test and test_unseen.")
    return specimens


def _pretrain(
    specimens: Dataset, max_steps: int, seed: int, progress: Progress
) -> tuple[BarcodeBertForMaskedLM, Training]:
    pool = select_split(specimens, PRETRAINING_SPLITS)
    arguments = TrainingArguments(max_steps, batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE, seed=seed)
    task = progress.add_task("pretraining", total=max_steps)

    def report(step: int, loss: float) -> None:
        progress.update(task, completed=step, description=f"pretraining, {loss:.2f} nats")

    model, losses = pretrain(BarcodeBertConfig(**SIZES), pool, arguments, report=report)
    return model, Training(asdict(arguments), len(distinct_barcodes(pool)), losses)


def _evaluate(
    model: BarcodeBertForMaskedLM, specimens: Dataset, stage: Path, progress: Progress, source: tuple[str, str]
) -> list[Result]:
    """Embed and probe; draw the map of the queries."""
    chosen = select_split(specimens, EVALUATION_SPLITS)
    if not len(chosen):
        chosen = specimens
    task = progress.add_task("embedding")
    embeddings = embed(
        model.bert,
        chosen,
        reading_frames=model.config.kmer_size,
        report=lambda done, total: progress.update(task, completed=done, total=total),
    )
    title = f"Barcode embeddings by order, {source[0]}"
    save_picture(embedding_map(embeddings.vectors, chosen["order"][:], title=title), stage / "embeddings.png")
    revision = digest(stage / "model" / "model.safetensors")
    embedders: list[tuple[str, str | None, Embeddings]] = [
        (TITLE, revision, embeddings),
        ("4-mer counts", None, kmer_counts(chosen)),
    ]
    results = []
    for probe in PROBES:
        if not all(len(rows) for rows in probe.select(chosen)):
            progress.console.print(f"{probe.name}: left out, as no specimen in {probe.queries} has a {probe.rank}.")
            continue
        for name, model_revision, vectors in embedders:
            accuracy, count = nearest_neighbour_accuracy(vectors, chosen, probe)
            results.append(
                Result(
                    benchmark=probe.name,
                    metric="accuracy",
                    value=accuracy,
                    count=count,
                    model=name,
                    model_revision=model_revision,
                    dataset=source[0],
                    dataset_revision=source[1],
                    split=probe.queries,
                    command=shlex.join(["bioscan", *sys.argv[1:]]),
                )
            )
    return results


def _show(results: list[Result], console: Console) -> None:
    if not results:
        return
    header, rows = result_rows(results)
    table = Table(*header)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    console.print(table)
