"""The rehearsals run at tiny sizes, do the work that they measure, and the page shows their results."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bioscan_hf.data.conversion import convert
from bioscan_hf.data.features import SPLIT_NAMES
from bioscan_hf.data.labels import LABEL_COLUMNS
from bioscan_hf.data.release import PUBLISHED

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Result = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield


def _converted_here(release: Path, folder: Path, kill_at: int | None = None) -> None:
    """As `convert_in_group`, but in this process, and interrupted instead of killed."""
    conversion = import_module("scale_conversion")

    def report(task: str, done: int, total: int | None) -> None:
        if task == "Writing images" and len(conversion.finished(folder)) == kill_at:
            raise KeyboardInterrupt

    try:
        convert(release, folder, [conversion.PACKAGE], shard_bytes=conversion.SHARD_BYTES, report=report)
    except KeyboardInterrupt:
        assert kill_at is not None


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, _importable: None) -> dict[str, Result]:
    """The last size of every part of the data, all in this process."""
    scale, found = import_module("scale"), {}
    folder = tmp_path_factory.mktemp("scale")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("scale_conversion"), "convert_in_group", _converted_here)
        for module in ("scale_metadata", "scale_tokens", "scale_conversion"):
            for part in import_module(module).PARTS:
                found[part.name] = scale.rehearse(part, folder, quick=True)[-1]
    return found


@pytest.fixture(scope="module")
def made(_importable: None) -> pa.Table:
    return pa.concat_tables(import_module("scale_data").made_specimens(5_000))


def test_every_part_gives_its_costs(results: dict[str, Result]) -> None:
    for result in results.values():
        assert {"n", "load", "cpu", "wall", "peak", "held", "held_before", "facts"} == set(result)
        assert result["cpu"] > 0 and result["wall"] > 0
        assert result["held"] >= result["held_before"] > 0.05


def test_all_specimens_are_loaded_converted_and_counted(results: dict[str, Result]) -> None:
    rows = results["loading_first"]["n"]
    for part in ("loading_first", "loading_again", "loading_plainly"):
        facts = results[part]["facts"]
        assert (facts["specimens"], facts["splits"]) == (rows, len(SPLIT_NAMES))
        assert facts["first process id"] == results["loading_first"]["facts"]["first process id"]
    assert results["metadata_conversion"]["facts"]["specimens"] == rows
    assert results["metadata_conversion"]["facts"]["checks failed"] == 0
    assert results["statistics"]["facts"]["specimens"] == rows
    assert results["reduction"]["facts"]["specimens"] == results["statistics"]["facts"]["distinct barcodes"] < rows


def test_selections_and_labels_are_right(results: dict[str, Result]) -> None:
    selection, labels = results["selection"]["facts"], results["labels"]["facts"]
    assert selection["specimens"] == labels["specimens"] == results["selection"]["n"]
    assert all(fact for facts in (selection, labels) for fact in facts.values())
    assert sum(results["partition"]["facts"].values()) == results["partition"]["n"]
    assert results["taxon_tree"]["facts"]["specimens"] == results["taxon_tree"]["n"]


@pytest.mark.parametrize("k", [4, 8])
def test_all_barcodes_become_tokens_equal_to_naive_ones(k: int, results: dict[str, Result]) -> None:
    facts = results[f"tokens_k{k}"]["facts"]
    assert facts["barcodes"] == results[f"tokens_k{k}"]["n"] and facts["as naive ones"] and facts["compared"]
    assert 600 / k < facts["tokens"] / facts["barcodes"] < 660 / k


def test_conversion_killed_in_the_middle_gives_each_record_once(results: dict[str, Result]) -> None:
    facts = results["image_conversion"]["facts"]
    assert facts["images"] == results["image_conversion"]["n"] and facts["every record once"]
    assert facts["shards there when killed"] == facts["shards"] // 2 > 0
    assert facts["same bytes as undisturbed"]


def test_naive_tokens_by_hand(_importable: None) -> None:
    assert import_module("scale_tokens").naive_ids("AAAAACGTNACGTT", 4) == [2, 2 + 27, 1]


@pytest.mark.slow
def test_conversion_is_killed_with_its_workers(tmp_path: Path) -> None:
    [part] = import_module("scale_conversion").PARTS
    [result] = import_module("scale").rehearse(part, tmp_path, quick=True)
    assert result["facts"]["every record once"] and result["facts"]["same bytes as undisturbed"]
    assert result["facts"]["shards there when killed"] >= result["facts"]["shards"] // 2


def test_made_specimens_are_those_of_the_release_in_small(made: pa.Table) -> None:
    data = import_module("scale_data")
    assert len(made) == pc.count_distinct(made["processid"]).as_py() == 5_000
    assert made.slice(0, 500).equals(next(data.made_specimens(5_000)).slice(0, 500).combine_chunks())
    sizes = made.group_by("split").aggregate([([], "count_all"), ("dna_barcode", "count_distinct")]).to_pylist()
    assert {row["split"] for row in sizes} == set(SPLIT_NAMES)
    for row in sizes:
        published, share = PUBLISHED[row["split"]], 5_000 / data.SPECIMENS
        assert row["count_all"] == pytest.approx(published.specimens * share, abs=25)
        assert row["dna_barcode_count_distinct"] == pytest.approx(published.barcodes * share, abs=6)
    # No barcode is in two splits.
    assert pc.count_distinct(made["dna_barcode"]).as_py() == sum(row["dna_barcode_count_distinct"] for row in sizes)


def test_full_size_has_the_published_numbers(_importable: None) -> None:
    sizes = import_module("scale_data")._sizes(5_150_850)
    assert sizes == {split: (own.specimens, own.barcodes, own.species) for split, own in PUBLISHED.items()}


def test_made_barcodes_follow_their_taxa(made: pa.Table) -> None:
    text = made.filter(pc.and_(pc.is_valid(made["genus"]), pc.is_valid(made["dna_bin"])))
    letters = np.array([list(barcode[:520]) for barcode in text["dna_barcode"].to_pylist()])
    keys = {rank: np.array(text[rank].to_pylist(), object) for rank in ("dna_bin", "genus", "family")}
    pairs = np.random.default_rng(0).integers(0, len(letters), (2, 20_000))
    apart = (letters[pairs[0]] != letters[pairs[1]]).mean(axis=1)
    same = {rank: own[pairs[0]] == own[pairs[1]] for rank, own in keys.items()}
    distances = [
        apart[same["dna_bin"]].mean(),
        apart[same["genus"] & ~same["dna_bin"]].mean(),
        apart[same["family"] & ~same["genus"]].mean(),
        apart[~same["family"]].mean(),
    ]
    assert distances == sorted(distances) and distances[0] < 0.02 < distances[1] < 0.1 < distances[2]
    assert all(set(made[rank].drop_null().to_pylist()) for rank in LABEL_COLUMNS)


def _record(power: float, held: tuple[float, ...] = (0.5, 0.5, 0.5), **more: Any) -> Result:
    sizes = [
        {
            "n": n,
            "load": 1.0,
            "cpu": 3e-3 * n**power,
            "wall": 1.0,
            "peak": 1.0,
            "held": gb,
            "held_before": 0.1,
            "facts": {},
        }
        for n, gb in zip((100, 1_000, 10_000), held, strict=True)
    ]
    where = {"machine": {"cores": 2, "cpu": "C", "memory_gb": 9, "system": "S"}, "versions": {"p": "1"}, "date": "D"}
    base = {"part": "P", "title": "T", "unit": "items", "exponent": 1.1, "flat": True, "sizes": sizes, "command": "X"}
    return {**base, **where, **more}


def test_exponents_and_bars_are_those_of_the_sizes(_importable: None) -> None:
    page = import_module("scale_page")
    assert page.exponent(_record(1.37), "cpu") == pytest.approx(1.37)
    bent = _record(1.0)
    bent["sizes"][-1]["cpu"] *= 10
    assert page.exponent(bent, "cpu", first=1) == pytest.approx(2)
    assert page.exponent(bent, "cpu") == pytest.approx(1 + math.log(10) / (2 * math.log(10)))
    assert page.summary([_record(1.0)]).count(": met") == 2
    assert "exponent at most 1.1: **not met**; flat memory, within 0.1 GB: **not met**" in page.summary(
        [_record(1.2, (0.5, 0.6, 0.7))]
    )


def test_page_is_what_the_results_give(_importable: None) -> None:
    page = import_module("scale_page")
    records = page.read_records()
    for record in records:
        sizes = [size["n"] for size in record["sizes"]]
        assert len(sizes) >= 2 and sizes == sorted(set(sizes))
    text = (page.DOCS / "scale.md").read_text(encoding="utf-8")
    assert text == page.filled(text, page.made(records)), "run `python benchmarks/scale_page.py`"
    with pytest.raises(ValueError, match="expected one of each"):
        page.filled(text.replace("made: details", "made: detail"), page.made(records))


def test_projection_follows_from_the_rates(_importable: None, tmp_path: Path) -> None:
    projection = import_module("scale_projection")
    costs = _record(1.0, part="image_conversion")
    rows = projection.projection([costs], tmp_path)
    [shards] = [row for row in rows if row[0] == "cropped_256 to shards"]
    assert shards[2] == "3,000 CPU µs per image"
    assert shards[5].startswith(f"{projection.SPECIMENS * 0.003 / 3600:.2g} rank-hours; 64 ranks: 4 minutes")
    *others, operations = [row for row in rows if row != shards]
    assert all(row[2] == projection.NOT_MEASURED for row in others)
    # 4 layers of 768 with 82 tokens, half of them hidden: products of 12 x 768² weights, of scores, and of the head.
    forward = 4 * (24 * 82 * 768**2 + 4 * 82**2 * 768) + 2 * 41 * 768 * 4**8
    assert operations[2] == f"{3 * forward * projection.EXAMPLES:.2g} FLOP"
    way = {"size": "9 barcodes", "unit": "specimens per CPU s", "ours": {"value": 100.0}}
    kept = {"rows": [{"what": "k = 8, distinct barcodes, 1 thread", **way}, {"what": "on NVIDIA X", **way}]}
    (tmp_path / "embedding.json").write_text(json.dumps(kept))
    rows = projection.projection([], tmp_path)
    [embedded] = [row for row in rows if "4 layers, k = 8" in row[0] and "embedding" in row[0]]
    assert embedded[5] == f"{projection.BARCODES / 100 / 3600:.3g} core-hours"
