import pytest

from bioscan_hf.data.features import SPLIT_NAMES, image_chunk
from bioscan_hf.data.release import (
    CONFIGURATIONS,
    DEFAULT_CONFIGURATION,
    IMAGE_MD5,
    PARTS,
    PUBLISHED,
    archives_for,
    image_member,
)


def test_parts_share_out_the_splits() -> None:
    assert sorted(split for held in PARTS.values() for split in held) == sorted(SPLIT_NAMES)


def test_published_counts_add_up_to_the_published_totals() -> None:
    assert list(PUBLISHED) == list(SPLIT_NAMES)
    assert sum(count.specimens for count in PUBLISHED.values()) == 5_150_850
    assert sum(count.barcodes for count in PUBLISHED.values()) == 2_486_492  # no barcode is in two splits
    assert sum(PUBLISHED[split].species for split in ("train", "key_unseen", "other_heldout")) == 22_622


def test_configurations_are_those_whose_archive_was_released() -> None:
    assert next(iter(CONFIGURATIONS)) == "metadata" and DEFAULT_CONFIGURATION in CONFIGURATIONS
    in_parts = {name for name in CONFIGURATIONS if name.endswith(tuple(f"_{part}" for part in PARTS))}
    assert in_parts == {f"{package}_{part}" for package in ("cropped_256", "original_256") for part in PARTS}


def test_paths_follow_the_chunk_rule() -> None:
    for path in IMAGE_MD5:
        split, processid = path.split("/")[0], path.split("/")[-1].removesuffix(".jpg")
        member = image_member("cropped_256", split, image_chunk(processid, split), processid)
        assert member == f"bioscan5m/images/cropped_256/{path}"


def test_the_smallest_archives_are_chosen() -> None:
    def names(*suffixes: str) -> list[str]:
        return [f"BIOSCAN_5M_cropped_256{suffix}.zip" for suffix in suffixes]

    files = [*names("", "_eval", "_train", "_pretrain.01", "_pretrain.02"), "BIOSCAN_5M_cropped.01.zip"]
    assert archives_for(files, "cropped_256", ["val", "test_unseen"]) == names("_eval")
    assert archives_for(files, "cropped_256", ["pretrain"]) == names("_pretrain.01", "_pretrain.02")
    assert archives_for(files, "cropped_256", ["train", "val"]) == names("_train", "_eval")
    assert archives_for(names("", "_eval"), "cropped_256", ["train", "val"]) == names("")
    assert archives_for(files, "cropped", ["val"]) == ["BIOSCAN_5M_cropped.01.zip"]
    with pytest.raises(FileNotFoundError, match=r"No archive of original_256 with \['val'\]; expected .* found \['BIO"):
        archives_for(files, "original_256", ["val"])
