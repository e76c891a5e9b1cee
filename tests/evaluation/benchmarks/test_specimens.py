from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from bioscan_hf.data.features import RANKS
from bioscan_hf.data.partition import partition
from bioscan_hf.evaluation.benchmarks.specimens import label_numbers, load_labelled, rows_of
from tests.tiny import CSV

NO_SPLITS = "\n".join(line.rpartition(",")[0] for line in CSV.splitlines()) + "\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    header, *rows = CSV.splitlines(keepends=True)
    path.write_text(header + "".join(rows[::-1]))
    return path


def quiet(text: str) -> None:
    raise AssertionError(f"nothing to say, but: {text}")


def test_specimens_of_splits_come_in_the_order_of_their_process_ids(table: Path) -> None:
    specimens = load_labelled(table, "train+test_unseen", say=quiet)
    assert specimens["processid"][:] == ["A1", "B1", "C1"]
    assert specimens.column_names == ["processid", "split", "dna_bin", "dna_barcode", *RANKS]
    assert rows_of(specimens, "train").tolist() == [0, 1] and rows_of(specimens, "seen+unseen").tolist() == [0, 1, 2]
    assert rows_of(specimens, "val").tolist() == []


def test_labels_are_numbered_and_none_is_minus_one(table: Path) -> None:
    specimens = load_labelled(table, "all", say=quiet)
    assert specimens["processid"][:] == ["A1", "A2", "B1", "B2", "C1", "P1"]
    numbers = label_numbers(specimens, ("genus", "species", "dna_bin"))
    assert numbers.dtype == np.int64
    assert numbers[:, 0].tolist() == [0, 0, 1, 1, 1, -1]
    assert numbers[:, 1].tolist() == [0, 0, 1, 1, 2, -1] and set(numbers[:, 2].tolist()) == {-1}
    empty = Dataset.from_dict({"genus": ["", "Aus", None, "Aus"]})
    assert label_numbers(empty, ["genus"])[:, 0].tolist() == [-1, 1, -1, 1]
    nothing = Dataset.from_dict({"genus": [None, None]})
    assert label_numbers(nothing, ["genus"])[:, 0].tolist() == [-1, -1]


def test_limit_is_of_each_split_and_its_seed_decides(tmp_path: Path) -> None:
    splits = ["train"] * 30 + ["test"] * 20 + ["val"] * 4
    rows = [f"P{(7 * i) % 54:02d},ACGT,Aptera,Aus,Aus bus,{split}\n" for i, split in enumerate(splits)]
    (tmp_path / "a.csv").write_text("processid,dna_barcode,order,genus,species,split\n" + "".join(rows))
    specimens, again, other = (
        load_labelled(tmp_path / "a.csv", "train+test+val", limit=10, seed=seed, say=quiet) for seed in (0, 0, 1)
    )
    counts = {split: len(rows_of(specimens, split)) for split in ("train", "test", "val")}
    assert counts == {"train": 10, "test": 10, "val": 4}
    names = specimens["processid"][:]
    assert names == sorted(set(names)) == again["processid"][:] != other["processid"][:]


def test_table_of_splits_replaces_the_column(table: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("processid,split\nA1,test\nP1,train\n")
    specimens = load_labelled(table, "train+test", splits=tmp_path / "splits.csv", say=quiet)
    assert specimens["processid"][:] == ["A1", "P1"] and specimens["split"][:] == ["test", "train"]


def test_file_without_splits_gets_some_or_is_taken_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(NO_SPLITS)
    said: list[str] = []
    specimens = load_labelled(tmp_path / "a.csv", "all", seed=3, say=said.append)
    assert said == ["The data have no splits; train, test and test_unseen were drawn."]
    assert specimens["split"][:] == partition(specimens, seed=3) and len(specimens) == 6
    unlabelled = load_labelled(tmp_path / "a.csv", "pretrain", seed=3, say=said.append)
    assert unlabelled["processid"][:] == ["P1"]
    whole = load_labelled(tmp_path / "a.csv", "test", draw_splits=False, say=quiet)
    assert whole["processid"][:] == ["A1", "A2", "B1", "B2", "C1", "P1"]
    assert len(load_labelled(tmp_path / "a.csv", "test", draw_splits=False, limit=4, say=quiet)) == 4


def test_images_of_the_sample() -> None:
    specimens = load_labelled("sample", "test", image=True, limit=5, say=quiet)
    assert specimens.column_names[0] == "image" and len(specimens) == 5


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda path: load_labelled(path, "tset", say=quiet), "Did you mean 'test'\\?"),
        (lambda path: load_labelled(path, "val", say=quiet), "no specimens of the split 'val'; it has"),
        (lambda path: load_labelled(path, "test", limit=0, say=quiet), "at least 1 specimen per split; got 0"),
    ],
)
def test_wrong_splits_and_limits(load: Callable[[Path], Dataset], message: str, table: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load(table)


def test_drawn_splits_are_not_all_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(NO_SPLITS)
    with pytest.raises(ValueError, match="no specimens of the split 'val'; give its splits by a table"):
        load_labelled(tmp_path / "a.csv", "val", say=lambda text: None)
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv"):
        load_labelled(tmp_path / "nothing.csv", "val", say=quiet)
