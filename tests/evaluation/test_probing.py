from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from bioscan_hf import load_specimens, select_split
from bioscan_hf.evaluation.embeddings import Embeddings, embed
from bioscan_hf.evaluation.probing import PROBES, Probe, nearest_neighbour_accuracy

SPECIES, GENUS = PROBES
ROWS = [
    # processid, split, genus, species, direction of the embedding in degrees
    ("k1", "train", "Aus", "Aus bus", 0),
    ("k2", "train", "Cus", "Cus dus", 90),
    ("k3", "train", "Eus", None, 45),
    ("q1", "test", "Aus", "Aus bus", 10),  # right
    ("q2", "test", "Cus", "Cus dus", 20),  # wrong: nearer to k1; k3 has no species
    ("q3", "test", "Aus", None, 30),  # not asked
    ("q4", "val", "Aus", "Aus bus", 80),  # other split
    ("q5", "test", "Fus", "Fus gus", 5),  # wrong: no key has this name
    ("u1", "test_unseen", "Cus", "Cus hus", 100),  # right
    ("u2", "test_unseen", "Eus", "Eus ius", 40),  # right: at genus rank k3 counts
]


@pytest.fixture
def dataset() -> Dataset:
    names = ("processid", "split", "genus", "species")
    return Dataset.from_list([dict(zip(names, row[:4], strict=True)) for row in ROWS])


@pytest.fixture
def embeddings() -> Embeddings:
    angles = np.radians([row[4] for row in ROWS])
    return Embeddings([row[0] for row in ROWS], np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32))


def test_accuracy_by_hand(embeddings: Embeddings, dataset: Dataset) -> None:
    accuracy, count = nearest_neighbour_accuracy(embeddings, dataset, SPECIES)
    assert accuracy == pytest.approx(1 / 3) and count == 3
    assert nearest_neighbour_accuracy(embeddings, dataset, GENUS) == (1.0, 2)
    union = replace(SPECIES, queries="seen")
    assert union.select(dataset)[1].tolist() == [0, 1, 3, 4, 6, 7]


def test_embeddings_of_other_specimens_are_refused(embeddings: Embeddings, dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="process ids differ"):
        nearest_neighbour_accuracy(embeddings, dataset.select(range(9, -1, -1)), SPECIES)


def test_no_labelled_query_is_an_error(embeddings: Embeddings, dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="splits 'train' and 'key_unseen'; got 2 and 0"):
        nearest_neighbour_accuracy(embeddings, dataset, Probe("a probe", "species", "key_unseen"))


@pytest.mark.slow
def test_baseline_on_real_barcodes_is_as_measured_elsewhere(shared: Path) -> None:
    real = shared / "data" / "real"
    specimens = load_specimens(real / "barcodes.parquet", splits=real / "suggested_splits.csv.gz")
    assert len(specimens) == 31_061 and specimens["split"][:].count("test_unseen") == 2_499
    chosen = select_split(specimens, "train+test+test_unseen")
    counts = embed("kmer:4", chosen)
    accuracies = [nearest_neighbour_accuracy(counts, chosen, probe)[0] for probe in PROBES]
    # An independent implementation gave these, on 600 queries each: two standard errors are 0.01 and 0.04.
    assert accuracies == [pytest.approx(0.983, abs=0.01), pytest.approx(0.552, abs=0.04)]
