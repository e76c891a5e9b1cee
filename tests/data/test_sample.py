"""The shipped sample: simulated specimens, and 25 real rows."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Features, load_dataset
from PIL import Image

from bioscan_hf.data.features import COLUMN_NAMES, RANKS, SPLIT_NAMES, bioscan_features, image_chunk

SAMPLE = Path(__file__).parents[2] / "bioscan_hf" / "data" / "sample"
STOPS = {"TAA", "TAG"}
SEEN = ("train", "val", "test")
UNSEEN = ("key_unseen", "val_unseen", "test_unseen")


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return [row for split in SPLIT_NAMES for row in pq.read_table(SAMPLE / f"{split}.parquet").to_pylist()]


def species_of(rows: list[dict], *splits: str) -> set[str]:
    return {row["species"] for row in rows if row["split"] in splits and row["species"] is not None}


def has_open_frame(barcode: str) -> bool:
    frames = ({barcode[at : at + 3] for at in range(start, len(barcode) - 2, 3)} for start in range(3))
    return any(not codons & STOPS for codons in frames)


def differences(group: list[str], other: list[str], rng: np.random.Generator) -> np.ndarray:
    """Share of differing letters between random barcodes of equal length of two groups."""
    pairs = zip(rng.choice(group, 20), rng.choice(other, 20), strict=True)
    codes = [(np.frombuffer(a.encode(), np.uint8), np.frombuffer(b.encode(), np.uint8)) for a, b in pairs]
    return np.array([(a != b).mean() for a, b in codes])


@pytest.mark.parametrize("split", SPLIT_NAMES)
def test_schema_is_that_of_the_package(split: str) -> None:
    schema = pq.read_schema(SAMPLE / f"{split}.parquet")
    assert schema.names == ["image", *COLUMN_NAMES]
    assert Features.from_arrow_schema(schema) == bioscan_features(image=True)
    assert set(pq.read_table(SAMPLE / f"{split}.parquet", columns=["split"])["split"].to_pylist()) == {split}


def test_datasets_reads_the_images(tmp_path: Path) -> None:
    files = {"val": str(SAMPLE / "val.parquet")}
    dataset = load_dataset("parquet", data_files=files, split="val", cache_dir=str(tmp_path))
    assert dataset.features == bioscan_features(image=True)
    assert dataset[0]["image"].size == (96, 96)


def test_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) <= 5_000_000


def test_ids_are_unique_and_plainly_simulated(rows: list[dict]) -> None:
    for column in ("processid", "sampleid"):
        assert len({row[column] for row in rows}) == len(rows)
    assert all(re.fullmatch(r"SIM[A-Z]\d{4}-26", row["processid"]) for row in rows)
    assert all(row["dna_bin"] is None or re.fullmatch(r"SIM:AAA\d{4}", row["dna_bin"]) for row in rows)
    older = [row["index_bioscan_1M_insect"] for row in rows if row["index_bioscan_1M_insect"] is not None]
    assert len(set(older)) == len(older)
    assert 0.15 < len(older) / len(rows) < 0.25


def test_chunk_follows_the_process_id(rows: list[dict]) -> None:
    assert all(row["chunk"] == image_chunk(row["processid"], row["split"]) for row in rows)


def test_taxon_is_the_narrowest_label(rows: list[dict]) -> None:
    assert all(row["taxon"] == next(row[r] for r in reversed(RANKS) if row[r] is not None) for row in rows)


def test_taxonomy_is_a_tree(rows: list[dict]) -> None:
    for narrow, wide in (("species", "genus"), ("genus", "family"), ("family", "order"), ("order", "class")):
        parents = defaultdict(set)
        for row in rows:
            parents[row[narrow]].add(row[wide])
        parents.pop(None, None)
        assert all(len(above) == 1 for above in parents.values()), narrow


def test_label_gaps_are_those_of_the_paper(rows: list[dict]) -> None:
    shares = {"phylum": 1.0, "class": 0.999, "order": 0.997, "family": 0.958, "subfamily": 0.286, "genus": 0.238}
    for rank, share in shares.items():
        assert sum(row[rank] is not None for row in rows) / len(rows) == pytest.approx(share, abs=0.003), rank
    assert 0.895 < sum(row["species"] is None for row in rows) / len(rows) < 0.915
    assert all((row["species"] is None) == (row["split"] == "pretrain") for row in rows)
    assert any(row["genus"] is not None and row["subfamily"] is None for row in rows)


def test_no_barcode_is_in_two_splits_or_species(rows: list[dict]) -> None:
    splits, species = defaultdict(set), defaultdict(set)
    for row in rows:
        for key in (row["dna_barcode"], row["dna_barcode"].strip("N"), row["dna_barcode"].rstrip("N")):
            splits[key].add(row["split"])
            species[key].add(row["species"])
    assert all(len(names) == 1 for names in splits.values())
    assert all(len(names) == 1 for names in species.values())


def test_species_are_where_the_rules_put_them(rows: list[dict]) -> None:
    seen, unseen, heldout = species_of(rows, *SEEN), species_of(rows, *UNSEEN), species_of(rows, "other_heldout")
    assert species_of(rows, "train") == seen
    assert species_of(rows, "key_unseen") == unseen
    assert not (seen & unseen or seen & heldout or unseen & heldout)
    assert all(re.fullmatch(r"[A-Z][a-z]+ [a-z]+", name) for name in seen)
    assert all(re.fullmatch(r"[A-Z][a-z]+ sp\. \d+SIM", name) for name in unseen | heldout)
    genera = {name.split()[0] for name in seen}
    counts = Counter(row["species"] for row in rows)
    assert all(name.split()[0] in genera and counts[name] >= 8 for name in unseen)
    assert all(name.split()[0] not in genera or counts[name] < 8 for name in heldout)
    assert len(seen) >= 150
    assert len(unseen) >= 60
    assert len(heldout) >= 10


@pytest.mark.parametrize(("split", "least"), [("test", 150), ("test_unseen", 200), ("val", 20), ("val_unseen", 50)])
def test_evaluation_splits_are_useful(rows: list[dict], split: str, least: int) -> None:
    assert sum(row["split"] == split for row in rows) >= least


@pytest.mark.parametrize(("split", "others"), [("test", SEEN), ("test_unseen", UNSEEN)])
def test_species_of_a_test_set_give_what_the_rules_allow(rows: list[dict], split: str, others: tuple[str]) -> None:
    for name in species_of(rows, split):
        all_of_it = [row["dna_barcode"].strip("N") for row in rows if row["species"] == name and row["split"] in others]
        given = [row["dna_barcode"].strip("N") for row in rows if row["species"] == name and row["split"] == split]
        total, barcodes = len(all_of_it), len(set(all_of_it))
        assert total >= 8
        assert 3 <= len(given) <= 4 + (total - 8) // 3
        assert len(set(given)) <= 1 + (barcodes - 2) // 3


def test_barcodes_look_like_coi(rows: list[dict]) -> None:
    barcodes = [row["dna_barcode"] for row in rows]
    lengths = Counter(map(len, barcodes))
    assert lengths.most_common(1)[0][0] == 658
    assert lengths[658] / len(barcodes) > 0.8
    assert all(450 <= length <= 700 for length in lengths)
    assert sum("N" in barcode for barcode in barcodes) / len(barcodes) == pytest.approx(0.08, abs=0.01)
    assert 0 < sum(bool(re.search("[^ACGTN]", barcode)) for barcode in barcodes) / len(barcodes) < 0.012
    letters = Counter("".join(barcodes))
    known = sum(letters[base] for base in "ACGT")
    assert 0.67 < (letters["A"] + letters["T"]) / known < 0.71
    third = Counter("".join(barcode[::3] for barcode in barcodes if len(barcode) == 658))
    assert (third["A"] + third["T"]) / third.total() > 0.85
    assert 1.9 < len(barcodes) / len(set(barcodes)) < 2.25


def test_barcodes_have_an_open_reading_frame(rows: list[dict]) -> None:
    assert all(has_open_frame(barcode) for barcode in {row["dna_barcode"] for row in rows})


def test_divergence_grows_with_rank(rows: list[dict]) -> None:
    rng = np.random.default_rng(0)
    whole = [row for row in rows if len(row["dna_barcode"]) == 658 and set(row["dna_barcode"]) <= set("ACGT")]

    def within(rank: str, below: str) -> np.ndarray:
        """Mean distances between groups of `below` that share a group of `rank`."""
        groups: dict = defaultdict(lambda: defaultdict(list))
        for row in whole:
            if row[rank] is not None and row[below] is not None:
                groups[row[rank]][row[below]].append(row["dna_barcode"])
        pairs = [list(members.values()) for members in groups.values() if len(members) > 1]
        return np.array([differences(first, second, rng).mean() for first, second, *_ in pairs])

    species = defaultdict(list)
    for row in whole:
        species[row["species"]].append(row["dna_barcode"])
    species.pop(None)
    inside = np.array([differences(group, group, rng).mean() for group in species.values() if len(group) > 2])
    congeners, families, orders = within("genus", "species"), within("family", "genus"), within("order", "family")
    assert inside.mean() < 0.015
    assert 0.04 < congeners.mean() < 0.13
    assert congeners.min() < 0.02  # some sister species are hard to tell apart
    assert 0.12 < families.mean() < 0.18
    assert 0.17 < orders.mean() < 0.25


def test_bins_are_close_to_species(rows: list[dict]) -> None:
    bins, species = defaultdict(set), defaultdict(set)
    for row in rows:
        if row["species"] is not None and row["dna_bin"] is not None:
            bins[row["species"]].add(row["dna_bin"])
            species[row["dna_bin"]].add(row["species"])
    assert sum(len(names) == 1 for names in bins.values()) / len(bins) > 0.75
    assert any(len(names) > 1 for names in bins.values())
    assert any(len(names) > 1 for names in species.values())
    assert 0 < sum(row["dna_bin"] is None for row in rows) / len(rows) < 0.006


def test_images_are_small_squares(rows: list[dict]) -> None:
    images = [row for row in rows if row["image"] is not None]
    assert len(images) == 1500
    assert all(row["image"] is not None for row in rows if row["split"].startswith(("val", "test", "key")))
    for row in images:
        assert row["image"]["path"] == f"{row['processid']}.jpg"
        picture = Image.open(io.BytesIO(row["image"]["bytes"]))
        picture.load()
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (96, 96))
    assert np.mean([len(row["image"]["bytes"]) for row in images]) < 2_000


def test_sizes_agree_with_each_other(rows: list[dict]) -> None:
    side = np.array([row["scale_factor"] for row in rows]) * 256
    assert np.array([row["area_fraction"] for row in rows]) == pytest.approx(side**2 / (1024 * 768), abs=2e-4)
    covered = np.array([row["image_measurement_value"] for row in rows]) / side**2
    assert covered.min() > 0.01
    assert covered.max() < 0.8


def test_places_are_on_the_globe_and_partly_missing(rows: list[dict]) -> None:
    known = [row for row in rows if row["coord-lat"] is not None]
    assert 0 < len(rows) - len(known) < 0.01 * len(rows)
    assert all(-60 < row["coord-lat"] < 75 and -180 <= row["coord-lon"] <= 180 for row in known)
    assert len({(row["coord-lat"], row["coord-lon"]) for row in known}) >= 30
    assert len({row["country"] for row in rows}) >= 10


def test_readme_says_what_the_files_hold(rows: list[dict]) -> None:
    text = (SAMPLE / "README.md").read_text()
    assert "SIMULATED" in text.splitlines()[0]
    table = dict(re.findall(r"^\| (\w+) \| ([\d |]+) \|$", text, re.MULTILINE))
    assert list(table) == [*SPLIT_NAMES, "total"]
    for split, cells in table.items():
        chosen = [row for row in rows if split in ("total", row["split"])]
        barcodes, images = {row["dna_barcode"] for row in chosen}, [row for row in chosen if row["image"]]
        counts = [len(chosen), len(barcodes), len({row["species"] for row in chosen} - {None}), len(images)]
        assert [int(cell) for cell in cells.split(" | ")] == counts


def test_real_rows_have_the_columns_of_the_release() -> None:
    with (SAMPLE / "bioscan5m_rows.csv").open(newline="") as file:
        real = list(csv.DictReader(file))
    assert len(real) == 25
    assert tuple(real[0]) == COLUMN_NAMES
    assert all((row["chunk"] or None) == image_chunk(row["processid"], row["split"]) for row in real)
    assert all(has_open_frame(row["dna_barcode"]) for row in real)


def test_barcodes_and_images_are_stored_plainly() -> None:
    group = pq.ParquetFile(SAMPLE / "train.parquet").metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert "RLE_DICTIONARY" not in columns["dna_barcode"].encodings
    assert columns["image.bytes"].compression == "UNCOMPRESSED"
