import csv
from importlib.resources import files

import pytest

from bioscan_hf.data.features import COLUMN_NAMES, COLUMNS, RANKS, SPLITS, bioscan_features, image_chunk, resolve_split


def test_columns_are_those_of_the_released_metadata() -> None:
    lines = (files("bioscan_hf.data") / "sample" / "bioscan5m_rows.csv").read_text(encoding="utf-8").splitlines()
    assert tuple(next(csv.reader(lines))) == COLUMN_NAMES
    assert len(COLUMNS) == 23 and set(RANKS) < set(COLUMN_NAMES)
    assert list(bioscan_features()) == ["image", *COLUMN_NAMES]
    assert "image" not in bioscan_features(image=False)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", ("train",)),
        ("validation", ("val",)),
        ("seen", ("train", "val", "test")),
        ("unseen", ("key_unseen", "val_unseen", "test_unseen")),
        ("all", tuple(split.name for split in SPLITS)),
        ("val + train", ("train", "val")),
        ("seen+train+other_heldout", ("train", "val", "test", "other_heldout")),
    ],
)
def test_split_names_unions_sums_and_alias(split: str, expected: tuple[str, ...]) -> None:
    assert resolve_split(split) == expected


@pytest.mark.parametrize(("split", "hint"), [("valid", "val"), ("tset", "test"), ("", None), ("train+", None)])
def test_unknown_split_is_refused_with_a_hint(split: str, hint: str | None) -> None:
    with pytest.raises(ValueError, match="`split` must be") as error:
        resolve_split(split)
    assert hint is None or f"Did you mean {hint!r}?" in str(error.value)


# Paths of the released images (list of checksums in bioscan-dataset 1.3.0).
@pytest.mark.parametrize(
    ("processid", "split", "chunk"),
    [
        ("AACTA1040-20", "pretrain", "00"),
        ("YGEN686-22", "pretrain", "ff"),
        ("AACTA1026-20", "train", "0"),
        ("YDBB6502-21", "other_heldout", "f"),
        ("AACTA161-20", "val", None),
        ("AACTA5263-20", "key_unseen", None),
    ],
)
def test_image_chunk_follows_the_released_paths(processid: str, split: str, chunk: str | None) -> None:
    assert image_chunk(processid, split) == chunk
