from collections import defaultdict

import numpy as np
from datasets import Dataset, Features, Value

from bioscan_hf.data.partition import _unseen_species, partition


def test_rules_hold_on_the_sample(sample: Dataset) -> None:
    splits = partition(sample)
    barcodes, genera, species = (sample[name][:] for name in ("dna_barcode", "genus", "species"))
    named = {barcode for barcode, name in zip(barcodes, species, strict=True) if name}
    assert all((split == "pretrain") == (code not in named) for split, code in zip(splits, barcodes, strict=True))

    by_barcode, by_species, train_genera = defaultdict(set), defaultdict(set), set()
    for split, barcode, genus, name in zip(splits, barcodes, genera, species, strict=True):
        by_barcode[barcode].add(split)
        if name:
            by_species[name].add(split)
            if split == "train":
                train_genera.add(genus)
    assert all(len(found) == 1 for found in by_barcode.values()), "a barcode is in one split"
    unseen = {name for name, found in by_species.items() if "test_unseen" in found}
    assert len(unseen) > 20 and all(by_species[name] == {"test_unseen"} for name in unseen)
    assert all("train" in found for name, found in by_species.items() if name not in unseen)
    unseen_genera = {genus for genus, name in zip(genera, species, strict=True) if name in unseen}
    assert unseen_genera <= train_genera, "every unseen species has a genus that is known"


def test_seed_decides(sample: Dataset) -> None:
    assert partition(sample, seed=1) == partition(sample, seed=1) != partition(sample, seed=2)


def test_shares_are_as_asked() -> None:
    rows = [{"dna_barcode": f"{s}-{i}", "genus": "Aus", "species": f"Aus {s}"} for s in range(10) for i in range(20)]
    splits = partition(Dataset.from_list(rows), unseen_fraction=0.3, test_fraction=0.25)
    assert splits.count("test_unseen") == 60 and splits.count("test") == 35 and splits.count("train") == 105


def test_specimens_without_labels_are_for_pretraining() -> None:
    rows = {"dna_barcode": ["A", "C"], "genus": [None, None], "species": [None, None]}
    assert partition(Dataset.from_dict(rows)) == ["pretrain", "pretrain"]


def test_nameless_specimen_stays_with_its_barcode() -> None:
    rows = {"dna_barcode": ["A", "A", "C"], "genus": ["Aus", None, None], "species": ["Aus bus", None, None]}
    assert partition(Dataset.from_dict(rows)) == ["train", "train", "pretrain"]


def test_equals_a_naive_computation_in_the_order_of_the_rows(sample: Dataset) -> None:
    random = np.random.default_rng(0)
    tables = [
        Dataset.from_dict(
            {
                "dna_barcode": random.choice(np.array([None, "", "A", "C", "AC", "G", "GG"], object), 30).tolist(),
                "genus": random.choice(np.array([None, "", "Aus", "Bus", "Cus"], object), 30).tolist(),
                "species": random.choice(
                    np.array([None, "", "Aus a", "Aus b", "Bus a", "Bus b", "Cus a"], object), 30
                ).tolist(),
            }
        )
        for _ in range(20)
    ]
    for seed, table in enumerate([*tables, sample.shuffle(seed=3)]):
        assert partition(table, seed=seed) == _naive(table, seed)


def _naive(dataset: Dataset, seed: int) -> list[str]:
    """Barcode by barcode, with the same draws."""
    rng = np.random.default_rng(seed)
    rows = [(row["dna_barcode"], row["genus"], row["species"]) for row in dataset]
    genus_of = {species: genus for _, genus, species in rows if species and genus}
    unseen = _unseen_species(genus_of, 0.2, rng)
    own: dict[str, list[str | None]] = {}
    taken = set()
    for barcode, _, species in rows:
        if species and barcode not in taken:
            taken.add(barcode)
            own.setdefault(species, []).append(barcode)
    split_of = {}
    for species, barcodes in own.items():
        if species in unseen:
            split_of.update(dict.fromkeys(barcodes, "test_unseen"))
            continue
        tested = round(0.2 * len(barcodes)) if len(barcodes) > 1 else 0
        for place, which in enumerate(rng.permutation(len(barcodes))):
            split_of[barcodes[which]] = "test" if place < tested else "train"
    return [split_of.get(barcode, "pretrain") for barcode, _, _ in rows]


def test_empty_table_has_no_splits() -> None:
    features = Features({name: Value("string") for name in ("dna_barcode", "genus", "species")})
    assert partition(Dataset.from_dict({name: [] for name in features}, features=features)) == []
