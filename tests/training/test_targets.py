from typing import Any

import pytest
from datasets import Dataset

from bioscan_hf.training.targets import LABELS, UNKNOWN, UNLABELLED, Targets


def specimens(*names: tuple[str | None, str | None]) -> Dataset:
    return Dataset.from_dict({"genus": [genus for genus, _ in names], "species": [species for _, species in names]})


KNOWN = specimens(("A", "A b"), ("A", "A c"), ("D", "D e"), ("D", None), (None, None))
ASKED = specimens(("A", "A c"), ("D", "X y"), (None, None), ("Z", None), ("A", ""))


def test_taxa_are_those_of_the_specimens_in_alphabetical_order() -> None:
    config = Targets.of(KNOWN, ["species"]).as_config()
    assert config["id2label"] == {0: "A b", 1: "A c", 2: "D e"} and config["label2id"]["D e"] == 2
    assert config["ranks"] is None, "a model that had several ranks before has one now"
    several: Any = Targets.of(KNOWN, ["genus", "species"]).as_config()
    assert several["taxa"] == {"genus": ["A", "D"], "species": ["A b", "A c", "D e"]}


@pytest.mark.parametrize(
    ("known", "expected"),
    [(True, [1, UNLABELLED, UNLABELLED, UNLABELLED, UNLABELLED]), (False, [1, UNKNOWN, -1, -1, -1])],
)
def test_a_name_that_is_not_known_is_told_from_none(known: bool, expected: list[int]) -> None:
    found = Targets.of(KNOWN, ["species"]).label(ASKED, known=known)
    assert found[LABELS][:] == expected


def test_of_several_ranks_each_has_its_own_label() -> None:
    targets = Targets.of(KNOWN, ["genus", "species"])
    assert targets.label(KNOWN)[LABELS][:] == [[0, 0], [0, 1], [1, 2], [1, -1], [-1, -1]]
    asked = targets.label(ASKED, known=False)[LABELS][:]
    assert asked == [[0, 1], [1, UNKNOWN], [-1, -1], [UNKNOWN, -1], [0, -1]]


def test_specimens_without_any_label_can_be_left_out() -> None:
    targets = Targets.of(KNOWN, ["genus", "species"])
    assert len(targets.label(KNOWN, only_labelled=True)) == 4
    assert len(targets.label(ASKED, only_labelled=True)) == 3
    assert len(targets.label(ASKED, only_labelled=True, known=False)) == 4, "a name that is not known is asked for"


def test_nothing_to_learn_is_told() -> None:
    with pytest.raises(ValueError, match="None of the 2 specimens to train on has a name in the column 'species'"):
        Targets.of(specimens(("A", None), ("B", "")), ["genus", "species"])
    with pytest.raises(ValueError, match=r"the same label, \{'genus': 'A'\}"):
        Targets.of(specimens(("A", None), ("A", "A b"), (None, None)), ["genus"])
    assert Targets.of(specimens(("A", "A b"), ("A", "A c")), ["genus", "species"]).tree.taxa["genus"] == ["A"]
