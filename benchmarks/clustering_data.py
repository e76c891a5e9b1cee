"""Made embeddings in the shape of the real ones: half of them repeated, species within genera within families."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of the splits test and test_unseen of BIOSCAN-5M: specimens, distinct barcodes cut to 660, species.
SPECIMENS, BARCODES, SPECIES = 47_260, 21_763, 4_363
_SPECIES_PER_GENUS, _GENERA_PER_FAMILY = 3, 6
_LATENT = 32  # dimensions in which taxa differ


@dataclass(frozen=True)
class Made:
    """Embeddings and what they are of.

    Attributes:
        vectors: float32 (N, 768), of length 1; specimens with equal barcodes have equal ones.
        species: int64 (N,).
    """

    vectors: NDArray[np.float32]
    species: NDArray[np.int64]


def made_embeddings(specimens: int, seed: int, width: int = 768) -> Made:
    """Make embeddings with as many barcodes and species to a specimen as in BIOSCAN-5M.

    Barcodes scatter about their species, these about their genus, and these about their family: Gaussians of 32
    dimensions, which a random layer makes 768. Some species scatter more than others, and sizes have long tails.

    Args:
        specimens: Number of vectors, at least 50.
        seed: Of all chance.
        width: Features of a vector.
    """
    random = np.random.default_rng(seed)
    barcodes, species = (round(specimens * count / SPECIMENS) for count in (BARCODES, SPECIES))
    genera = max(species // _SPECIES_PER_GENUS, 1)
    families = max(genera // _GENERA_PER_FAMILY, 1)

    def scatter(count: int) -> NDArray[np.float64]:
        return random.normal(size=(count, _LATENT))

    family_of = long_tailed(genera, families, 0.8, random)
    genus_of = long_tailed(species, genera, 0.8, random)
    species_of = long_tailed(barcodes, species, 0.8, random)
    barcode_of = random.permutation(long_tailed(specimens, barcodes, 0.5, random))
    genus = scatter(families)[family_of] + 0.6 * scatter(genera)
    centre = genus[genus_of] + 0.45 * scatter(species)
    width_of = 0.35 * random.lognormal(0, 0.4, size=(species, 1))
    latent = centre[species_of] + width_of[species_of] * scatter(barcodes)
    vectors = np.tanh(latent @ random.normal(size=(_LATENT, width)) / np.sqrt(_LATENT)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Made(vectors[barcode_of], species_of[barcode_of])


def long_tailed(count: int, groups: int, power: float, random: np.random.Generator) -> NDArray[np.int64]:
    """Group of each of a number of things: none is empty, the i-th largest has about i ** -power of the largest."""
    weights = np.arange(1, groups + 1) ** -power
    sizes = 1 + random.multinomial(count - groups, weights / weights.sum())
    return np.repeat(np.arange(groups), random.permutation(sizes))
