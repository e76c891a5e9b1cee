r"""Pretrain a small BarcodeBERT, and find the specimens that are most like others by its embeddings.

On the embedded sample of simulated specimens, in about half a minute on two cores:

    python examples/pretrain_barcodebert.py --output my-barcodebert

On barcodes of your own (FASTA, CSV, TSV, Parquet), or on BIOSCAN-5M from the Hub, of which only the metadata are read:

    python examples/pretrain_barcodebert.py --data my_barcodes.fasta --output my-barcodebert
    python examples/pretrain_barcodebert.py --data bioscan-ml/BIOSCAN-5M --max-steps 20000 --output my-barcodebert

The same model on the command line; `examples/config/pretrain_paper.yaml` has the paper's sizes:

    bioscan pretrain --data sample --output my-barcodebert --kmer-size 5 --hidden-size 128 --num-hidden-layers 1 \
        --intermediate-size 256 --dropout 0 --label-visible --batch-size 16 --learning-rate 1e-3 --max-steps 150 \
        --max-eval-samples 100
"""

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from bioscan_hf import embed, nearest
from bioscan_hf.data.anywhere import has_splits, load_anywhere
from bioscan_hf.training.arguments import PretrainingArguments
from bioscan_hf.training.masked_lm import pretraining_task
from bioscan_hf.training.run import run

SHOWN = 5


def settings(output: Path, *, data: str = "sample", max_steps: int = 150) -> PretrainingArguments:
    """What two cores can train in half a minute."""
    return PretrainingArguments(
        data=data,
        output=output,
        kmer_size=5,
        hidden_size=128,
        num_hidden_layers=1,
        intermediate_size=256,
        dropout=0.0,  # no barcode is seen often enough to be learnt by heart
        label_visible=True,  # as the reference's code does
        batch_size=16,
        learning_rate=1e-3,  # small models take larger rates
        max_steps=max_steps,
        max_eval_samples=100,
    )


def show_progress(step: int, steps: int, record: Mapping[str, float]) -> None:
    """Print the loss now and then."""
    if "loss" in record and (step % 50 == 0 or step == steps):
        print(f"step {step} of {steps}: loss {record['loss']:.3f}")


def show_neighbours(model: Path, data: str) -> None:
    """Name some test specimens as their nearest neighbours in the split `train` are named."""
    columns = ["processid", "dna_barcode", "species"]
    keys, queries = (load_anywhere(data, columns, split=split) for split in ("train", "test"))
    queries = queries.select(range(0, len(queries), max(len(queries) // SHOWN, 1))[:SHOWN])
    found, similarity = nearest(embed(model, keys).vectors, embed(model, queries).vectors)
    for query, key, cosine in zip(queries, found.tolist(), similarity, strict=True):
        print(f"{query['species']} is nearest to {keys[key]['species']} (cosine {cosine:.4f})")


def main() -> None:
    """Pretrain, measure, and write the model with its card and results; then use it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--data", default="sample", help="file of specimens, or a repository on the Hub")
    parser.add_argument("--max-steps", type=int, default=150, help="optimiser steps")
    options = parser.parse_args()

    disable_progress_bar()
    arguments = settings(options.output, data=options.data, max_steps=options.max_steps)
    trained = run(pretraining_task, arguments, command=shlex.join(["python", *sys.argv]), report=show_progress)
    for result in trained.results:
        print(f"{result.benchmark}: {100 * result.value:.1f} % of {result.count} by {result.model}")
    if has_splits(options.data):
        show_neighbours(options.output, options.data)


if __name__ == "__main__":
    try:
        main()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"pretrain_barcodebert.py: {str(error).partition(chr(10))[0]}")
