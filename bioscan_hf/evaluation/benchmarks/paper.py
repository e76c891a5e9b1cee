"""What the BIOSCAN-5M paper and its repositories state: the benchmarks' tasks, and results to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import harmonic_mean

from bioscan_hf.data.features import RANKS

FINE_TUNED = "species, seen species (full fine-tuning)"
LINEAR_PROBE = "species, seen species (linear probe)"
NEAREST_SPECIES = "1-NN species, seen species"
NEAREST_GENUS = "1-NN genus, unseen species"


def clustering_name(modality: str, rank: str) -> str:
    """Name of the question whether clusters of a modality (`DNA`, `images`, `images + DNA`) agree with a rank."""
    return f"zero-shot clustering of {modality}, {rank}"


SEEN, UNSEEN, HARMONIC = "seen species", "unseen species", "harmonic mean"
"""Groups of queries of retrieval, and the mean of the numbers of both."""
RETRIEVED_RANKS = ("order", "family", "genus", "species")


def pair_title(query: str, key: str) -> str:
    """A pair of retrieval in words, such as `image to DNA`."""
    return " to ".join("DNA" if kind == "dna" else kind for kind in (query, key))


def retrieval_name(query: str, key: str, rank: str, group: str) -> str:
    """Name of the question whether queries find keys of their taxon.

    Args:
        query: What is embedded of a query: `image`, `dna` and so on (see `retrieval_pairs.Pair`).
        key: What is embedded of a key.
        rank: Rank of the taxon.
        group: `SEEN`, `UNSEEN` or `HARMONIC`.
    """
    return f"{pair_title(query, key)} retrieval, {rank}, {group}"


TASK_IDS = {
    FINE_TUNED: "closed_world_species_finetuned",
    LINEAR_PROBE: "closed_world_species_linear_probe",
    NEAREST_GENUS: "open_world_genus_1nn",
    clustering_name("DNA", "species"): "clustering_dna",
    clustering_name("images", "species"): "clustering_image",
    retrieval_name("image", "dna", "species", SEEN): "retrieval_image_to_dna_seen",
    retrieval_name("image", "dna", "species", UNSEEN): "retrieval_image_to_dna_unseen",
}
"""By name of the question (`Result.benchmark`): the task in the dataset's `eval.yaml`."""

TASK_RESULTS = frozenset(
    {
        *((question, "accuracy") for question in (FINE_TUNED, LINEAR_PROBE, NEAREST_GENUS)),
        *((clustering_name(modality, "species"), "ami_arithmetic") for modality in ("DNA", "images")),
        *((retrieval_name("image", "dna", "species", group), "macro_accuracy") for group in (SEEN, UNSEEN)),
    }
)
"""Question and metric of each task's number, as `eval.yaml` describes the tasks."""


@dataclass(frozen=True)
class Published:
    """A number that others measured, on BIOSCAN-5M itself.

    Attributes:
        benchmark: As in `Result`.
        metric: As in `Result`.
        model: As the source calls it.
        value: Between 0 and 1.
        source: Where it stands.
    """

    benchmark: str
    metric: str
    model: str
    value: float
    source: str


README_TABLE = "README of BarcodeBERT's repository, branch BIOSCAN-5M (table 3 of arXiv 2406.12723)"
PLUS_TABLE = "k-NN results of bioscan-ml/BarcodeMAE-plus (genus labels were used in its pretraining)"
FIGURE = "figure in the README of bioscan-ml/BIOSCAN-5M, read to 0.3 points, some to 1"
RETRIEVAL_FIGURE = f"{FIGURE} (harmonic means: computed from it)"

_CLASSIFICATION = """
BLAST, 99.78, -, 58.74
CNN, 97.70, -, 29.88
Nucleotide Transformer, 98.99, 52.41, 21.67
DNABERT-2, 99.23, 67.81, 17.99
DNABERT-S, 98.99, 95.50, 17.70
HyenaDNA (tiny), 98.71, 54.82, 19.26
BarcodeBERT (2023), 98.52, 91.93, 23.15
BarcodeBERT 8-4-4, 99.28, 94.47, 47.03
"""

_CLUSTERED_RANKS = (*RANKS[1:], "dna_bin")
_CLUSTERING = {
    "DNA": """
HyenaDNA, 92.6, 93.6, 89.6, 86.0, 81.1, 75.7, 72.9
DNABERT-S, 84.9, 84.7, 72.1, 66.6, 60.0, 53.5, 51.9
BarcodeBERT, 81.7, 84.7, 72.2, 65.3, 55.3, 45.2, 42.8
DNABERT-2, 77.0, 72.8, 55.7, 49.5, 42.3, 36.3, 35.0
Nucleotide Transformer, 81.6, 80.6, 60.6, 52.4, 41.2, 32.7, 31.2
""",
    "images": """
ViT-B/16 DINO, 88.7, 88.1, 66.3, 56.6, 38.4, 21.5, 20.7
ViT-B/16 MoCo-v3, 81.2, 80.9, 58.6, 49.1, 33.2, 18.6, 17.8
ViT-B/16 supervised, 71.9, 69.4, 46.6, 37.7, 22.2, 10.3, 9.8
ViT-B/16 CLIP, 72.7, 70.9, 46.5, 36.8, 21.7, 10.0, 9.5
ViT-B/16 MAE (mean), 54.3, 36.3, 24.1, 18.9, 11.8, 5.7, 5.4
ViT-B/16 MAE (CLS), 38.5, 27.5, 19.4, 15.5, 9.8, 5.1, 4.9
ResNet-50 DINO, 78.6, 76.5, 54.5, 45.8, 29.9, 16.3, 15.7
ResNet-50 VICReg, 76.4, 74.9, 53.0, 43.8, 28.7, 15.3, 14.7
ResNet-50 MoCo-v3, 78, 75, 52.1, 42.7, 26.9, 13.4, 12.7
ResNet-50 supervised, 74.8, 68.1, 43.7, 34.5, 20.4, 10, 9.7
ResNet-50 CLIP, 60.5, 54.0, 35.0, 27.4, 15.6, 7.5, 6.9
""",
}

# Macro top-1 in the test splits: seen and unseen at the order, at the family, at the genus, at the species. Read to
# about a point: family of seen species, DNA to DNA (99.5), order, image to image (95.0 and 98.5), and the zeros.
# The encoders that were not aligned have projections with random weights, so these are not the bare encoders.
_RETRIEVAL = {
    ("dna", "dna"): """
CLIBD (image + DNA + text), 100, 100, 99.5, 100, 98.9, 99.4, 97.9, 95.9
CLIBD (not aligned), 96.2, 98.7, 92.0, 96.1, 89.6, 89.6, 87.2, 80.3
""",
    ("image", "image"): """
CLIBD (image + DNA + text), 95.0, 98.5, 91.6, 94.2, 83.9, 86.0, 76.0, 60.0
CLIBD (not aligned), 71.3, 72.7, 39.6, 47.3, 22.6, 21.2, 15.4, 6.6
""",
    ("image", "dna"): """
CLIBD (image + DNA + text), 91.2, 98.0, 80.9, 84.6, 63.0, 50.6, 51.1, 12.7
CLIBD (not aligned), 3.2, 7.3, 0, 0.9, 0, 0, 0, 0
""",
}


def _read(table: str, columns: tuple[tuple[str, str], ...], source: str) -> list[Published]:
    found = []
    for line in table.strip().splitlines():
        model, *cells = (cell.strip() for cell in line.split(","))
        for (benchmark, metric), cell in zip(columns, cells, strict=True):
            if cell != "-":
                found.append(Published(benchmark, metric, model, round(float(cell) / 100, 4), source))
    return found


def _read_retrieval(query: str, key: str, table: str) -> list[Published]:
    """The numbers of the figure, and the harmonic means of seen and unseen species, which it does not have."""
    groups = [(rank, group) for rank in RETRIEVED_RANKS for group in (SEEN, UNSEEN)]
    columns = tuple((retrieval_name(query, key, *place), "macro_accuracy") for place in groups)
    found = _read(table, columns, RETRIEVAL_FIGURE)
    means = []
    for seen, unseen in zip(found[::2], found[1::2], strict=True):
        name = seen.benchmark.replace(SEEN, HARMONIC)
        value = round(harmonic_mean([seen.value, unseen.value]), 4)
        means.append(Published(name, seen.metric, seen.model, value, seen.source))
    return found + means


PUBLISHED: tuple[Published, ...] = (
    *_read(
        _CLASSIFICATION,
        ((FINE_TUNED, "accuracy"), (LINEAR_PROBE, "accuracy"), (NEAREST_GENUS, "accuracy")),
        README_TABLE,
    ),
    Published(NEAREST_GENUS, "accuracy", "BarcodeMAE+ (genus labels)", 0.8065, PLUS_TABLE),
    *(
        published
        for modality, table in _CLUSTERING.items()
        for published in _read(
            table,
            tuple((clustering_name(modality, rank), "ami_true_entropy") for rank in _CLUSTERED_RANKS),
            FIGURE,
        )
    ),
    *(published for pair, table in _RETRIEVAL.items() for published in _read_retrieval(*pair, table)),
)
"""Results on BIOSCAN-5M, of the paper's models and of later ones."""
