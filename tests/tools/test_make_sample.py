"""The tool that makes the sample, on a few hundred specimens."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from bioscan_hf.data.features import SPLIT_NAMES

pytest.importorskip("msprime", reason="needs bioscan-hf[sample]")


def load(name: str) -> ModuleType:
    """A module of the tool, which is a script, not a part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "tools")
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return load("sample.specimens").make_specimens(300, 20, seed=3)


def test_same_seed_same_specimens_and_files(rows: list[dict], tmp_path: Path) -> None:
    again = load("sample.specimens").make_specimens(300, 20, seed=3)
    assert again == rows
    one, two = tmp_path / "one", tmp_path / "two"
    load("sample.storage").write_splits(rows, one)
    load("sample.storage").write_splits(again, two)
    for split in SPLIT_NAMES:
        assert (one / f"{split}.parquet").read_bytes() == (two / f"{split}.parquet").read_bytes()


def test_another_seed_gives_other_specimens(rows: list[dict]) -> None:
    other = load("sample.specimens").make_specimens(300, 0, seed=4)
    assert not {row["dna_barcode"] for row in rows} & {row["dna_barcode"] for row in other}
    assert all(row["image"] is None for row in other)


def test_numbers_are_those_asked_for(rows: list[dict]) -> None:
    assert len(rows) == 300
    assert sum(row["image"] is not None for row in rows) == 20
    assert {row["split"] for row in rows} <= set(SPLIT_NAMES)


def test_command_writes_files_and_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load("make_sample").main(["--specimens", "300", "--images", "0", "--output", str(tmp_path)])
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(SPLIT_NAMES)
    assert "| total | 300 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--specimens", "10"], "`specimens` must be from 300"),
        (["--images", "-1"], "`images` must be from 0"),
        (["--specimens", "300", "--images", "301"], "`images` must be from 0 to `specimens` (300); got 301"),
        (["--seed", "-1"], "`seed` must not be negative; got -1"),
        (["--seed", "x"], "invalid int value: 'x'"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load("make_sample").main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["Aa bb sp. 3SIM", "Aa cf. bb", "Aa sp", "aa bb", "Aa bB", "Aa BBc", "Aa bb?", "Aa b_c"]
)
def test_placeholder_names(name: str) -> None:
    assert load("sample.splits").is_placeholder(name)


def test_scientific_names_are_no_placeholders() -> None:
    assert not load("sample.splits").is_placeholder("Fictobrelex brunbrelatus")


@pytest.mark.parametrize(
    ("specimens", "barcodes", "expected"),
    [
        (7, 7, (0, 0, 0, 0)),
        (8, 2, (0, 0, 0, 0)),
        (8, 3, (4, 3, 4, 1)),
        (20, 11, (7, 3, 8, 4)),
        (200, 50, (25, 3, 68, 17)),
    ],
)
def test_quota_of_the_test_sets(specimens: int, barcodes: int, expected: tuple[int, ...]) -> None:
    splits = load("sample.splits")
    assert splits.evaluation_quota(specimens, barcodes) == splits.Quota(*expected)


def test_a_barcode_moves_as_a_whole() -> None:
    barcodes = ["A" * 9] * 3 + ["NN" + "A" * 9 + "N"] + [letter * 9 for letter in "CGTKY"]
    names = ["Aa bb"] * len(barcodes)
    splits = load("sample.splits").assign_splits([*names, None], ["Aa"] * 10, [*barcodes, "M" * 9])
    assert len(set(splits[:4])) == 1
    assert splits.count("test") in (3, 4)
    assert splits[-1] == "pretrain"


def test_mutations_keep_the_frame_open_and_the_clock() -> None:
    barcodes = load("sample.barcodes")
    gene = barcodes.Gene(np.random.default_rng(0))
    ages = [1.0, 50.0]
    later = [gene.evolve(gene.root, age) for age in ages]
    for sequence in (gene.root, *later):
        text = "".join(barcodes.BASES[base] for base in sequence)
        assert not {text[at : at + 3] for at in range(0, len(text), 3)} & {"TAA", "TAG"}
    near, far = (float(np.mean(np.array(gene.root) != sequence)) for sequence in later)
    assert 0.005 < near < 0.035  # 1.8 % per My, at first
    assert 0.1 < far < 0.2  # and then third positions are saturated


def test_genealogy_is_dated_and_young_lineages_form_one_bin() -> None:
    taxonomy, genealogies = load("sample.taxonomy"), load("sample.genealogies")
    family = taxonomy.Node(5.0, [taxonomy.Node(species=0), taxonomy.Node(species=1)])
    tree = genealogies.simulate_genealogy(family, np.array([4, 3]), np.array([1e4, 1e4]), seed=1)
    assert sorted(tree.species) == [0] * 4 + [1] * 3
    assert all(above < 0 or tree.age[above] > tree.age[node] for node, above in enumerate(tree.parent))
    assert max(tree.age) == pytest.approx(5.0, abs=0.5)
    clusters = tree.clusters(genealogies.BIN_AGE)
    assert len({(species, cluster) for species, cluster in zip(tree.species, clusters, strict=True)}) == 2


def test_image_is_a_small_jpeg_of_something_dark() -> None:
    traits, images = load("sample.traits"), load("sample.images")
    for order in range(len(traits.LEG_PAIRS)):
        rng = np.random.default_rng(order)
        photo = images.Photograph.take(traits.ANCESTORS[order], order, rng)
        picture = Image.open(io.BytesIO(photo.develop(rng)))
        grey = np.asarray(picture.convert("L"), float)
        assert picture.size == (images.SIZE, images.SIZE)
        assert grey[30:66, 30:66].mean() < grey[:8].mean() - 5
