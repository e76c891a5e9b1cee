import random
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, Features, Value

from bioscan_hf.data.features import RANKS
from bioscan_hf.data.taxon_tree import TaxonTree
from bioscan_hf.identification.keys import find_keys, key_weights

FEATURES = Features({name: Value("string") for name in ("dna_barcode", *RANKS)})


def made(rows: list[dict[str, Any]]) -> Dataset:
    return Dataset.from_list([{name: row.get(name) for name in FEATURES} for row in rows], features=FEATURES)


def many(count: int, *, seed: int = 0) -> Dataset:
    """Specimens of few barcodes and few taxa, in all combinations."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        species = draw.randrange(6)
        labels = {
            "order": "Aptera",
            "family": f"F{species // 4}",
            "genus": f"G{species // 2}",
            "species": f"S{species}",
        }
        named = dict(list(labels.items())[: draw.choice([0, 1, 2, 3, 4, 4, 4])])
        rows.append({"dna_barcode": draw.choice(["ACGT", "ACGTA", "ACGTN", "TTT", None, ""]), **named})
    return made(rows)


def test_a_key_for_each_barcode_and_lineage() -> None:
    specimens = many(200)
    keys = find_keys(specimens)
    tree = TaxonTree.of(specimens, RANKS)
    labels = tree.labels(specimens)
    expected: dict[Any, list[int]] = {}
    for row, barcode in enumerate(specimens["dna_barcode"]):
        expected.setdefault((barcode, *labels[row].tolist()) if barcode else row, []).append(row)
    assert keys.first.tolist() == [rows[0] for rows in expected.values()]
    assert keys.specimens.tolist() == [len(rows) for rows in expected.values()]
    for key, rows in enumerate(expected.values()):
        assert (keys.of_specimen[rows] == key).all()
    assert (keys.labels == labels[keys.first]).all()
    assert keys.taxa == tree.taxa
    assert len(expected) > 60 and max(map(len, expected.values())) > 2
    barcodes = [specimens["dna_barcode"][row] for row in keys.first.tolist()]
    assert [not value for value in keys.hashes] == [not barcode for barcode in barcodes]
    assert len(set(keys.hashes.tolist())) == 5


def test_weights_are_shares_of_the_specimens_with_the_barcode() -> None:
    specimens = many(200)
    keys = find_keys(specimens)
    barcodes = [specimens["dna_barcode"][row] for row in keys.first.tolist()]
    for barcode, count, weight in zip(barcodes, keys.specimens, keys.weights, strict=True):
        of_all = specimens["dna_barcode"][:].count(barcode)
        assert weight == pytest.approx(count / of_all if barcode else 1)
    assert keys.weights.dtype == np.float32
    assert key_weights(np.array([7, 0, 7, 0], np.uint64), np.array([1, 1, 3, 1])).tolist() == [0.25, 1, 0.75, 1]


def test_the_finest_name_decides_on_the_lineage() -> None:
    whole = {"dna_barcode": "ACGT", "order": "Aptera", "genus": "Aus", "species": "Aus bus"}
    keys = find_keys(
        made([whole, {"dna_barcode": "ACGT", "species": "Aus bus"}, {"dna_barcode": "ACGT", "genus": "Aus"}])
    )
    assert keys.of_specimen.tolist() == [0, 0, 1]
    assert keys.specimens.tolist() == [2, 1]


def test_one_specimen_and_none_with_a_label() -> None:
    keys = find_keys(made([{"dna_barcode": "ACGT", "family": "Ausidae"}]))
    assert keys.first.tolist() == [0] and keys.weights.tolist() == [1]
    assert keys.labels.tolist() == [[0 if rank == "family" else -1 for rank in RANKS]]
    with pytest.raises(ValueError, match="None of the specimens has a label"):
        find_keys(made([{"dna_barcode": "ACGT"}]))


def test_names_of_some_keys() -> None:
    keys = find_keys(many(200))
    for seed in range(3):
        chosen = np.random.default_rng(seed).random(len(keys.first)) < 0.1
        for place, (rank, names) in enumerate(keys.taxa_of(chosen).items()):
            own = {keys.taxa[rank][label] for label in keys.labels[chosen, place] if label >= 0}
            assert names == [name if name in own else None for name in keys.taxa[rank]]
    assert keys.taxa_of(np.ones(len(keys.first), bool)) == keys.taxa
