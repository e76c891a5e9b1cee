from collections import defaultdict

from datasets import Dataset

from bioscan_hf.data.partition import partition


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
