r"""Name specimens by their barcodes: at each rank, how sure, whether new, and nearest to which known specimen.

On the embedded sample of simulated specimens, in half a minute on two cores; the split `train` is what is known:

    python examples/identify_specimens.py --output names.csv

With a reference of your own (FASTA, CSV, BOLD's exports), or that of BIOSCAN-5M from the Hub, whose splits `val` and
`val_unseen` say how sure a name is; without such splits a part of the reference is held out for it:

    python examples/identify_specimens.py --data my_reference.csv --queries my_barcodes.fasta --output names.csv
    python examples/identify_specimens.py --data bioscan-ml/BIOSCAN-5M --queries my_barcodes.fasta --output names.csv

The same on the command line, for any number of queries:

    bioscan library build my_reference.csv --output my-library
    bioscan identify my_barcodes.fasta --library my-library --output names.csv --summary names.html
"""

import argparse
import sys
from pathlib import Path

from bioscan_hf import Identifier, Library
from bioscan_hf.data.anywhere import has_splits, load_anywhere
from bioscan_hf.data.features import COLUMN_NAMES
from bioscan_hf.identification.queries import read_queries
from bioscan_hf.identification.results import results_schema
from bioscan_hf.identification.streaming import identify_all
from bioscan_hf.identification.writers import result_writer

SHOWN = 8
NEAREST = 3


def make_library(data: str) -> Library:
    """Learn from the labels how to compare barcodes, and from other specimens how sure a name is."""
    if not has_splits(data):
        return Library.build(load_anywhere(data, COLUMN_NAMES))
    known = load_anywhere(data, COLUMN_NAMES, split="train")
    return Library.build(known, calibration=load_anywhere(data, COLUMN_NAMES, split="val+val_unseen+other_heldout"))


def describe(row: dict[str, object], truth: str | None) -> str:
    """A query in two lines."""
    if row["evidence"] is None:
        return f"{row['processid']}: no name, {row['notes']}"
    rank = row["safe_rank"]
    safe = f"{rank} {row['safe_taxon']} ({row[f'{rank}_probability']:.0%})" if rank else "no name is safe"
    new = "" if row["novelty"] is None else f"; new to the library: {row['novelty']:.0%}"
    near = f"{row['nearest_taxon']} ({row['nearest_processid']}), {row['nearest_identity']:.1%} of the letters"
    more = "".join(f"; {text}" for text in (row["notes"], truth and f"it is {truth}") if text)
    return f"{row['processid']}: {safe}{new}\n    nearest to {near}{more}"


def main() -> None:
    """Make a library, name the queries, write and show what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="sample", help="specimens with names: file, or repository on the Hub")
    parser.add_argument("--library", help="folder or repository of a library, instead of `--data`")
    parser.add_argument("--queries", help="file with barcodes; by default the test splits of `--data`")
    parser.add_argument("--max-error", type=float, default=0.05, help="share of the safe names that may be wrong")
    parser.add_argument("--output", type=Path, required=True, help="file *.csv, *.tsv, *.jsonl or *.parquet")
    options = parser.parse_args()

    library = Library.load(options.library) if options.library else make_library(options.data)
    print(f"A library of {len(library.specimens):,} specimens of {len(library.taxa['species']):,} species")
    identifier = Identifier(library, max_error=options.max_error, nearest=NEAREST)
    split, truth = None, {}
    if options.queries is None:  # then it is known what they are
        split = "test+test_unseen"
        tests = load_anywhere(options.data, ["processid", "species"], split=split)
        truth = dict(zip(tests["processid"][:], tests["species"][:], strict=True))
    queries = read_queries(options.queries or options.data, split=split, image=False)
    named = safe = new = 0
    with result_writer(options.output, results_schema(NEAREST)) as write:
        for table in identify_all(identifier, queries):  # each a pyarrow.Table of some thousand queries
            write(table)
            if not named:
                for row in table.to_pylist()[:: max(len(table) // SHOWN, 1)][:SHOWN]:
                    print(describe(row, truth.get(row["processid"])))
            named += len(table)
            safe += table["safe_rank"].to_pylist().count("species")
            new += table["novel"].to_pylist().count(True)
    print(f"{named:,} queries: {safe:,} are safe to species, {new:,} are probably of new species; see {options.output}")


if __name__ == "__main__":
    try:
        main()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"identify_specimens.py: {str(error).partition(chr(10))[0]}")
