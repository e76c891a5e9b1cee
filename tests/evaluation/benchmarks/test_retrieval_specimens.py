from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from bioscan_hf.evaluation.benchmarks.retrieval_pairs import RetrievalSettings
from bioscan_hf.evaluation.benchmarks.retrieval_specimens import is_table_without_images, load_keys_and_queries
from tests.evaluation.benchmarks.made_retrieval import made_rows, write_photos
from tests.training.made_runs import write_table


def load(path: Path | str, settings: RetrievalSettings | None = None, limit: int | None = None) -> Dataset:
    said: list[str] = []
    loaded = load_keys_and_queries(path, settings or RetrievalSettings(), image=False, limit=limit, say=said.append)
    assert len(said) == (2 if str(path).endswith("drawn.csv") else 0)
    return loaded


def test_keys_and_queries_of_the_splits(tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.csv", made_rows())
    assert Counter(load(table)["split"]) == {"train": 12, "test": 4, "key_unseen": 6, "test_unseen": 2}
    assert Counter(load(table, limit=2)["split"]) == dict.fromkeys(("train", "test", "key_unseen", "test_unseen"), 2)
    assert "val" in load("sample", RetrievalSettings(queries="val"))["split"][:]


def test_where_splits_are_drawn_unseen_species_have_keys(tmp_path: Path) -> None:
    rows = made_rows(100, species=5, splits=False)
    table = write_table(tmp_path / "drawn.csv", rows)
    loaded = load(table)
    unseen = [species for split, species in zip(loaded["split"], loaded["species"], strict=True) if "unseen" in split]
    [name] = set(unseen)
    counts = Counter(loaded["split"])
    assert counts["key_unseen"] == counts["test_unseen"] == 10 and counts["test"] and len(loaded) == 100
    assert name not in [s for split, s in zip(loaded["split"], loaded["species"], strict=True) if split == "train"]
    assert load(table)["split"][:] == loaded["split"][:] != load(table, RetrievalSettings(seed=1))["split"][:]
    # Keys of training species alone: nothing of the unseen ones is taken for it.
    assert Counter(load_drawn(table, "train")) == counts - Counter(key_unseen=10) + Counter(test_unseen=10)


def load_drawn(table: Path, keys: str) -> list[str]:
    """Splits of specimens among which no keys of unseen species are drawn."""
    said: list[str] = []
    settings = RetrievalSettings(keys=keys)
    names: list[str] = load_keys_and_queries(table, settings, image=False, say=said.append)["split"][:]
    assert said == ["The data have no splits; train, test and test_unseen were drawn."]
    return names


def test_equal_barcodes_are_keys_or_queries_together(tmp_path: Path) -> None:
    rows = made_rows(100, species=5, splits=False)
    for row in rows:
        row["dna_barcode"] = row["dna_barcode"][:1] * 30 + row["dna_barcode"][30:]
    loaded = load(write_table(tmp_path / "drawn.csv", rows))
    splits: dict[str, set[str]] = {}
    for barcode, split in zip(loaded["dna_barcode"], loaded["split"], strict=True):
        splits.setdefault(barcode, set()).add(split)
    assert all(len(own) == 1 for own in splits.values())
    assert {"key_unseen", "test_unseen"} <= {split for own in splits.values() for split in own}


def test_where_no_species_can_be_unseen_nothing_becomes_a_key(tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.csv", made_rows(40, species=2, splits=False))
    assert set(load_drawn(table, "train+key_unseen")) == {"train", "test"}


def test_which_sources_can_have_images(tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.csv", made_rows())
    (tmp_path / "a.fasta").write_text(">P\nACGT\n")
    pq.write_table(pa.table({"processid": ["P"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"processid": ["P"], "image": [None]}), tmp_path / "b.parquet")
    photos = write_photos(tmp_path / "photos", made_rows(3))
    for path in (table, tmp_path / "a.fasta", tmp_path / "a.parquet"):
        assert is_table_without_images(path)
    for source in (tmp_path / "b.parquet", photos, "sample", "someone/dataset"):
        assert not is_table_without_images(source)


def test_splits_without_specimens_are_refused(tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.csv", made_rows())
    with pytest.raises(ValueError, match="no specimens of the split"):
        load(table, RetrievalSettings(keys="pretrain", queries="val"))
    assert len(np.unique(load(table)["processid"])) == 24
