r"""Align images, barcodes and taxonomy texts by adapters (LoRA, r = 4), as CLIBD, and name families without training.

On the embedded sample of simulated specimens, in less than two minutes on two cores; a folder MODEL that is not there
is first made of small new towers, which takes most of it:

    python examples/align_clibd_lora.py --model my-clibd --output my-clibd-lora

The same on the command line. With real towers no first alignment is needed, and the recipe is the paper's: `bioscan
align --config clibd-lora --data bioscan-ml/BIOSCAN-5M --output ...`.

    bioscan align --model my-clibd --data sample --method lora --require image --batch-size 64 --learning-rate 1e-3 \
        --no-scale-learning-rate --loss-targets mean --min-crop 0.5 --eval-strategy no --max-steps 40 \
        --output my-clibd-lora
"""

import argparse
import shlex
import sys
from pathlib import Path

import torch
from pretrain_barcodebert import show_progress
from transformers import AutoProcessor
from transformers.utils.logging import disable_progress_bar

from bioscan_hf import ClibdForImageClassification, load_specimens, select_split
from bioscan_hf.tokenization.taxonomy import taxonomy_text
from bioscan_hf.training.alignment_arguments import AlignmentArguments
from bioscan_hf.training.contrastive import alignment_task
from bioscan_hf.training.run import run

SPECIMENS_SHOWN = 5


def small_model(output: Path, *, data: str = "sample", max_steps: int = 120) -> AlignmentArguments:
    """New towers for image and text, and the BarcodeBERT that comes with the package, trained whole."""
    return AlignmentArguments(
        data=data,
        output=output,
        image_model="new:tiny",
        text_model="new:tiny",
        projection_dim=128,
        require="image",  # most specimens of the sample have none
        batch_size=64,
        learning_rate=1e-3,
        dna_learning_rate=1e-4,
        scale_learning_rate=False,
        loss_targets="mean",  # specimens of one species are no strangers to each other
        min_crop=0.5,
        eval_strategy="no",
        max_steps=max_steps,
    )


def lora(model: str, output: Path, *, data: str = "sample", max_steps: int = 40) -> AlignmentArguments:
    """Adapters on query and value; towers stay as they are, projections and temperature are trained on."""
    return AlignmentArguments(
        model=model,
        data=data,
        output=output,
        method="lora",
        require="image",
        batch_size=64,
        learning_rate=1e-3,
        scale_learning_rate=False,
        loss_targets="mean",
        min_crop=0.5,
        eval_strategy="no",
        max_steps=max_steps,
    )


def align(arguments: AlignmentArguments) -> None:
    """Train, and say how often the nearest barcode is of the right family."""
    trained = run(alignment_task, arguments, command=shlex.join(["python", *sys.argv]), report=show_progress)
    for result in trained.results:
        if result.metric == "accuracy" and result.benchmark.startswith("image to DNA retrieval, family"):
            print(f"{result.benchmark}: {100 * result.value:.1f} % of {result.count}")


@torch.inference_mode()
def name_families(folder: Path, data: str) -> None:
    """Compare photographs of test specimens with the texts of all families: no classifier is trained."""
    specimens = load_specimens(None if data == "sample" else data, image=True)
    known = select_split(specimens, "train")
    families = dict(zip(known["family"][:], known["order"][:], strict=True))
    taxa = {
        family: taxonomy_text({"order": order, "family": family}, form="clibd")
        for family, order in sorted(families.items(), key=str)
        if family
    }
    processor = AutoProcessor.from_pretrained(folder)
    model = ClibdForImageClassification.from_pretrained(folder).eval()
    model.set_taxa(taxa, processor)
    tests = select_split(specimens, "test")
    tests = tests.select(range(0, len(tests), max(len(tests) // SPECIMENS_SHOWN, 1)))
    chances = model(**processor(images=tests["image"][:])).logits.softmax(dim=-1)
    for specimen, own in zip(tests, chances, strict=True):
        chance, best = own.max(dim=0)
        print(f"family {model.config.id2label[int(best)]} ({chance:.0%}); it is {specimen['family']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="my-clibd", help="folder or repository of a CLIBD")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--data", default="sample", help="file of specimens with images and splits")
    parser.add_argument("--max-steps", type=int, default=40, help="optimiser steps; three times as many of a new model")
    options = parser.parse_args()
    disable_progress_bar()
    if options.model == "my-clibd" and not Path(options.model).exists():
        print("There is no model yet: one is aligned first.")
        align(small_model(Path(options.model), data=options.data, max_steps=3 * options.max_steps))
    align(lora(options.model, options.output, data=options.data, max_steps=options.max_steps))
    name_families(options.output, options.data)
