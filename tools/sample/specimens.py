"""From a seed to the table of specimens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bioscan_hf.data.features import COLUMN_NAMES, RANKS, image_chunk

from .barcodes import Gene
from .census import SPECIMENS_PER_SPECIES, Census, take_census
from .genealogies import BIN_AGE, population_sizes, simulate_genealogy
from .images import ORIGINAL, Photograph
from .labels import label_ranks, name_species
from .places import MISSING_SHARE, parse_sites, settle
from .reads import read_barcode
from .splits import assign_splits
from .taxonomy import Node, Taxonomy, grow_taxonomy
from .traits import evolve_traits

BIN_MISSING_SHARE = 0.003
OLD_SHARE = 0.2
"""Share of specimens that were in BIOSCAN-1M already."""
INFERRED_SHARE = 0.04
"""Share of specimens with an inferred rank; the released coding is not published, so the numbers mean nothing."""

FEWEST, MOST = 300, 11 * 9_999
"""Fewer specimens give no unseen species to speak of; more than this have no process ids."""

Row = dict[str, object]


@dataclass
class Sequences:
    """What the simulated evolution gives, one entry per specimen.

    Attributes:
        species: Index of the true species.
        barcodes: Barcode as reported.
        bins: Name of the cluster.
    """

    species: list[int]
    barcodes: list[str]
    bins: list[str]


def evolve_sequences(taxonomy: Taxonomy, census: Census, rng: np.random.Generator) -> Sequences:
    """Evolve the gene down the species tree and, inside each family, down the genealogy of its specimens."""
    gene = Gene(rng)
    sizes = population_sizes(census.specimens, rng)
    families = {id(family) for family in taxonomy.families}
    result = Sequences([], [], [])

    def descend(node: Node, sequence: list[int], age: float) -> None:
        if id(node) not in families:
            here = gene.evolve(sequence, age - node.age)
            for child in node.children:
                descend(child, here, node.age)
            return
        genealogy = simulate_genealogy(node, census.specimens, sizes, int(rng.integers(1, 2**31)))
        genes: dict[int, list[int]] = {}
        for lineage in genealogy.preorder:
            above = genealogy.parent[lineage]
            start, since = (genes[above], genealogy.age[above]) if above >= 0 else (sequence, age)
            # A family's lineages may, rarely, join before the tree says it left its order.
            genes[lineage] = gene.evolve(start, max(0.0, since - genealogy.age[lineage]))
        first = len(set(result.bins)) + 1
        numbers: dict[int, int] = {}
        for specimen, cluster in enumerate(genealogy.clusters(BIN_AGE)):
            result.species.append(genealogy.species[specimen])
            result.barcodes.append(read_barcode(genes[specimen], rng))
            result.bins.append(f"SIM:AAA{numbers.setdefault(cluster, first + len(numbers)):04d}")

    descend(taxonomy.root, gene.root, taxonomy.root.age)
    return result


def choose_images(splits: list[str], number: int, rng: np.random.Generator) -> set[int]:
    """Rows with an image: all of the evaluation sets; of what is left four fifths from `train`, one from `pretrain`."""
    shuffled = rng.permutation(len(splits)).tolist()
    evaluation = [row for row in shuffled if splits[row] not in ("train", "other_heldout", "pretrain")][:number]
    left = number - len(evaluation)
    train = [row for row in shuffled if splits[row] == "train"][: round(0.8 * left)]
    pretrain = [row for row in shuffled if splits[row] == "pretrain"][: left - len(train)]
    return {*evaluation, *train, *pretrain}


def describe_places(taxonomy: Taxonomy, species: list[int], rng: np.random.Generator) -> list[Row]:
    """Country, province and coordinates of every specimen."""
    sites = parse_sites()
    ranges = settle([str(labels[5]) for labels in taxonomy.labels], sites, rng)
    rows: list[Row] = []
    for one in species:
        site = sites[rng.choice(len(sites), p=ranges[one])]
        known = rng.random() >= MISSING_SHARE
        rows.append({
            "country": site.country,
            "province_state": site.province,
            "coord-lat": site.latitude if known else None,
            "coord-lon": site.longitude if known else None,
        })  # fmt: skip
    return rows


def photograph(traits: np.ndarray, order: int, key: list[int], *, keep: bool) -> Row:
    """Size columns of a specimen, and its image if it is to be kept."""
    rng = np.random.default_rng(key)
    photo = Photograph.take(traits, order, rng)
    return {
        "image": photo.develop(rng) if keep else None,
        "image_measurement_value": round(photo.covered * photo.side**2),
        "area_fraction": round(photo.side**2 / (ORIGINAL[0] * ORIGINAL[1]), 4),
        "scale_factor": round(photo.side / 256, 4),
    }


def make_specimens(specimens: int, images: int, seed: int) -> list[Row]:
    """Simulate specimens.

    Args:
        specimens: Number of specimens.
        images: How many of them get an image.
        seed: Fixes everything.

    Returns:
        One mapping per specimen with the columns of BIOSCAN-5M and `image` (JPEG bytes or None), in a random order.

    Raises:
        ValueError: If a number is out of range.
    """
    if not FEWEST <= specimens <= MOST:
        raise ValueError(f"`specimens` must be from {FEWEST} to {MOST}; got {specimens}.")
    if not 0 <= images <= specimens:
        raise ValueError(f"`images` must be from 0 to `specimens` ({specimens}); got {images}.")
    if seed < 0:
        raise ValueError(f"`seed` must not be negative; got {seed}.")
    # One stream a stage, so that a change in one leaves the others as they are.
    streams = [np.random.default_rng([seed, stage]) for stage in range(9)]
    taxonomy = grow_taxonomy(max(60, specimens // SPECIMENS_PER_SPECIES), streams[0])
    census = take_census([str(labels[5]) for labels in taxonomy.labels], specimens, streams[1])
    sequences = evolve_sequences(taxonomy, census, streams[2])
    species, barcodes = sequences.species, sequences.barcodes
    names = name_species(barcodes, species, census, streams[3])
    labels = label_ranks(barcodes, species, names, taxonomy, streams[4])
    splits = assign_splits(names, [label[5] for label in labels], barcodes)
    places = describe_places(taxonomy, species, streams[5])
    traits = evolve_traits(taxonomy, streams[6])
    pictured = choose_images(splits, images, streams[7])
    rng = streams[8]
    older = iter(np.sort(rng.choice(1_128_313, specimens, replace=False)).tolist())
    rows: list[Row] = []
    for number, index in enumerate(rng.permutation(specimens).tolist()):
        one = species[index]
        processid = f"SIM{'ABCDEFGHIJK'[number // 9999]}{number % 9999 + 1:04d}-26"
        values: Row = dict(zip(RANKS, labels[index], strict=True)) | places[index]
        values |= photograph(traits[one], taxonomy.order[one], [seed, 9, index], keep=index in pictured)
        values |= {
            "processid": processid,
            "sampleid": f"SIM-{number // 95:04d}-{'ABCDEFGH'[number % 95 // 12]}{number % 95 % 12 + 1:02d}",
            "taxon": next(label for label in reversed(labels[index]) if label is not None),
            "dna_bin": sequences.bins[index] if rng.random() >= BIN_MISSING_SHARE else None,
            "dna_barcode": barcodes[index],
            "inferred_ranks": int(rng.integers(1, 5)) if rng.random() < INFERRED_SHARE else 0,
            "split": splits[index],
            "index_bioscan_1M_insect": next(older) if rng.random() < OLD_SHARE else None,
            "chunk": image_chunk(processid, splits[index]),
        }
        rows.append({name: values[name] for name in ("image", *COLUMN_NAMES)})
    return rows
