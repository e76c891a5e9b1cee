from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset, IterableDataset

from bioscan_hf import ClibdModel
from bioscan_hf.data.anywhere import load_anywhere
from bioscan_hf.data.multimodal import image_column_undecoded
from bioscan_hf.training.alignment_data import columns_of, label_ranks, with_enough
from bioscan_hf.training.contrastive import alignment_task
from bioscan_hf.training.run import run
from tests.training.made_alignments import (
    Row,
    alignment,
    batch_of,
    made_rows,
    save_towers,
    trained,
    without,
    write_specimens,
)

ROWS = made_rows(24)
GAPS: list[tuple[str, ...]] = [
    (),
    ("image",),
    ("dna",),
    ("text",),
    ("image", "dna"),
    ("dna", "text"),
    ("image", "text"),
]
"""What specimens lack, in turn."""


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return save_towers(tmp_path_factory.mktemp("towers"))


def with_gaps(rows: list[Row]) -> list[Row]:
    return [without(row, *GAPS[i % len(GAPS)]) for i, row in enumerate(rows)]


def kept(table: Path, *, streaming: bool = False, **changes: Any) -> set[str]:
    """Process ids of the specimens that are left."""
    arguments = alignment(table, Path("o"), **changes)
    specimens: Any = load_anywhere(table, columns_of(arguments), streaming=streaming)
    if "image" in arguments.modality_names:
        specimens = image_column_undecoded(specimens)
    found, _ = with_enough(specimens, arguments)
    assert isinstance(found, IterableDataset if streaming else Dataset)
    return {row["processid"] for row in found}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("changes", "gaps"),
    [
        ({}, GAPS[:4]),
        ({"require": "image"}, [(), ("dna",), ("text",)]),
        ({"require": "dna,text"}, [(), ("image",)]),
        ({"modalities": "image,dna"}, [(), ("text",)]),
        ({"modalities": "dna,text"}, [(), ("image",)]),
        ({"modalities": "image,text"}, [(), ("dna",)]),
    ],
)
def test_specimens_with_nothing_to_be_compared_are_left_out(
    changes: dict[str, Any], gaps: list[tuple[str, ...]], streaming: bool, tmp_path: Path
) -> None:
    table = write_specimens(tmp_path / "t.parquet", with_gaps(ROWS))
    expected = {row["processid"] for i, row in enumerate(ROWS) if GAPS[i % len(GAPS)] in gaps}
    assert kept(table, streaming=streaming, **changes) == expected


def test_all_of_the_specimens_may_stay(tmp_path: Path) -> None:
    assert len(kept(write_specimens(tmp_path / "t.parquet", ROWS))) == len(ROWS)


def test_what_guessing_costs_is_known_where_nothing_is_lacking(towers: dict[str, str], tmp_path: Path) -> None:
    for name, rows, chance in (("all", ROWS, np.log(8)), ("gaps", with_gaps(ROWS), None)):
        table = write_specimens(tmp_path / f"{name}.parquet", [{**row, "split": None} for row in rows])
        for changes, expected in (({}, chance), ({"require": "image,dna,text", "batch_size": 2}, np.log(2))):
            arguments = alignment(table, Path("o"), **towers, **{"batch_size": 8, **changes})
            found = alignment_task(arguments, Accelerator(cpu=True)).chance
            assert found == (None if expected is None else pytest.approx(expected)), (name, changes)


@pytest.mark.parametrize("streaming", [False, True])
def test_an_image_without_bytes_and_path_is_none(streaming: bool, tmp_path: Path) -> None:
    table = pq.read_table(write_specimens(tmp_path / "t.parquet", ROWS))
    place, images = table.column_names.index("image"), table["image"].to_pylist()
    images[:2] = [None, {"bytes": None, "path": None}]
    column = pa.array(images, table["image"].type)
    pq.write_table(table.set_column(place, table.field("image"), column), tmp_path / "u.parquet")
    expected = {row["processid"] for row in ROWS[2:]}
    assert kept(tmp_path / "u.parquet", streaming=streaming, modalities="image,dna") == expected


def test_a_name_at_a_rank_that_is_not_in_the_texts_makes_no_text(tmp_path: Path) -> None:
    row = {**without(ROWS[0], "image", "text"), "class": "Insecta"}
    table = write_specimens(tmp_path / "t.parquet", [row, ROWS[1]])
    assert kept(table) == {ROWS[1]["processid"]}
    assert len(kept(table, text_form="labelled")) == 2


def test_nobody_left_is_told(tmp_path: Path) -> None:
    table = write_specimens(tmp_path / "t.parquet", [without(row, "dna", "text") for row in ROWS])
    with pytest.raises(ValueError, match="None of the 24 specimens to train on has two of image, dna, text"):
        kept(table)
    table = write_specimens(tmp_path / "u.parquet", [without(row, "dna") for row in ROWS])
    with pytest.raises(ValueError, match="None of the 24 specimens to train on has dna and text"):
        kept(table, require="dna,text")


@pytest.mark.parametrize(
    ("changes", "ranks"),
    [
        ({}, ("order", "family", "genus", "species")),
        ({"text_form": "labelled"}, ("class", "order", "family", "subfamily", "genus", "species")),
        ({"modalities": "image,dna"}, ()),
        ({"modalities": "image,dna", "loss_targets": "mean"}, ("species",)),
        ({"modalities": "image,dna", "loss_targets": "mask"}, ("species",)),
        ({"modalities": "image,dna", "loss_targets": "hierarchical"}, ("order", "family", "genus", "species")),
    ],
)
def test_the_ranks_that_are_used_are_known(changes: dict[str, Any], ranks: tuple[str, ...]) -> None:
    assert label_ranks(alignment("x", Path("o"), **changes)) == ranks


class TestBatches:
    """Inputs of the model, made of specimens."""

    def batch(self, table: Path, towers: dict[str, str], **changes: Any) -> dict[str, torch.Tensor]:
        return batch_of(trained(alignment(table, Path("o"), **towers, **{"max_steps": 1, **changes})).task)

    def test_specimens_count_for_the_pairs_that_they_have(self, towers: dict[str, str], tmp_path: Path) -> None:
        """The loss is the mean over pairs, each of the specimens with both."""
        rows = [{**row, "split": "train"} for row in with_gaps(ROWS)]
        table = write_specimens(tmp_path / "t.parquet", rows)
        task = trained(alignment(table, Path("o"), **towers, max_steps=1)).task
        inputs, model = batch_of(task), cast(ClibdModel, task.model.eval())
        with torch.no_grad():
            outputs = model(**inputs)
            embeds = {name: getattr(outputs, f"{name}_embeds") for name in ("image", "dna", "text")}
            scale = model.logit_scale()
        losses = []
        for a, b in (("image", "dna"), ("image", "text"), ("dna", "text")):
            there = inputs[f"has_{a}"] & inputs[f"has_{b}"]
            assert 1 < there.sum() < len(there)
            logits = scale * embeds[a][there] @ embeds[b][there].T
            own = torch.arange(len(logits))
            losses += [torch.nn.functional.cross_entropy(part, own) for part in (logits, logits.T)]
        torch.testing.assert_close(outputs.loss, torch.stack(losses).mean(), atol=1e-5, rtol=1e-5)

    def test_options_reach_the_inputs(self, towers: dict[str, str], tmp_path: Path) -> None:
        table = write_specimens(tmp_path / "t.parquet", ROWS)
        plain = self.batch(table, towers)
        assert plain["pixel_values"].shape == (8, 3, 32, 32) and plain["pixel_values"].min() < 0
        assert self.batch(table, towers, normalise_images=False)["pixel_values"].min() >= 0
        still = self.batch(table, towers, augment=False)
        assert not torch.equal(still["pixel_values"], plain["pixel_values"])
        assert torch.equal(still["dna_input_ids"], plain["dna_input_ids"])
        moved = self.batch(table, towers, random_offset=True)
        assert not torch.equal(moved["dna_input_ids"], plain["dna_input_ids"])
        assert self.batch(table, towers, max_text_tokens=4)["input_ids"].shape[1] == 4
        shortened = self.batch(table, towers, caption_dropout=1.0)
        assert len(set(shortened["caption_ids"].tolist())) != len(set(plain["caption_ids"].tolist()))
        labelled = self.batch(table, towers, text_form="labelled")
        assert labelled["input_ids"].shape[1] > plain["input_ids"].shape[1]
        assert not {"pixel_values", "has_image"} & self.batch(table, towers, modalities="dna,text").keys()

    @pytest.mark.parametrize("workers", [0, 1])
    def test_an_image_that_cannot_be_decoded_is_named(
        self, workers: int, towers: dict[str, str], tmp_path: Path
    ) -> None:
        rows = [{**row, "image": b"no image"} if row["processid"] == "P007" else row for row in ROWS]
        table = write_specimens(tmp_path / "t.parquet", rows)
        arguments = alignment(table, tmp_path / "o", **towers, num_workers=workers, max_steps=8)
        with pytest.raises(ValueError, match=r"Process id P007, file P007.png: the image cannot be decoded"):
            run(alignment_task, arguments, command="c")
