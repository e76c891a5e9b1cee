r"""Fine-tune a BarcodeBERT by adapters (LoRA) to name family and genus, and merge them into the model.

On the embedded sample of simulated specimens, in less than a minute on two cores; a folder MODEL that is not there is
first made by `pretrain_barcodebert.py`, which takes another half:

    python examples/finetune_barcodebert_lora.py --model my-barcodebert --output my-classifier

The same classifier on the command line; with `--merge-adapter` it writes the merged model at once:

    bioscan finetune --model my-barcodebert --data sample --rank family,genus --method lora --lora-r 8 \
        --output my-classifier --batch-size 16 --learning-rate 5e-2 --max-steps 200 --no-random-offset
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

import torch
from pretrain_barcodebert import pretrain, show_progress, small_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from bioscan_hf import load_specimens, select_split
from bioscan_hf.hub.push import save_model
from bioscan_hf.training.arguments import FinetuningArguments
from bioscan_hf.training.classification import finetuning_task
from bioscan_hf.training.lora import load_classifier
from bioscan_hf.training.run import run

BARCODES_SHOWN = 5


def lora(model: str, output: Path, *, data: str = "sample", max_steps: int = 200) -> FinetuningArguments:
    """Adapters of rank 8 and a classifier; the pretrained weights stay as they are."""
    return FinetuningArguments(
        model=model,
        data=data,
        output=output,
        rank="family,genus",
        method="lora",
        lora_r=8,
        batch_size=16,
        learning_rate=5e-2,  # few weights take a larger rate than many
        max_steps=max_steps,
        random_offset=False,  # the simulated barcodes all start at the same letter
    )


def finetune(arguments: FinetuningArguments) -> None:
    """Fine-tune, and write the adapter with its card and results."""
    trained = run(finetuning_task, arguments, command=shlex.join(["python", *sys.argv]), report=show_progress)
    for result in trained.results:
        if result.metric == "accuracy":
            print(f"{result.benchmark}: {100 * result.value:.1f} % of {result.count}")


@torch.inference_mode()
def probabilities(model: Any, tokenizer: Any, barcodes: list[str]) -> dict[str, torch.Tensor]:
    """Probability of each taxon, (barcodes, taxa), per rank; that of a family is the sum of its genera's."""
    model.eval()
    scores = model(**tokenizer(barcodes, return_tensors="pt", padding=True, truncation=True)).log_probabilities
    return {rank: own.exp() for rank, own in zip(model.config.ranks, scores, strict=True)}


def show_names(model: Any, tokenizer: Any, data: str) -> list[str]:
    """Name some test specimens; returns their barcodes."""
    tests = select_split(load_specimens(None if data == "sample" else data), "test")
    tests = tests.select(range(0, len(tests), max(len(tests) // BARCODES_SHOWN, 1)))
    named = probabilities(model, tokenizer, tests["dna_barcode"][:])
    for row, specimen in enumerate(tests):
        names = []
        for rank, chances in named.items():
            chance, taxon = chances[row].max(dim=0)
            names.append(f"{rank} {model.config.taxa[rank][taxon]} ({chance:.0%})")
        print(f"{', '.join(names)}; it is {specimen['genus']}, of {specimen['family']}")
    barcodes: list[str] = tests["dna_barcode"][:]
    return barcodes


def merge(adapted: Any, tokenizer: Any, folder: Path, barcodes: list[str]) -> None:
    """Write a whole model, which loads as any model of transformers does, and see that it names alike."""
    before = probabilities(adapted, tokenizer, barcodes)
    save_model(folder, adapted.merge_and_unload(), tokenizer)
    after = probabilities(AutoModelForSequenceClassification.from_pretrained(folder), tokenizer, barcodes)
    difference = max(float((before[rank] - after[rank]).abs().max()) for rank in before)
    print(f"{folder} holds the merged model; its probabilities differ by {difference:.0e} at most.")
    assert difference < 1e-4, "The merged model names otherwise."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="my-barcodebert", help="folder or repository of a BarcodeBERT")
    parser.add_argument("--output", type=Path, required=True, help="folder for the adapter; also OUTPUT-merged")
    parser.add_argument("--data", default="sample", help="file of specimens with splits, such as a table")
    parser.add_argument("--max-steps", type=int, default=200, help="optimiser steps")
    options = parser.parse_args()
    disable_progress_bar()
    if options.model == "my-barcodebert" and not Path(options.model).exists():
        print("There is no model yet: one is pretrained first.")
        pretrain(small_model(Path(options.model), data=options.data))
    finetune(lora(options.model, options.output, data=options.data, max_steps=options.max_steps))
    classifier, tokenizer = load_classifier(options.output), AutoTokenizer.from_pretrained(options.output)
    barcodes = show_names(classifier, tokenizer, options.data)
    merge(classifier, tokenizer, options.output.with_name(f"{options.output.name}-merged"), barcodes)
