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
