r"""Fine-tune a CLIBD by adapters (LoRA, r = 4) on images, barcodes and taxonomy texts, and name families by it.

On the embedded sample of simulated specimens, in a minute on two cores, from the model that comes with the package:

    python examples/finetune_clibd_lora.py --output my-clibd

With a model of yours, on a folder of photographs with a table that has splits, or on BIOSCAN-5M, with its images:

    python examples/finetune_clibd_lora.py --model me/my-clibd --data photos --output my-clibd
    python examples/finetune_clibd_lora.py --model me/my-clibd --data bioscan-ml/BIOSCAN-5M --max-steps 20000 \
        --output my-clibd

The same on the command line; the recipe of the paper, from towers of the Hub, is `--config clibd-lora`:

    bioscan align --model clibd-small --data sample --method lora --require image --batch-size 64 \
        --learning-rate 1e-3 --no-scale-learning-rate --loss-targets mean --min-crop 0.5 --eval-strategy no \
        --max-steps 20 --output my-clibd
"""

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import AutoProcessor
from transformers.utils.logging import disable_progress_bar

from bioscan_hf import ClibdForImageClassification
from bioscan_hf.data.anywhere import load_anywhere
from bioscan_hf.evaluation.benchmarks.zero_shot_clustering import with_modalities
from bioscan_hf.tokenization.taxonomy import taxonomy_text
from bioscan_hf.training.alignment_arguments import AlignmentArguments
from bioscan_hf.training.contrastive import alignment_task
from bioscan_hf.training.run import run

SHOWN = 5


def settings(model: str, output: Path, *, data: str = "sample", max_steps: int = 20) -> AlignmentArguments:
    """Adapters on query and value; towers stay as they are, projections and temperature are trained on."""
    return AlignmentArguments(
        model=model,
        data=data,
        output=output,
        method="lora",
        require="image",  # specimens without one take no part
        batch_size=64,
        learning_rate=1e-3,
        scale_learning_rate=False,
        loss_targets="mean",  # specimens of one species are no strangers to each other
        min_crop=0.5,
        eval_strategy="no",
        max_steps=max_steps,
    )


def show_progress(step: int, steps: int, record: Mapping[str, float]) -> None:
    """Print the loss now and then."""
    if "loss" in record and (step % 5 == 0 or step == steps):
        print(f"step {step} of {steps}: loss {record['loss']:.3f}")


@torch.inference_mode()
def name_families(folder: Path, data: str) -> None:
    """Compare photographs of test specimens with the texts of all families: no classifier is trained."""
    known = load_anywhere(data, ["processid", "order", "family"], split="train")
    families = dict(zip(known["family"][:], known["order"][:], strict=True))
    taxa = {
        family: taxonomy_text({"order": order, "family": family}, form="clibd")
        for family, order in sorted(families.items(), key=str)
        if family
    }
    processor = AutoProcessor.from_pretrained(folder)
    model = ClibdForImageClassification.from_pretrained(folder).eval()
    model.set_taxa(taxa, processor)
    tests = load_anywhere(data, ["processid", "image", "family"], split="test")
    pictured = with_modalities(tests, ["image"])
    tests = tests.select(pictured[:: max(len(pictured) // SHOWN, 1)][:SHOWN])
    chances = model(**processor(images=tests["image"][:])).logits.softmax(dim=-1)
    for specimen, own in zip(tests, chances, strict=True):
        chance, best = own.max(dim=0)
        print(f"family {model.config.id2label[int(best)]} ({chance:.0%}); it is {specimen['family']}")


def main() -> None:
    """Train, say how often the nearest barcode is of the right taxon, and name families by photograph."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="clibd-small", help="folder or repository of a CLIBD")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model, adapters merged")
    parser.add_argument("--data", default="sample", help="specimens with images and splits, or a repository")
    parser.add_argument("--max-steps", type=int, default=20, help="optimiser steps")
    options = parser.parse_args()

    disable_progress_bar()
    arguments = settings(options.model, options.output, data=options.data, max_steps=options.max_steps)
    trained = run(alignment_task, arguments, command=shlex.join(["python", *sys.argv]), report=show_progress)
    for result in trained.results:
        if result.metric == "accuracy" and result.benchmark.startswith("image to DNA retrieval, family"):
            print(f"{result.benchmark}: {100 * result.value:.1f} % of {result.count}")
    name_families(options.output, options.data)


if __name__ == "__main__":
    try:
        main()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"finetune_clibd_lora.py: {str(error).partition(chr(10))[0]}")
