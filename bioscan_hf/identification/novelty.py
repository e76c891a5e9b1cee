"""Is a query of a species that the library does not have?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioscan_hf.identification.votes import FEATURES, Evidence, Neighbours

NOVEL = 0.5
"""Novelty from which on a query is flagged."""

NOVELTY_FEATURES = ("similarity", "identity", "divergence", "share", "margin")
"""What speaks for or against it: similarity and identity of the nearest key, whatever its labels, log(1 + per cent of
different letters); and the species' share of the votes and margin (see `votes.FEATURES`)."""


def novelty_features(neighbours: Neighbours, evidence: Evidence) -> NDArray[np.float32]:
    """What a novelty score is made of.

    Args:
        neighbours: Of N queries.
        evidence: Of the same, with the species as the last rank.

    Returns:
        (N, len(NOVELTY_FEATURES)); identity and divergence are 0 where letters are not compared.
    """
    similarity = neighbours.similarities[:, 0]
    identity = np.zeros_like(similarity) if neighbours.identities is None else neighbours.identities[:, 0]
    divergence = np.zeros_like(similarity) if neighbours.identities is None else np.log1p(100 * (1 - identity))
    species = evidence.features[:, -1]
    votes = [species[:, FEATURES.index(name)] for name in ("share", "margin")]
    return np.stack([similarity, identity, divergence, *votes], axis=1).astype(np.float32)
