"""What bioscan-dataset 1.3.0 gives for a made release, `load_dataset` gives, too.

Their ways differ in these points: a union holds one split after the other here, and the order of the table there; a
missing value is None here, and NaN or an empty string there.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL.Image import Image

from bioscan_hf import load_dataset, load_labels
from bioscan_hf.data.features import SPLIT_NAMES
from bioscan_hf.data.labels import LABEL_COLUMNS
from tests.environments import foreign_python
from tests.made_release import Row, made_rows, make_release, unpack_release

pytestmark = pytest.mark.slow

# The names of the peer for the same columns; it has no others.
COLUMNS = {
    "image": "image",
    "dna_barcode": "dna",
    **{name: name for name in ("processid", "country", "province_state", "coord-lat", "coord-lon")},
    **{name: name for name in ("image_measurement_value", "area_fraction", "scale_factor", "split", "chunk")},
}
UNIONS = ("train+val", "seen", "unseen", "all", "test_unseen+pretrain")


@dataclass(frozen=True)
class Case:
    split: str
    max_nucleotides: int | None = 660
    reduce_repeated_barcodes: bool = False

    def __str__(self) -> str:
        return f"{self.split}-{self.max_nucleotides}{'-reduced' * self.reduce_repeated_barcodes}"


CASES = [Case(split) for split in (*SPLIT_NAMES, "validation", *UNIONS)]
CASES += [Case(split, cut) for split in ("train", "all") for cut in (None, 300)]
REDUCED = [Case(split, cut, True) for split in ("train", "pretrain", "unseen", "all") for cut in (660, None, 300)]


@dataclass(frozen=True)
class Parity:
    """A made release, and what the peer gives for it: rows by process id for each case, and its vocabularies."""

    root: Path
    cache: Path
    rows: dict[Case, dict[str, Row]]
    labels: dict[str, dict[str, Any]]
    texts: dict[str, Any]

    def ours(self, case: Case) -> dict[str, Row]:
        loaded = load_dataset(
            root=self.root,
            modalities=[*COLUMNS, *LABEL_COLUMNS],
            targets=LABEL_COLUMNS,
            cache_dir=self.cache,
            **vars(case),
        )
        return {row["processid"]: {**row, "image": pixels(row["image"])} for row in loaded}


@pytest.fixture(scope="module")
def parity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parity]:
    python = foreign_python("BIOSCAN_PEER_PYTHON", "bioscan-dataset 1.3.0")
    root = tmp_path_factory.mktemp("release")
    make_release(root, with_repeats(made_rows(15)))
    unpack_release(root)
    whole: dict[str, Any] = {"modality": list(COLUMNS.values()), "target_type": LABEL_COLUMNS, "output_format": "dict"}
    requests = [{**whole, **vars(case)} for case in (*CASES, *REDUCED)]
    requests += [{"labels": column, "modality": "dna"} for column in LABEL_COLUMNS]
    requests += [{"modality": "dna", "split": "all", "target_type": t, "target_format": "text"} for t in LABEL_COLUMNS]
    file = tmp_path_factory.mktemp("requests") / "requests.json"
    file.write_text(json.dumps(requests), encoding="utf-8")
    answers = iter(python.ask("benchmarks/peer.py", "compare", root, file))
    datasets.disable_progress_bars()
    yield Parity(
        root=root,
        cache=tmp_path_factory.mktemp("cache"),
        rows={case: dict(next(answers)) for case in (*CASES, *REDUCED)},
        labels={column: next(answers) for column in LABEL_COLUMNS},
        texts={column: dict(next(answers)) for column in LABEL_COLUMNS},
    )
    datasets.enable_progress_bars()


def with_repeats(rows: list[Row]) -> list[Row]:
    """Give specimens of every split barcodes of one another, whole and in part, before and after trailing N."""
    barcodes = [str(row["dna_barcode"]).rstrip("N")[:640].ljust(660, "A") for row in rows[:3]]
    for split in SPLIT_NAMES:
        own = [row for row in rows if row["split"] == split]
        first, second, third = barcodes
        repeats = (first, first + "NN", first + "GGT", first[:300], first[:300] + "NNN", second, second[:-1] + "N")
        for row, barcode in zip(own, (*repeats, second[:-1], "NN" + third, third, third + "N" * 60), strict=False):
            row["dna_barcode"] = barcode
    return rows


def pixels(image: Image) -> list[Any]:
    """Width, height, and the SHA-256 of the RGB values, as `peer.py` gives them."""
    rgb = image.convert("RGB")
    return [*rgb.size, hashlib.sha256(rgb.tobytes()).hexdigest()]


@pytest.mark.parametrize("case", [*CASES, *REDUCED], ids=str)
def test_every_value_agrees(case: Case, parity: Parity) -> None:
    ours, theirs = parity.ours(case), parity.rows[case]
    assert ours.keys() == theirs.keys() and ours
    for processid, row in ours.items():
        other = theirs[processid]
        for name, peers_name in COLUMNS.items():
            assert row[name] == other[peers_name], (processid, name)
        for rank in LABEL_COLUMNS:
            assert row[rank] == other[rank] and row[f"{rank}_index"] == other[f"{rank}_index"], (processid, rank)
        # With several targets, the peer gives a tuple in the order asked for.
        assert [row[f"{rank}_index"] for rank in LABEL_COLUMNS] == other["target"]


@pytest.mark.parametrize("case", [*CASES, *REDUCED], ids=str)
def test_the_order_within_a_split_agrees(case: Case, parity: Parity) -> None:
    ours, theirs = parity.ours(case), parity.rows[case]
    for split in SPLIT_NAMES:
        expected = [processid for processid, row in theirs.items() if row["split"] == split]
        assert [processid for processid, row in ours.items() if row["split"] == split] == expected


@pytest.mark.parametrize("cut", [660, None, 300])
def test_the_made_release_repeats_barcodes(cut: int | None, parity: Parity) -> None:
    """Otherwise the cases above would say nothing about them; and the length of the cut matters."""
    kept = {case.max_nucleotides: len(parity.rows[case]) for case in REDUCED if case.split == "all"}
    assert kept[cut] < len(parity.rows[Case("all")]) - 20
    assert len(set(kept.values())) == 3


def test_several_barcodes_are_kept_in_other_splits_than_the_first(parity: Parity) -> None:
    """What is kept is drawn from all splits, so a split alone may lose a barcode to another."""
    kept = parity.rows[Case("train", 660, True)]
    distinct = {str(row["dna"]).rstrip("N") for row in parity.rows[Case("train")].values()}
    assert len(kept) < len(distinct)


@pytest.mark.parametrize("column", LABEL_COLUMNS)
def test_labels_and_indices_agree_both_ways(column: str, parity: Parity) -> None:
    labels, theirs = load_labels(root=parity.root, cache_dir=parity.cache), parity.labels[column]
    names = theirs["index2label"]
    # The peer's name of -1, no label, is the empty string.
    assert labels.index2label(column, range(-1, len(names) - 1)) == [name or None for name in names]
    for name, index in theirs["label2index"]:
        assert labels.label2index(column, name) == index


@pytest.mark.parametrize("column", LABEL_COLUMNS)
def test_a_single_target_as_text_agrees(column: str, parity: Parity) -> None:
    loaded = load_dataset(root=parity.root, split="all", modalities=column, cache_dir=parity.cache)
    assert {row["processid"]: row[column] for row in loaded} == {
        processid: target for processid, (_, target) in parity.texts[column].items()
    }
