import pytest
from datasets import Dataset

from bioscan_hf import select_split
from bioscan_hf.data.features import resolve_split


@pytest.mark.parametrize("split", ["train", "validation", "seen", "train+val", "all"])
def test_select_split_keeps_just_its_specimens(split: str, sample: Dataset) -> None:
    expected = [name for name in sample["split"] if name in resolve_split(split)]
    assert select_split(sample, split)["split"][:] == expected


def test_an_unknown_split_is_refused(sample: Dataset) -> None:
    with pytest.raises(ValueError, match="Did you mean 'train'"):
        select_split(sample, "trian")


def test_rows_and_format_of_the_dataset_count(sample: Dataset) -> None:
    shuffled = sample.shuffle(seed=1).with_format("numpy", columns=["processid"])
    chosen = select_split(shuffled, "test")
    rows = zip(shuffled.with_format(None)["processid"], shuffled.with_format(None)["split"], strict=True)
    assert chosen["processid"][:].tolist() == [name for name, split in rows if split == "test"]
    assert chosen.format["type"] == "numpy"


def test_without_splits_nothing_is_left() -> None:
    assert len(select_split(Dataset.from_dict({"split": [None, None]}), "all")) == 0
