r"""Embed barcodes, ask which specimens are nearest to each other, and draw a map of all.

On the embedded sample of simulated specimens, in half a minute on two cores, with the imports:

    python examples/embed_barcodes.py --split seen+unseen --output my-embeddings

On a file of your own (FASTA, CSV, TSV, Parquet), or on BIOSCAN-5M from the Hub, of which only the metadata are read:

    python examples/embed_barcodes.py --data my_barcodes.fasta --output my-embeddings
    python examples/embed_barcodes.py --data bioscan-ml/BIOSCAN-5M --split test --output my-embeddings

For millions of barcodes, killed and resumed, the embeddings are one command:

    bioscan embed bioscan-ml/BIOSCAN-5M --split pretrain --output pretrain.parquet
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from transformers.utils.logging import disable_progress_bar

from bioscan_hf import embed, nearest_k
from bioscan_hf.data.anywhere import load_anywhere
from bioscan_hf.evaluation.pictures import embedding_map, save_picture

RANKS = ["order", "family", "genus", "species"]
SHOWN = 5


def main() -> None:
    """Embed, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="sample", help="file of specimens, or a repository on the Hub")
    parser.add_argument("--split", help="split, or a sum such as val+test; by default all specimens")
    parser.add_argument("--model", default="barcodebert-small", help="folder or repository of a model, or kmer:4")
    parser.add_argument("--rank", default="order", choices=RANKS, help="what the colours of the map mean")
    parser.add_argument("--output", type=Path, required=True, help="folder for the embeddings and the map")
    options = parser.parse_args()

    disable_progress_bar()
    specimens = load_anywhere(options.data, ["processid", "dna_barcode", *RANKS], split=options.split)
    vectors = embed(options.model, specimens).vectors  # (N, D), each of length 1
    print(f"{len(vectors):,} specimens, {vectors.shape[1]} numbers each, by {options.model}")

    # `bioscan_hf.Precomputed`, and every option that takes a model, read this file, too.
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / "embeddings.parquet"
    pq.write_table(pa.table({"processid": specimens["processid"][:], "embedding": list(vectors)}), file)

    # The nearest of all specimens is mostly the specimen itself; then comes the neighbour. Of equal barcodes the order
    # is open, so that itself may come second.
    found, cosines = nearest_k(vectors, vectors, 2)
    itself = found[:, 0] == np.arange(len(found))
    neighbour, cosine = (np.where(itself, one[:, 1], one[:, 0]) for one in (found, cosines))
    names = {rank: np.array(specimens[rank][:], object) for rank in RANKS}
    for rank, own in names.items():
        labelled = (own != None) & (own[neighbour] != None)  # noqa: E711  # of each entry
        if labelled.any():
            right = (own == own[neighbour])[labelled].mean()
            print(f"The neighbour is of the same {rank} for {right:.1%} of the {labelled.sum():,} named ones")
    for row in range(0, len(found), max(len(found) // SHOWN, 1))[:SHOWN]:
        here, there = (names["species"][i] or specimens[i]["processid"] for i in (row, int(neighbour[row])))
        print(f"  {here} is nearest to {there} (cosine {cosine[row]:.3f})")

    picture = options.output / "map.png"
    title = f"Embeddings of barcodes by {options.model}, coloured by {options.rank}"
    save_picture(embedding_map(vectors, names[options.rank].tolist(), title=title), picture)
    print(f"{file} holds the embeddings, {picture} shows them")


if __name__ == "__main__":
    try:
        main()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"embed_barcodes.py: {str(error).partition(chr(10))[0]}")
