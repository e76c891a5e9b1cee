from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioscan_hf.data.distinct import distinct_barcodes
from bioscan_hf.data.features import SPLIT_NAMES
from bioscan_hf.data.sources import open_source
from tests.made_release import Row, made_rows, write_csv


@pytest.fixture
def rows() -> list[Row]:
    rng = np.random.default_rng(0)
    barcodes = ["ACGTACGT", "ACGTACGTNN", "ACGTACGTT", "NNACGT", "ACGT", "ACGTN"]
    return [{**row, "dna_barcode": barcodes[rng.integers(len(barcodes))]} for row in made_rows(8)]


@pytest.mark.parametrize("limit", [None, 8, 4])
def test_the_choice_is_that_of_a_shuffled_table_without_duplicates(
    limit: int | None, rows: list[Row], tmp_path: Path
) -> None:
    write_csv(tmp_path / "BIOSCAN_5M_Insect_Dataset_metadata.csv", rows)
    kept = distinct_barcodes(open_source(tmp_path, cache=tmp_path / "cache"), limit, tmp_path / "cache")

    table = pd.DataFrame(rows).sample(frac=1, random_state=0)
    table["cut"] = table["dna_barcode"].str[:limit].str.rstrip("N")
    chosen = set(table.drop_duplicates("cut")["processid"])
    for split in SPLIT_NAMES:
        own = [row["processid"] for row in rows if row["split"] == split]
        assert kept[split].tolist() == [processid in chosen for processid in own]
    assert sum(int(mask.sum()) for mask in kept.values()) == len(chosen) < len(rows)


def test_the_choice_is_kept_for_the_next_time(rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(tmp_path / "BIOSCAN_5M_Insect_Dataset_metadata.csv", rows)
    source = open_source(tmp_path, cache=tmp_path)
    first = distinct_barcodes(source, 660, tmp_path)
    monkeypatch.delattr("bioscan_hf.data.distinct._choose")
    again = distinct_barcodes(source, 660, tmp_path)
    assert all((again[split] == mask).all() for split, mask in first.items())
