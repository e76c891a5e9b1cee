r"""Train a classifier of barcodes by the Trainer of transformers, as any other of its models.

On the embedded sample of simulated specimens, in a minute on two cores:

    python examples/train_with_transformers_trainer.py --output my-trained

On a table of your own with splits `train` and `test`, or on BIOSCAN-5M from the Hub (on a GPU: `--max-steps 20000`):

    python examples/train_with_transformers_trainer.py --data my_table.csv --rank species --output my-trained
    python examples/train_with_transformers_trainer.py --data bioscan-ml/BIOSCAN-5M --max-steps 20000 \
        --output my-trained --push-to-hub me/my-trained

What the Trainer does not do, exact resuming, several ranks that agree with each other, a card with results beside
4-mer counts, the package's own loop does:

    bioscan finetune --model barcodebert-small --data sample --rank family,genus --output my-classifier
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from transformers import AutoTokenizer, EvalPrediction, Trainer, TrainingArguments, pipeline
from transformers.utils import logging

from bioscan_hf import BarcodeBertForSequenceClassification, KmerEncoder
from bioscan_hf.data.anywhere import load_anywhere
from bioscan_hf.data.collators import BarcodeAugmentation, LabelledKmerCollator
from bioscan_hf.evaluation.metrics.accuracy import Accuracy
from bioscan_hf.models.pretrained import find_packaged

SHOWN = 5


def accuracy(predicted: EvalPrediction) -> dict[str, float]:
    """Of the specimens that have a label; -1 is none."""
    return Accuracy().compute(predictions=predicted.predictions.argmax(axis=-1), references=predicted.label_ids) or {}


def main() -> None:
    """Load, train, evaluate, save, and use what was saved."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="sample", help="table of specimens with splits, or a repository on the Hub")
    parser.add_argument("--rank", default="genus", choices=["order", "family", "genus", "species"])
    parser.add_argument("--model", default="barcodebert-small", help="folder or repository of a BarcodeBERT")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--max-steps", type=int, default=120, help="optimiser steps")
    parser.add_argument("--push-to-hub", metavar="REPOSITORY", help="such as me/my-trained")
    options = parser.parse_args()

    disable_progress_bars()
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # that the classifier is new
    columns = ["processid", "dna_barcode", options.rank]
    train = load_anywhere(options.data, columns, split="train").filter(lambda row: bool(row[options.rank]))
    test = load_anywhere(options.data, columns, split="test")
    assert isinstance(train, Dataset) and isinstance(test, Dataset)
    names = sorted(train.unique(options.rank))
    number = {name: i for i, name in enumerate(names)}
    train, test = (
        part.add_column("label", [number.get(name, -1) for name in part[options.rank]]) for part in (train, test)
    )
    print(f"{len(train):,} specimens of {len(names)} taxa of the rank {options.rank}; {len(test):,} to test with")

    place = find_packaged(options.model)
    fields: dict[str, Any] = {"id2label": dict(enumerate(names)), "label2id": number}
    # The packaged model is a classifier of other taxa at several ranks.
    fields |= {"ranks": None, "taxa": None, "lineages": None, "ignore_mismatched_sizes": True}
    model = BarcodeBertForSequenceClassification.from_pretrained(place, **fields)
    collator = LabelledKmerCollator(BarcodeAugmentation(KmerEncoder.from_config(model.config), random_offset=False))

    trainer = Trainer(
        model,
        TrainingArguments(
            str(options.output),
            max_steps=options.max_steps,
            per_device_train_batch_size=32,
            learning_rate=2e-3,
            warmup_steps=0.1,
            logging_steps=20,
            save_strategy="no",
            remove_unused_columns=False,  # the collator takes the barcodes from the rows
            dataloader_pin_memory=torch.cuda.is_available(),
            disable_tqdm=True,
            report_to="none",
            hub_model_id=options.push_to_hub,
            seed=0,
        ),
        train_dataset=train,
        eval_dataset=test,
        data_collator=lambda rows: collator(
            [row["dna_barcode"] for row in rows], [row["label"] for row in rows], seeds=None
        ),
        processing_class=AutoTokenizer.from_pretrained(place),
        compute_metrics=accuracy,
    )
    trainer.train()
    result = trainer.evaluate()
    print(f"accuracy on test: {result['eval_accuracy']:.1%} of {result['eval_count']:.0f}")
    trainer.save_model()
    if options.push_to_hub:
        print(f"pushed to {trainer.push_to_hub()}")

    classify = pipeline("text-classification", model=str(options.output))
    for row in test.select(range(0, len(test), max(len(test) // SHOWN, 1))[:SHOWN]):
        found = classify(row["dna_barcode"])[0]
        print(f"{found['label']} ({found['score']:.0%}); it is {row[options.rank]}")


if __name__ == "__main__":
    try:
        main()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"train_with_transformers_trainer.py: {str(error).partition(chr(10))[0]}")
