from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, IterableDataset

from bioscan_hf.training.arguments import BarcodeDataArguments, DataArguments
from bioscan_hf.training.specimens import evaluation_specimens, training_specimens
from tests.training.made_runs import made_rows, write_table

COLUMNS = ["processid", "split"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "t.csv")


@pytest.fixture(scope="module")
def unsplit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "t.csv"
    return write_table(path, [row | {"split": ""} for row in made_rows()])


def trained(path: Path, **changes: Any) -> list[str]:
    return training_specimens(DataArguments(data=str(path), **changes), COLUMNS, "pretrain")["processid"][:]


def evaluated(path: Path, **changes: Any) -> Dataset | None:
    return evaluation_specimens(BarcodeDataArguments(data=str(path), **changes), COLUMNS, "val+val_unseen")


def of(*splits: str) -> list[str]:
    return [row["processid"] for row in made_rows() if row["split"] in splits]


def test_default_split_is_trained_on_unless_another_is_given(table: Path) -> None:
    assert trained(table) == of("pretrain")
    assert trained(table, train_split="train+val") == of("train", "val")


def test_of_data_without_splits_all_are_trained_on(unsplit: Path) -> None:
    assert len(trained(unsplit)) == 60
    assert evaluated(unsplit) is None


def test_a_table_of_splits_takes_the_place_of_the_column(unsplit: Path, tmp_path: Path) -> None:
    splits = tmp_path / "splits.csv"
    splits.write_text("processid,split\nP1,pretrain\nP2,val\n")
    assert trained(unsplit, splits=splits) == ["P1"]
    found = evaluated(unsplit, splits=splits)
    assert found is not None and found["processid"][:] == ["P2"]


def test_a_split_that_is_not_there_is_told_if_it_was_asked_for(table: Path) -> None:
    with pytest.raises(ValueError, match="no specimens of the split 'key_unseen'; it has"):
        trained(table, train_split="key_unseen")
    with pytest.raises(ValueError, match="no specimens of the split 'key_unseen'"):
        evaluated(table, eval_split="key_unseen")
    with pytest.raises(ValueError, match="vla"):
        evaluated(table, eval_split="vla")


def test_without_a_default_split_there_is_no_evaluation(tmp_path: Path) -> None:
    rows = [row for row in made_rows() if row["split"] != "val"]
    assert evaluated(write_table(tmp_path / "t.csv", rows)) is None


def test_evaluation_is_of_so_many_specimens_always_the_same(table: Path) -> None:
    whole, few, again = evaluated(table), evaluated(table, max_eval_samples=5), evaluated(table, max_eval_samples=5)
    assert whole is not None and few is not None and again is not None
    assert whole["processid"][:] == of("val")
    assert len(few) == 5 and set(few["processid"]) < set(of("val")) and few["processid"][:] == again["processid"][:]
    assert few["processid"][:] != of("val")[:5], "drawn at random, in the order of the data"
    many = evaluated(table, max_eval_samples=500)
    assert many is not None and len(many) == len(whole)


def test_stream_has_the_same_specimens(table: Path) -> None:
    stream = training_specimens(DataArguments(data=str(table), streaming=True), COLUMNS, "pretrain")
    assert isinstance(stream, IterableDataset) and [row["processid"] for row in stream] == of("pretrain")
