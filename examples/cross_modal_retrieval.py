r"""Find specimens by photograph among known barcodes and among known photographs, and draw what was found.

On the embedded sample of simulated specimens, in half a minute on two cores, by the model that comes with the package:

    python examples/cross_modal_retrieval.py --output found.png

By a model of yours, on a folder of photographs with a table that has splits, or on BIOSCAN-5M, with its images:

    python examples/cross_modal_retrieval.py --model me/my-clibd --data photos --output found.png
    python examples/cross_modal_retrieval.py --model me/my-clibd --data bioscan-ml/BIOSCAN-5M --output found.png

All of benchmark 3 of BIOSCAN-5M, with all pairs of modalities and the published figures, is one command:

    bioscan benchmark retrieval --model clibd-small --data sample --output my-retrieval
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from datasets import Dataset
from matplotlib.figure import Figure
from numpy.typing import NDArray
from transformers.utils.logging import disable_progress_bar

from bioscan_hf import embed, load_clibd, nearest_k
from bioscan_hf.data.anywhere import load_anywhere
from bioscan_hf.evaluation.benchmarks.zero_shot_clustering import with_modalities

RANKS = ["order", "family", "genus", "species"]
QUERIES, FOUND = 5, 2
Found = tuple[str, Dataset, NDArray[np.int64]]


def draw(queries: Dataset, results: list[Found], path: Path) -> None:
    """A row for each query: its photograph, and what is nearest by each way of looking, green if of its family."""
    width = 1 + FOUND * len(results)
    figure = Figure(figsize=(2.1 * width, 2.2 * len(queries)), layout="constrained")
    for row, (query, panels) in enumerate(
        zip(queries, figure.subplots(len(queries), width, squeeze=False), strict=True)
    ):
        shown = [("query", query)]
        shown += [(title, keys[key]) for title, keys, found in results for key in found[row, :FOUND].tolist()]
        for axes, (title, specimen) in zip(panels, shown, strict=True):
            if specimen["image"] is not None:
                axes.imshow(specimen["image"])
            else:
                axes.text(0.5, 0.5, "no photograph", ha="center", va="center", color="0.5", transform=axes.transAxes)
            right = specimen["family"] == query["family"]
            name = (specimen["species"] or specimen["family"] or "").replace(" ", "\n", 1)
            colour = "black" if title == "query" else "tab:green" if right else "tab:red"
            axes.set_title(f"{title}\n{name}", fontsize="small", color=colour)
            axes.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=100)


def main() -> None:
    """Embed, search, count, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="clibd-small", help="folder or repository of a CLIBD")
    parser.add_argument("--data", default="sample", help="specimens with images and splits, or a repository")
    parser.add_argument("--output", type=Path, required=True, help="the picture, such as found.png")
    options = parser.parse_args()

    disable_progress_bar()
    encoders = load_clibd(options.model)  # of images, barcodes and texts, into one space
    columns = ["processid", "image", "dna_barcode", *RANKS]
    queries = load_anywhere(options.data, columns, split="test")
    keys = load_anywhere(options.data, columns, split="train+key_unseen")
    queries = queries.select(with_modalities(queries, ["image"]))
    pictured = keys.select(with_modalities(keys, ["image"]))

    photographs = embed(encoders["image"], queries).vectors  # (N, D), each of length 1
    by_barcode, _ = nearest_k(embed(encoders["dna"], keys).vectors, photographs, FOUND)
    by_photograph, _ = nearest_k(embed(encoders["image"], pictured).vectors, photographs, FOUND)
    print(f"{len(queries):,} photographs, of which the nearest is of the same")
    for rank in RANKS:
        truth = np.array(queries[rank][:], object)
        named = np.array([bool(name) for name in truth])
        if named.any():
            one, other = (
                np.mean((np.array(among[rank][:], object)[found[:, 0]] == truth)[named])
                for among, found in ((keys, by_barcode), (pictured, by_photograph))
            )
            print(f"{rank:>10}: {one:6.1%} of {len(keys):,} barcodes, {other:6.1%} of {len(pictured):,} photographs")

    shown = list(range(0, len(queries), max(len(queries) // QUERIES, 1)))[:QUERIES]
    results = [("by barcode", keys, by_barcode[shown]), ("by photograph", pictured, by_photograph[shown])]
    draw(queries.select(shown), results, options.output)
    print(f"{options.output} shows {len(shown)} of them, and what was found: green if it is of the same family")


if __name__ == "__main__":
    try:
        main()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"cross_modal_retrieval.py: {str(error).partition(chr(10))[0]}")
