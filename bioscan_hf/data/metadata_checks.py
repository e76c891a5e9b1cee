"""Checks of metadata: published counts, splits that share nothing, names that follow the rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bioscan_hf.data.barcodes import barcode_hashes
from bioscan_hf.data.features import SPLIT_NAMES, image_chunk
from bioscan_hf.data.messages import shown
from bioscan_hf.data.release import PUBLISHED

Strip = Literal["none", "trailing", "both"]

STRIPS: dict[Strip, str] = {"none": "as they are", "trailing": "without trailing N", "both": "without N at both ends"}
"""How barcodes are compared: in the table, in the training code of the authors, and in their code that drew splits."""

KEYS = {"train": ("val", "test"), "key_unseen": ("val_unseen", "test_unseen")}
"""Splits that hold all species of others."""

CHECKED_COLUMNS = ["processid", "species", "dna_barcode", "split", "chunk"]

_TOTAL = sum(published.specimens for published in PUBLISHED.values())
_SHOWN = 3


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: What was checked.
        passed: Whether it holds; None if there was nothing to check.
        detail: What was found.
    """

    name: str
    passed: bool | None
    detail: str

    @property
    def outcome(self) -> str:
        """`passed`, `failed` or `not applicable`."""
        return "not applicable" if self.passed is None else "passed" if self.passed else "failed"


class MetadataChecker:
    """Collects what the checks need, a table at a time: 50 bytes per specimen.

    Attributes:
        count: Number of specimens so far.
        processids: Process ids of each split, in their order.
    """

    def __init__(self) -> None:
        self.count = 0
        self.processids: dict[str, list[pa.Array]] = defaultdict(list)
        self._hashes: dict[Strip, dict[str, list[np.ndarray]]] = {strip: defaultdict(list) for strip in STRIPS}
        self._species: dict[str, set[str]] = defaultdict(set)
        self._wrong_chunks = 0
        self._wrong_chunk = ""

    def add(self, table: pa.Table) -> None:
        """Take some specimens.

        Args:
            table: Has at least `CHECKED_COLUMNS`.
        """
        self.count += len(table)
        for split in pc.unique(table["split"]).to_pylist():
            own = table.filter(pc.equal(table["split"], split))
            self.processids[split] += own["processid"].chunks
            self._species[split].update(pc.unique(own["species"]).drop_null().to_pylist())
            for strip, hashes in self._hashes.items():
                hashes[split].append(barcode_hashes(own["dna_barcode"], strip=strip))
            for processid, chunk in zip(own["processid"].to_pylist(), own["chunk"].to_pylist(), strict=True):
                if chunk != (expected := image_chunk(processid, split)):
                    self._wrong_chunks += 1
                    self._wrong_chunk = f", such as {shown(processid)} in {shown(chunk)!r} instead of {expected!r}"

    def checks(self) -> Iterator[Check]:
        """Make the checks of all that was taken."""
        splits = [split for split in SPLIT_NAMES if split in self.processids]
        rows = {split: sum(map(len, self.processids[split])) for split in splits}
        is_release = self.count == _TOTAL
        distinct = {
            strip: {split: np.unique(np.concatenate(hashes[split])) for split in splits}
            for strip, hashes in self._hashes.items()
        }
        yield self._unique_processids()
        yield _as_published("specimens per split", [rows], "specimens", is_release)
        barcodes = [{split: len(own) for split, own in way.items()} for way in distinct.values()]
        yield _as_published("distinct barcodes", barcodes, "barcodes", is_release)
        yield _as_published(
            "species per split", [{split: len(self._species[split]) for split in splits}], "species", is_release
        )
        for strip in ("both", "trailing"):
            yield self._separate_barcodes(strip, distinct[strip])
        for keys, others in KEYS.items():
            yield self._species_in(keys, others, is_release)
        wrong = f"{self._wrong_chunks:,} do not follow the rule{self._wrong_chunk}"
        yield Check("folders of images", not self._wrong_chunks, wrong)

    def _unique_processids(self) -> Check:
        everything = pa.chunked_array([chunk for chunks in self.processids.values() for chunk in chunks])
        repeated = len(everything) - pc.count_distinct(everything).as_py()
        return Check("process ids are unique", not repeated, f"{repeated:,} repeated among {len(everything):,}")

    def _separate_barcodes(self, strip: Strip, distinct: Mapping[str, np.ndarray]) -> Check:
        hashes = np.sort(np.concatenate(list(distinct.values())))
        shared = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        detail = f"{len(shared):,} in several splits"
        for value in shared[:_SHOWN]:
            holders = [self._with_barcode(strip, split, value) for split, own in distinct.items() if value in own]
            detail += f"; that of {' and '.join(holders)}"
        return Check(f"no barcode in two splits, {STRIPS[strip]}", not len(shared), detail)

    def _with_barcode(self, strip: Strip, split: str, value: np.uint64) -> str:
        at = int(np.flatnonzero(np.concatenate(self._hashes[strip][split]) == value)[0])
        return f"{pa.chunked_array(self.processids[split])[at]} ({split})"

    def _species_in(self, keys: str, others: tuple[str, ...], is_release: bool) -> Check:
        species = set().union(*(self._species[split] for split in others))
        lacking = sorted(species - self._species[keys])
        listed = f", such as {', '.join(lacking[:_SHOWN])}" if lacking else ""
        detail = f"{len(lacking):,} of {len(species):,} are not{listed}"
        # Where specimens were taken out, it need not hold.
        return Check(f"species of {' and '.join(others)} are in {keys}", not lacking if is_release else None, detail)


def _as_published(name: str, ways: list[dict[str, int]], what: str, is_release: bool) -> Check:
    """Compare counts with the published ones; of several `ways` to count, one must agree."""
    published = {split: getattr(counts, what) for split, counts in PUBLISHED.items()}
    agree = [way for way in ways if all(way.get(split, 0) == count for split, count in published.items())]
    found = (agree or ways)[0]
    if is_release and not agree:
        pairs = [(split, found.get(split, 0), count) for split, count in published.items()]
        wrong = [f"{split} {counted:,} instead of {count:,}" for split, counted, count in pairs if counted != count]
        return Check(name, False, "; ".join(wrong))
    return Check(name, True if is_release else None, ", ".join(f"{split} {count:,}" for split, count in found.items()))
