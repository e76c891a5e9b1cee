"""The released files of BIOSCAN-5M: which archive holds what, their checksums, and the published counts.

Sources: file list of `bioscan-ml/BIOSCAN-5M` on the Hub; Zenodo record 11973457; checksums and image test vectors of
bioscan-dataset 1.3.0; counts of Gharaee et al. (NeurIPS 2024, arXiv 2406.12723).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bioscan_hf.data.features import SPLIT_NAMES

REPOSITORY = "bioscan-ml/BIOSCAN-5M"

PACKAGES: dict[str, str] = {
    "cropped_256": "cropped to the specimen, shorter side 256 pixels",
    "original_256": "whole photograph, shorter side 256 pixels",
    "cropped": "cropped to the specimen, full resolution",
    "original_full": "whole photograph, 1024 x 768 pixels",
}
"""Image packages, the smallest and most used first."""

PARTS: dict[str, tuple[str, ...]] = {
    "pretrain": ("pretrain",),
    "train": ("train",),
    "eval": tuple(name for name in SPLIT_NAMES if name not in ("pretrain", "train")),
}
"""Splits in the archives that hold a part of a package."""

PACKAGES_IN_PARTS = ("cropped_256", "original_256")


@dataclass(frozen=True)
class Configuration:
    """One configuration of the dataset.

    Attributes:
        name: As in `load_dataset(path, name)`.
        package: Image package, None where there are no images.
        splits: Its splits, in the order of `features.SPLITS`.
        description: One line.
    """

    name: str
    package: str | None
    splits: tuple[str, ...]
    description: str


def _configurations() -> dict[str, Configuration]:
    found = [Configuration("metadata", None, SPLIT_NAMES, "barcodes, taxonomy, places and sizes, without images")]
    for package, description in PACKAGES.items():
        found.append(Configuration(package, package, SPLIT_NAMES, f"all splits; images {description}"))
        if package in PACKAGES_IN_PARTS:
            found += [
                Configuration(f"{package}_{part}", package, splits, f"{', '.join(splits)}; images {description}")
                for part, splits in PARTS.items()
            ]
    return {configuration.name: configuration for configuration in found}


CONFIGURATIONS: dict[str, Configuration] = _configurations()
DEFAULT_CONFIGURATION = "cropped_256"

METADATA_ARCHIVE = "BIOSCAN_5M_Insect_Dataset_metadata_MultiTypes.zip"
METADATA_MEMBERS = {
    kind: f"bioscan5m/metadata/{kind}/BIOSCAN_5M_Insect_Dataset_metadata.{kind}" for kind in ("csv", "jsonld")
}

MD5: dict[str, str] = {
    METADATA_ARCHIVE: "ac381b69fafdbaedc2f9cfb89e3571f7",
    METADATA_MEMBERS["csv"]: "603020b433ef566946efba7a08dbb23d",
    "BIOSCAN_5M_cropped_256_eval.zip": "16a997f72a8cd08cbcf7becafe2dda50",
    "BIOSCAN_5M_cropped_256_pretrain.01.zip": "0e1cfa86dc7fa4d9c10036990992a2dd",
    "BIOSCAN_5M_cropped_256_pretrain.02.zip": "ca3191d307957732e8108121b20a2059",
    "BIOSCAN_5M_cropped_256_train.zip": "3f170db5d95610644883dafc73389049",
}
"""MD5 of released files, where one is published."""

IMAGE_MD5: dict[str, str] = {
    "pretrain/00/AACTA1040-20.jpg": "053311d26acb22a4726b867e558147ce",
    "pretrain/ff/YGEN686-22.jpg": "053df72d6162d7d7512bc6d5571b52bd",
    "pretrain/fe/YGEN2059-22.jpg": "5e0798d46efb11f6450150d07d185e7d",
    "train/0/AACTA1026-20.jpg": "a0746c803d07cbc7a87d808db763b8dc",
    "train/f/YGEN986-22.jpg": "42f3e0873cd924a0084adb31eb263fd2",
    "val/AACTA161-20.jpg": "43834d843e992b546abbcb0c6d6f0d43",
    "val/YGEN925-22.jpg": "c523319d0201306bd6fe530c362efeef",
    "test/AACTA1436-20.jpg": "dbe6de711585d84d5dd526dd42ce735d",
    "test/YGEN995-22.jpg": "e369efbe1ef0a4259fc8ba42d8cb4b4c",
    "key_unseen/AACTA5263-20.jpg": "856411c5ecfa238ce2dac607a1207784",
    "key_unseen/YGEN2149-22.jpg": "6d804a23ae6582e7d0ce9f296ad4390e",
    "val_unseen/ABOTH8801-22.jpg": "31e04be94df9f470ea79ff1266e36888",
    "val_unseen/YGEN2173-22.jpg": "8f63d89962ed4092bd205274bc24036f",
    "test_unseen/BCMIN4148-23.jpg": "d3542d6cc943256723a1a39a18f845e5",
    "test_unseen/YDBB974-21.jpg": "9cff547b03468b1552fb1647001d202f",
    "other_heldout/0/ABSSI1639-22.jpg": "82506b391cc33aa08b86f4c930c401a1",
    "other_heldout/f/YDBB6502-21.jpg": "0ea33145fcb57997605ea450a979e5d2",
}
"""MD5 of some images of the package `cropped_256`, by their path in it."""


@dataclass(frozen=True)
class Published:
    """Published size of a split: specimens, distinct barcodes, species."""

    specimens: int
    barcodes: int
    species: int


PUBLISHED: dict[str, Published] = {
    "pretrain": Published(4_677_756, 2_284_232, 0),
    "train": Published(289_203, 118_051, 11_846),
    "val": Published(14_757, 6_588, 3_378),
    "test": Published(39_373, 18_362, 3_483),
    "key_unseen": Published(36_465, 12_166, 914),
    "val_unseen": Published(8_819, 2_442, 903),
    "test_unseen": Published(7_887, 3_401, 880),
    "other_heldout": Published(76_590, 41_250, 9_862),
}


def archive_pattern(package: str, part: str | None = None) -> re.Pattern[str]:
    """Names of the archives that hold a package, or one of its `PARTS`; an archive may come as `.01.zip`, `.02.zip`.

    >>> bool(archive_pattern("cropped_256", "pretrain").fullmatch("BIOSCAN_5M_cropped_256_pretrain.01.zip"))
    True
    >>> bool(archive_pattern("cropped_256").fullmatch("BIOSCAN_5M_cropped_256_eval.zip"))
    False
    """
    return re.compile(rf"BIOSCAN_5M_{package}{f'_{part}' if part else ''}(\.\d\d)?\.zip")


def image_member(package: str, split: str, chunk: str | None, processid: str) -> str:
    """Path of an image inside the released archives.

    >>> image_member("cropped_256", "train", "0", "AACTA1026-20")
    'bioscan5m/images/cropped_256/train/0/AACTA1026-20.jpg'
    """
    folder = f"{split}/{chunk}" if chunk else split
    return f"bioscan5m/images/{package}/{folder}/{processid}.jpg"


def archives_for(files: Sequence[str], package: str, splits: Sequence[str]) -> list[str]:
    """Choose the image archives that hold some splits: the parts if all are there, else the whole package.

    Args:
        files: Names to choose from.
        package: Image package.
        splits: Splits whose images are needed.

    Raises:
        FileNotFoundError: If there is no such archive.

    >>> archives_for(["BIOSCAN_5M_cropped_256_eval.zip", "BIOSCAN_5M_cropped_256.zip"], "cropped_256", ["val"])
    ['BIOSCAN_5M_cropped_256_eval.zip']
    """
    chosen: list[str] = []
    for part, held in PARTS.items():
        if set(held) & set(splits):
            own = [file for file in files if archive_pattern(package, part).fullmatch(file)]
            if not own:
                break
            chosen += own
    else:
        return chosen
    whole = [file for file in files if archive_pattern(package).fullmatch(file)]
    if not whole:
        raise FileNotFoundError(
            f"No archive of {package} with {list(splits)}; expected BIOSCAN_5M_{package}.zip or its parts, found "
            f"{sorted(file for file in files if file.endswith('.zip'))}."
        )
    return whole
