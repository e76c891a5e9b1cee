"""What the shell offers behind an option, found without importing anything that takes time."""

from __future__ import annotations

from pathlib import Path

from bioscan_hf.models.pretrained import PACKAGED

# As `data/features.py` has them, which takes a second to import; a test compares.
RANKS = ("phylum", "class", "order", "family", "subfamily", "genus", "species")
SPLITS = (
    *("pretrain", "train", "val", "test", "val_unseen", "test_unseen", "key_unseen", "other_heldout"),
    *("seen", "unseen", "all", "validation"),
)
KMERS = ("kmer:4", "kmer:6")


def sources(incomplete: str) -> list[str]:
    """The embedded sample, and files and folders."""
    return [*_beginning(incomplete, "sample"), *_files(incomplete)]


def models(incomplete: str) -> list[str]:
    """Models that come with the package, k-mer counts, and files and folders."""
    return [*_beginning(incomplete, *PACKAGED, *KMERS), *_files(incomplete)]


def splits(incomplete: str) -> list[str]:
    """Splits; behind a `+` those that the sum does not have yet.

    >>> splits("train+val")
    ['train+val', 'train+val_unseen', 'train+validation']
    """
    return _list(incomplete, "+", SPLITS)


def ranks(incomplete: str) -> list[str]:
    """Ranks; behind a comma those that the list does not have yet."""
    return _list(incomplete, ",", RANKS)


def _beginning(incomplete: str, *names: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _list(incomplete: str, separator: str, names: tuple[str, ...]) -> list[str]:
    before, mark, last = incomplete.rpartition(separator)
    return [before + mark + name for name in _beginning(last, *names) if name not in before.split(separator)]


def _files(incomplete: str) -> list[str]:
    """Paths that begin so, as they were begun; folders end with a slash."""
    folder, slash, name = incomplete.rpartition("/")
    try:
        found = sorted(path for path in Path(folder + slash).expanduser().iterdir() if path.name.startswith(name))
    except OSError:
        return []
    shown = [path for path in found if name.startswith(".") or not path.name.startswith(".")]
    return [f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}" for path in shown]
