r"""Cluster barcodes without any training, and ask how well the clusters agree with the taxonomy (AMI).

On the embedded sample of simulated specimens, in a minute on two cores (`pip install '.[clustering]'`):

    python examples/zero_shot_clustering.py --split test+test_unseen --output my-clusters

On a table of your own with the columns of ranks, or on BIOSCAN-5M from the Hub, of which only the metadata are read:

    python examples/zero_shot_clustering.py --data my_table.csv --output my-clusters
    python examples/zero_shot_clustering.py --data bioscan-ml/BIOSCAN-5M --split test+test_unseen --output my-clusters

All of benchmark 2 of BIOSCAN-5M, also of images, with further measures and the published figures, is one command:

    bioscan benchmark clustering --dna barcodebert-small --dna kmer:6 --data sample --output clustering-sample
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from matplotlib.figure import Figure
from transformers.utils.logging import disable_progress_bar

from bioscan_hf import Clustering, cluster, embed
from bioscan_hf.data.anywhere import load_anywhere
from bioscan_hf.evaluation.metrics.cluster_agreement import ClusterAgreement

RANKS = ["order", "family", "subfamily", "genus", "species"]


def draw(scores: dict[str, list[float]], path: Path) -> None:
    """A line for each encoder, over the ranks."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for encoder, own in scores.items():
        axes.plot(RANKS, [100 * value for value in own], marker="o", label=encoder)
    axes.set(title="Clusters of barcodes and the taxonomy", ylabel="AMI (%)", ylim=(0, 103))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(path, dpi=130)


def main() -> None:
    """Embed, cluster, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="sample", help="table of specimens, or a repository on the Hub")
    parser.add_argument("--split", help="split, or a sum such as test+test_unseen; by default all specimens")
    parser.add_argument("--encoders", nargs="+", default=["barcodebert-small", "kmer:6"], help="models, or kmer:6")
    parser.add_argument("--reduction", default="umap", choices=["umap", "pca", "none"], help="before clustering")
    parser.add_argument("--output", type=Path, required=True, help="folder for table and picture")
    options = parser.parse_args()

    disable_progress_bar()
    specimens = load_anywhere(options.data, ["processid", "dna_barcode", *RANKS], split=options.split)
    # By number, in each column; -1 for no name.
    labels = {rank: np.unique([name or "" for name in specimens[rank][:]], return_inverse=True) for rank in RANKS}
    numbers = {rank: np.where(names[own] == "", -1, own) for rank, (names, own) in labels.items()}
    species = len(set(numbers["species"].tolist()) - {-1})
    if species < 2:
        raise ValueError(f"Expected specimens of two species or more; got {species}. Choose a --split with names.")
    print(f"{len(specimens):,} specimens of {species:,} species, into as many clusters")

    recipe = Clustering(reduction=options.reduction)  # else as in the paper: UMAP to 50 dimensions, Ward's linkage
    scores: dict[str, list[float]] = {}
    table = {"processid": specimens["processid"][:], "species": specimens["species"][:]}
    print(f"{'AMI (%)':>20}", *(f"{rank:>10}" for rank in RANKS))
    for encoder in options.encoders:
        found = cluster(embed(encoder, specimens).vectors, recipe, clusters=species, seed=0)
        agreement = ClusterAgreement()
        scores[encoder] = [
            # Divided by the entropy of the labels, so that a cluster of one genus is right about its family, too.
            agreement.compute(predictions=found, references=own)["ami_true_entropy"] if (own >= 0).any() else np.nan
            for own in numbers.values()
        ]
        table[encoder] = found.tolist()
        print(f"{encoder:>20}", *(f"{100 * score:>10.1f}" for score in scores[encoder]))

    options.output.mkdir(parents=True, exist_ok=True)
    pyarrow.csv.write_csv(pa.table(table), options.output / "clusters.csv")
    draw(scores, options.output / "ami.png")
    print(f"{options.output} holds clusters.csv, the cluster of each specimen, and ami.png")


if __name__ == "__main__":
    try:
        main()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"zero_shot_clustering.py: {str(error).partition(chr(10))[0]}")
