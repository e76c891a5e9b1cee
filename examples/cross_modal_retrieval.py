r"""Find specimens by photograph among known barcodes, and draw what was found.

On the embedded sample of simulated specimens, in a minute on two cores; a folder MODEL that is not there is first made
as on the command line by

    bioscan align --data sample --image-model new:tiny --text-model new:tiny --projection-dim 128 --require image \
        --batch-size 64 --learning-rate 1e-3 --dna-learning-rate 1e-4 --no-scale-learning-rate --loss-targets mean \
        --min-crop 0.5 --eval-strategy no --max-steps 120 --output my-clibd

Then:

    python examples/cross_modal_retrieval.py --model my-clibd --output found.png

All of benchmark 3 of BIOSCAN-5M, with tables and pictures, is one command:

    bioscan benchmark retrieval --model my-clibd --data sample --output my-clibd-retrieval
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from align_clibd_lora import align, small_model
from datasets import Dataset
from matplotlib.figure import Figure
from numpy.typing import NDArray
from transformers import AutoModel, AutoProcessor
from transformers.utils.logging import disable_progress_bar

from bioscan_hf import load_specimens, nearest_k, select_split

NEIGHBOURS = 3
BATCH = 64


@torch.inference_mode()
def embed_barcodes(model: Any, processor: Any, specimens: Dataset) -> NDArray[np.float32]:
    """Unit vectors of the barcodes, (N, D)."""
    parts = [
        model(**processor(dna=specimens[start : start + BATCH]["dna_barcode"])).dna_embeds
        for start in range(0, len(specimens), BATCH)
    ]
    return torch.cat(parts).numpy()


@torch.inference_mode()
def embed_images(model: Any, processor: Any, specimens: Dataset) -> NDArray[np.float32]:
    """Unit vectors of the photographs, (N, D)."""
    parts = [
        model(**processor(images=specimens[start : start + BATCH]["image"])).image_embeds
        for start in range(0, len(specimens), BATCH)
    ]
    return torch.cat(parts).numpy()


def draw(queries: Dataset, keys: Dataset, found: NDArray[np.int64], path: Path) -> None:
    """A row for each query: its photograph, and the names of the specimens whose barcodes are nearest."""
    figure = Figure(figsize=(8, 1.6 * len(queries)), layout="constrained")
    for axes, query, rows in zip(figure.subplots(len(queries), 1), queries, found, strict=True):
        axes.imshow(query["image"], extent=(0, 1, 0, 1))
        axes.set(xlim=(0, 6), ylim=(0, 1), aspect="equal")
        axes.axis("off")
        axes.text(1.1, 0.85, f"{query['species']} ({query['family']})", weight="bold")
        for place, row in enumerate(rows.tolist()):
            key = keys[row]
            right = key["family"] == query["family"]
            name = f"{place + 1}. {key['species']} ({key['family']})"
            axes.text(1.1, 0.6 - 0.25 * place, name, color="tab:green" if right else "tab:red")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="my-clibd", help="folder or repository of a CLIBD")
    parser.add_argument("--output", type=Path, default=Path("found.png"), help="the picture")
    parser.add_argument("--data", default="sample", help="file of specimens with images and splits")
    parser.add_argument("--max-steps", type=int, default=120, help="optimiser steps of a new model")
    options = parser.parse_args()
    disable_progress_bar()
    if options.model == "my-clibd" and not Path(options.model).exists():
        print("There is no model yet: one is aligned first.")
        align(small_model(Path(options.model), data=options.data, max_steps=options.max_steps))
    processor = AutoProcessor.from_pretrained(options.model)
    model = AutoModel.from_pretrained(options.model).eval()
    specimens = load_specimens(None if options.data == "sample" else options.data, image=True)
    keys = select_split(specimens, "train+key_unseen")
    queries = select_split(specimens, "test")
    queries = queries.select([row for row, image in enumerate(queries["image"]) if image is not None])
    found, _ = nearest_k(embed_barcodes(model, processor, keys), embed_images(model, processor, queries), NEIGHBOURS)
    families = np.array(keys["family"][:])[found[:, 0]]
    right = float(np.mean(families == np.array(queries["family"][:])))
    print(
        f"The nearest of {len(keys):,} barcodes is of the right family for {right:.1%} of {len(queries):,} photographs."
    )
    shown = range(0, len(queries), max(len(queries) // 5, 1))
    draw(queries.select(shown), keys, found[list(shown)], options.output)
    print(f"{options.output} shows {len(shown)} of them.")
