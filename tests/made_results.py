"""Tables of results of identification, made up: names, probabilities, novelty, nearest specimens and places."""

import numpy as np
import pyarrow as pa

from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.results import results_schema

TREE = {
    ("Arthropoda", "Insecta", "Diptera", "Cecidomyiidae", None): 30,
    ("Arthropoda", "Insecta", "Diptera", "Sciaridae", "Sciarinae"): 14,
    ("Arthropoda", "Insecta", "Diptera", "Chironomidae", "Orthocladiinae"): 11,
    ("Arthropoda", "Insecta", "Diptera", "Phoridae", "Metopininae"): 8,
    ("Arthropoda", "Insecta", "Hymenoptera", "Braconidae", "Microgastrinae"): 9,
    ("Arthropoda", "Insecta", "Hymenoptera", "Platygastridae", "Scelioninae"): 5,
    ("Arthropoda", "Insecta", "Hemiptera", "Cicadellidae", "Typhlocybinae"): 6,
    ("Arthropoda", "Insecta", "Lepidoptera", "Gelechiidae", "Gelechiinae"): 4,
    ("Arthropoda", "Insecta", "Coleoptera", "Staphylinidae", "Aleocharinae"): 4,
    ("Arthropoda", "Collembola", "Entomobryomorpha", "Entomobryidae", "Entomobryinae"): 3,
    ("Arthropoda", "Arachnida", "Araneae", "Linyphiidae", "Erigoninae"): 3,
}
"""Phylum to subfamily, and how often it occurs."""
REACHED = {"species": 0.62, "genus": 0.14, "family": 0.12, "order": 0.05, "class": 0.02, None: 0.05}
"""Safe ranks and their shares."""
NOTES = ["reverse complement", "stop codon", "not like the barcodes of the library", "the barcode is empty"]
SITES = np.array([(9.4, -83.7), (46.8, 8.2), (-25.7, 28.2), (43.5, -80.2), (-12.0, -77.0), (-35.3, 149.1)])


def made_results(rows: int = 2000, *, seed: int = 0, places: bool = True) -> pa.Table:
    """Results of mostly known insects, some of them new, some without a barcode.

    Args:
        rows: How many.
        seed: Seed of all chance.
        places: Whether most of them have coordinates.
    """
    rng = np.random.default_rng(seed)
    weights = np.array(list(TREE.values()))
    branches = rng.choice(len(TREE), rows, p=weights / weights.sum())
    reached = rng.choice(len(REACHED), rows, p=list(REACHED.values()))
    return pa.Table.from_pylist(
        [
            _row(rng, number, list(TREE)[branch], list(REACHED)[rank], places)
            for number, (branch, rank) in enumerate(zip(branches, reached, strict=True))
        ],
        results_schema(),
    )


def _row(rng: np.random.Generator, number: int, branch: tuple[str | None, ...], safe: str | None, places: bool) -> dict:
    genus = f"{(branch[4] or branch[3] or '')[:5]}{'aeiou'[rng.integers(5)]}"
    names = dict(zip(RANKS, (*branch, genus, f"{genus} sp{rng.geometric(0.25)}"), strict=True))
    row: dict = {"processid": f"MADEX{number:06d}-26"}
    if places and rng.random() < 0.9:
        site = SITES[rng.choice(len(SITES), p=[0.4, 0.2, 0.15, 0.12, 0.08, 0.05])] + rng.normal(0, 2.5, 2)
        row |= {"coord-lat": site[0], "coord-lon": site[1]}
    if safe is None and rng.random() < 0.5:
        return {**row, "notes": NOTES[3]}
    probabilities = np.sort(rng.beta(40 if safe == "species" else 4, 1, len(RANKS)))[::-1]
    novelty = rng.beta(0.6, 9) if safe == "species" else rng.beta(2, 2)
    identity = 1 - (rng.choice([0, rng.gamma(1, 0.004)]) if safe == "species" else rng.gamma(3, 0.015))
    return {
        **row,
        **names,
        **{f"{rank}_probability": chance for rank, chance in zip(RANKS, probabilities, strict=True) if names[rank]},
        "safe_rank": safe,
        "safe_taxon": safe and names[safe],
        "novelty": novelty,
        "novel": novelty >= 0.5,
        "nearest_processid": f"KEYSX{rng.integers(10**6):06d}-20",
        "nearest_taxon": names["species"],
        "nearest_dna_bin": f"BOLD:AA{rng.integers(10**4):04d}",
        "nearest_similarity": identity,
        "nearest_identity": identity,
        "evidence": "barcode",
        "notes": "; ".join(NOTES[i] for i in range(3) if rng.random() < 0.01) or None,
    }


def rows(*records: dict) -> pa.Table:
    """A table of results with these columns, null in the others."""
    return pa.Table.from_pylist([{"processid": str(i), **record} for i, record in enumerate(records)], results_schema())
