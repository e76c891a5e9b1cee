"""Evolution of a COI-like barcode along a tree, and what a sequencer makes of it.

The gene is a coding sequence of the invertebrate mitochondrial code. A mutation is proposed by the HKY model of the
mitochondrial bias, never makes a stop codon, and passes purifying selection if it changes the amino acid: each codon
prefers one amino acid and tolerates others the less, the less they resemble it. The process is exact (thinning).
"""

from __future__ import annotations

import numpy as np

BASES = "ACGT"
# Invertebrate mitochondrial code (NCBI table 5), codons in the order AAA, AAC, AAG, AAT, ACA, ...; stops: TAA, TAG.
GENETIC_CODE = "KNKNTTTTSSSSMIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSSWCWCLFLF"
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
COI_COMPOSITION = dict(
    L=0.16, I=0.08, F=0.08, G=0.1, S=0.08, A=0.095, M=0.045, T=0.06, P=0.065, V=0.09, N=0.045, D=0.035, W=0.025,
    H=0.03, Y=0.025, E=0.015, R=0.025, Q=0.01, K=0.005, C=0.002,
)  # fmt: skip
"""Rough amino-acid composition of insect COI, a membrane protein."""

HYDROPATHY = dict(zip("ARNDCQEGHILKMFPSTWYV", (
    1.8, -4.5, -3.5, -3.5, 2.5, -3.5, -3.5, -0.4, -3.2, 4.5, 3.8, -3.9, 1.9, 2.8, -1.6, -0.8, -0.7, -0.9, -1.3, 4.2),
    strict=True))  # fmt: skip
"""Kyte & Doolittle (1982)."""
VOLUME = dict(zip("ARNDCQEGHILKMFPSTWYV", (
    88.6, 173.4, 114.1, 111.1, 108.5, 143.8, 138.4, 60.1, 153.2, 166.7, 166.7, 168.6, 162.9, 189.9, 112.7, 89.0, 116.1,
    227.8, 193.6, 140.0), strict=True))  # fmt: skip
"""Volume of the residue in cubic angstrom, Zamyatnin (1972)."""

MUTATION_BIAS = np.array([0.445, 0.085, 0.03, 0.44])
"""Frequencies of A, C, G, T to which unselected sites tend: those of third positions in public insect COI records
(A 0.46, C 0.08, G 0.02, T 0.44)."""
TRANSITION_RATIO = 4.0
"""How much more often a transition is proposed than a transversion (kappa of HKY); 3 to 6 is usual for insect mtDNA."""
RATE = 0.0177
"""Substitutions per site and My per lineage: COI of beetles, Papadopoulou et al. (2010)."""
BURN_IN = 400.0
"""My of evolution from random codons to the sequence at the root."""

CODONS = 240
START, LENGTH = 23, 658
"""The barcode inside the gene. It begins with a third codon position, as the usual COI fragment does."""


def distances() -> np.ndarray:
    """Dissimilarity of amino acids (20, 20): Euclidean in hydropathy and volume, each in standard deviations."""
    traits = np.array([[HYDROPATHY[a], VOLUME[a]] for a in AMINO_ACIDS])
    traits /= traits.std(axis=0)
    return np.linalg.norm(traits[:, None] - traits[None], axis=-1)


class Gene:
    """A COI-like gene: its ancestral sequence and how each codon evolves.

    Attributes:
        root: Bases of the ancestral sequence, as indices into `BASES`.
        proposals: Proposed mutations of the whole gene per My.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw the gene's sites and ancestral sequence."""
        self.rng = rng
        self.code = [AMINO_ACIDS.find(letter) for letter in GENETIC_CODE]
        composition = np.array([COI_COMPOSITION[a] for a in AMINO_ACIDS])
        self.preferred = rng.choice(20, CODONS, p=composition / composition.sum()).tolist()
        # How readily a codon's amino acid changes: half of the protein hardly ever does.
        tolerance = rng.gamma(0.5, 0.15, CODONS)
        fitness = np.exp(-3.0 * distances())[self.preferred]
        self.passes = np.minimum(1.0, fitness[:, None, :] / fitness[:, :, None]) * tolerance[:, None, None]
        self.acceptance = self.passes.tolist()
        pace = np.repeat(rng.gamma(4.0, 0.25, CODONS), 3)
        self.sites = np.cumsum(pace / pace.sum())
        self.bias = np.cumsum(MUTATION_BIAS)
        start = [base for amino_acid in self.preferred for base in self.random_codon(amino_acid)]
        # The clock is set at the start, and again where selection and mutation balance.
        self.proposals = CODONS * 3 * RATE / self.accepted_share(start)
        self.root = self.evolve(start, BURN_IN)
        self.proposals = CODONS * 3 * RATE / self.accepted_share(self.root)

    def random_codon(self, amino_acid: int) -> tuple[int, int, int]:
        """A codon of `amino_acid`, drawn by the mutational bias."""
        codons = [codon for codon in range(64) if self.code[codon] == amino_acid]
        weights = np.array([MUTATION_BIAS[[c // 16, c // 4 % 4, c % 4]].prod() for c in codons])
        codon = int(self.rng.choice(codons, p=weights / weights.sum()))
        return codon // 16, codon // 4 % 4, codon % 4

    def acceptance_of(self, sequence: list[int], site: int, base: int) -> float:
        """Probability that the proposal to put `base` at `site` is accepted."""
        old = sequence[site]
        if base == old:
            return 0.0
        first = site - site % 3
        codon = 16 * sequence[first] + 4 * sequence[first + 1] + sequence[first + 2]
        before = self.code[codon]
        after = self.code[codon + (base - old) * (16, 4, 1)[site - first]]
        if after < 0:
            return 0.0
        # A <-> G and C <-> T, whose indices differ by 2, are transitions.
        passes = 1.0 if abs(base - old) == 2 else 1.0 / TRANSITION_RATIO
        return passes if before == after else passes * self.acceptance[site // 3][before][after]

    def accepted_share(self, sequence: list[int]) -> float:
        """Share of proposals that would be accepted at `sequence`."""
        weights = np.diff(self.sites, prepend=0.0)
        return sum(
            weights[site] * MUTATION_BIAS[base] * self.acceptance_of(sequence, site, base)
            for site in range(len(sequence))
            for base in range(4)
        )

    def evolve(self, sequence: list[int], time: float) -> list[int]:
        """The descendant of `sequence` after `time` My."""
        number = self.rng.poisson(self.proposals * time)
        if not number:
            return sequence
        sites = np.searchsorted(self.sites, self.rng.random(number)).tolist()
        bases = np.searchsorted(self.bias, self.rng.random(number)).tolist()
        chances = self.rng.random(number).tolist()
        new = sequence.copy()
        for site, base, chance in zip(sites, bases, chances, strict=True):
            if base != new[site] and chance < self.acceptance_of(new, site, base):
                new[site] = base
        return new
