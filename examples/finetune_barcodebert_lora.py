r"""Fine-tune a BarcodeBERT by adapters (LoRA) to name family and genus, and merge them into the model.

On the embedded sample of simulated specimens, from the model that comes with the package, in half a minute:

    python examples/finetune_barcodebert_lora.py --output my-classifier

With a model of yours, on a table of your own with splits `train` and `test`, or on BIOSCAN-5M from the Hub:

    python examples/finetune_barcodebert_lora.py --model me/my-barcodebert --data my_table.csv --output my-classifier
    python examples/finetune_barcodebert_lora.py --model me/my-barcodebert --data bioscan-ml/BIOSCAN-5M \
        --max-steps 20000 --output my-classifier

The same classifier on the command line; with `--merge-adapter` it writes the merged model at once:

    bioscan finetune --model barcodebert-small --data sample --rank family,genus --method lora --lora-r 8 \
        --output my-classifier --batch-size 32 --learning-rate 5e-3 --max-steps 200 --no-random-offset
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from bioscan_hf import load_classifier
from bioscan_hf.data.anywhere import load_anywhere
from bioscan_hf.hub.push import save_model
from bioscan_hf.training.arguments import FinetuningArguments
from bioscan_hf.training.classification import finetuning_task
from bioscan_hf.training.run import run

SHOWN = 5


def settings(model: str, output: Path, *, data: str = "sample", max_steps: int = 200) -> FinetuningArguments:
    """Adapters of rank 8 and a classifier; the pretrained weights stay as they are.

    Adapters are on query and value of the attention, or, as barcodebert-small has none, on the vectors of the k-mers.
    """
    return FinetuningArguments(
        model=model,
        data=data,
        output=output,
        rank="family,genus",
        method="lora",
        lora_r=8,
        batch_size=32,
        learning_rate=5e-3,  # few weights take a larger rate than many
        max_steps=max_steps,
        random_offset=False,  # the simulated barcodes all start at the same letter
    )


@torch.inference_mode()
def probabilities(model: Any, tokenizer: Any, barcodes: list[str]) -> dict[str, torch.Tensor]:
    """Probability of each taxon, (barcodes, taxa), per rank; that of a family is the sum of its genera's."""
    model.eval()
    scores = model(**tokenizer(barcodes, return_tensors="pt", padding=True, truncation=True)).log_probabilities
    return {rank: own.exp() for rank, own in zip(model.config.ranks, scores, strict=True)}


def main() -> None:
    """Train, name some specimens, merge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="barcodebert-small", help="folder or repository of a BarcodeBERT")
    parser.add_argument("--output", type=Path, required=True, help="folder for the adapter; also OUTPUT-merged")
    parser.add_argument("--data", default="sample", help="table of specimens with splits, or a repository on the Hub")
    parser.add_argument("--max-steps", type=int, default=200, help="optimiser steps")
    options = parser.parse_args()

    disable_progress_bar()
    arguments = settings(options.model, options.output, data=options.data, max_steps=options.max_steps)
    trained = run(finetuning_task, arguments, command=shlex.join(["python", *sys.argv]))
    for result in trained.results:
        if result.metric == "accuracy":
            print(f"{result.benchmark}: {100 * result.value:.1f} % of {result.count}")

    adapted, tokenizer = load_classifier(options.output), AutoTokenizer.from_pretrained(options.output)
    tests = load_anywhere(options.data, ["processid", "dna_barcode", "family", "genus"], split="test")
    tests = tests.select(range(0, len(tests), max(len(tests) // SHOWN, 1))[:SHOWN])
    before = probabilities(adapted, tokenizer, tests["dna_barcode"][:])
    for row, specimen in enumerate(tests):
        best = {rank: own[row].max(dim=0) for rank, own in before.items()}
        names = [f"{rank} {adapted.config.taxa[rank][i]} ({chance:.0%})" for rank, (chance, i) in best.items()]
        print(f"{', '.join(names)}; it is {specimen['genus']}, of {specimen['family']}")

    # A whole model, which loads as any model of transformers does, and names alike.
    merged = options.output.with_name(f"{options.output.name}-merged")
    save_model(merged, adapted.merge_and_unload(), tokenizer)
    again = AutoModelForSequenceClassification.from_pretrained(merged)
    after = probabilities(again, tokenizer, tests["dna_barcode"][:])
    difference = max(float((before[rank] - after[rank]).abs().max()) for rank in before)
    print(f"{merged} holds the merged model; its probabilities differ by {difference:.1g} at most")


if __name__ == "__main__":
    try:
        main()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"finetune_barcodebert_lora.py: {str(error).partition(chr(10))[0]}")
