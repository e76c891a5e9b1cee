r"""Pretrain a small BarcodeBERT, and find the specimens that are most like others by its embeddings.

On the embedded sample of simulated specimens, in about half a minute on two cores:

    python examples/pretrain_barcodebert.py --output my-barcodebert

The same model on the command line:

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

from bioscan_hf import embed, load_specimens, nearest, select_split
from bioscan_hf.training.arguments import PretrainingArguments
from bioscan_hf.training.masked_lm import pretraining_task
from bioscan_hf.training.run import run


def small_model(output: Path, *, data: str = "sample", max_steps: int = 150) -> PretrainingArguments:
    """What two cores can train in half a minute; `examples/config/pretrain_paper.yaml` has the paper's sizes."""
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


def pretrain(arguments: PretrainingArguments) -> None:
    """Pretrain, and write the model with its card and results."""
    trained = run(pretraining_task, arguments, command=shlex.join(["python", *sys.argv]), report=show_progress)
    for result in trained.results:
        print(f"{result.benchmark}: {100 * result.value:.1f} % of {result.count} by {result.model}")


def show_progress(step: int, steps: int, record: Mapping[str, float]) -> None:
    """Print the loss now and then."""
    if "loss" in record and (step % 50 == 0 or step == steps):
        print(f"step {step} of {steps}: loss {record['loss']:.3f}")


def show_neighbours(model: Path, data: str, count: int = 5) -> None:
    """Name some test specimens as their nearest neighbours in the split `train` are named."""
    specimens = load_specimens(None if data == "sample" else data)
    keys, queries = select_split(specimens, "train"), select_split(specimens, "test")
    queries = queries.select(range(0, len(queries), max(len(queries) // count, 1)))
    found, similarity = nearest(embed(model, keys).vectors, embed(model, queries).vectors)
    for query, key, cosine in zip(queries, found.tolist(), similarity, strict=True):
        print(f"{query['species']} is nearest to {keys[key]['species']} (cosine {cosine:.4f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--data", default="sample", help="file of specimens with splits, such as a table")
    parser.add_argument("--max-steps", type=int, default=150, help="optimiser steps")
    options = parser.parse_args()
    disable_progress_bar()
    pretrain(small_model(options.output, data=options.data, max_steps=options.max_steps))
    show_neighbours(options.output, options.data)
