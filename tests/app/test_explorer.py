import json
from functools import cache
from typing import Any

import gradio as gr
import numpy as np
import pytest

from bioscan_hf.app.alignment import barcode_of
from bioscan_hf.app.explorer import Explorer, Shown
from bioscan_hf.app.points import Points
from tests.app.made_app import served, served_with_images
from tests.identification.made_library import library, specimens


@cache
def explorer(pictures: bool = False) -> Explorer:
    made = Explorer(served_with_images() if pictures else served())
    count = len(made.served.library.keys.first)
    places = np.random.default_rng(0).random((count, 2)).astype(np.float32)
    vars(made)["points"] = Points(np.arange(count), places, "chance", count)
    return made


def event(**data: Any) -> gr.EventData:
    return gr.EventData(None, data)


def drawn(update: Any) -> dict[str, Any]:
    """What an update of the map draws."""
    view: dict[str, Any] = json.loads(update.props["view"])
    return view


@cache
def lineages() -> list[tuple[str, ...]]:
    ranks = ("class", "order", "family", "genus", "species")
    return list(zip(*(specimens("train")[rank][:] for rank in ranks), strict=True))


def lineage(row: int) -> tuple[str, ...]:
    return lineages()[row]


def test_the_first_map_is_coloured_by_order() -> None:
    picture, about = explorer().open_map(Shown(), explorer().rank_below(()))
    assert {name for name, *_ in drawn(picture)["legend"]} == set(library().taxa["order"])
    assert all(drawn(picture)["meant"]) and len(json.loads(picture.value)["x"]) == len(library().keys.first)
    assert f"{len(library().keys.first):,} distinct barcodes of 603 specimens, laid out by chance" in about


def test_it_is_said_that_not_all_are_drawn() -> None:
    made = Explorer(served())
    vars(made)["points"] = Points(np.arange(10), np.zeros((10, 2), np.float32), "UMAP", 123_456)
    assert "10 of 123,456 distinct barcodes, drawn at random" in made.about()


@pytest.mark.parametrize(
    ("length", "rank"), [(0, "order"), (1, "order"), (2, "family"), (4, "species"), (5, "species")]
)
def test_a_click_on_the_rings(length: int, rank: str) -> None:
    path = lineage(0)[:length]
    now, rings, told, message, words = explorer().click_ring(Shown(words="before", row=4), event(path=list(path)))
    assert now == Shown(path, "", 4) and told == rank and words == "" and not message.visible
    inside = [lineage(row)[:length] == path for row in library().keys.first.tolist()]
    assert drawn(explorer().view(now, told))["meant"] == list(map(int, inside))
    assert f">{sum(lineage(row)[:length] == path for row in range(603))}</text>" in rings


@pytest.mark.parametrize("asked", [None, "x", [1], [None], ["Nothing"], [["Simulecta"]], {"a": 1}])
def test_a_path_that_does_not_exist_leads_to_all(asked: Any) -> None:
    now, *_ = explorer().click_ring(Shown(), event(path=asked))
    assert now.path == ()


def test_a_click_on_a_point() -> None:
    now, picture, card, fasta, button = explorer().click_point(Shown(), "order", event(place=30))
    row = int(library().keys.first[30])
    name, barcode = specimens("train")[row]["processid"], barcode_of(library(), 30)
    assert now.row == row and drawn(picture)["selected"] == 30 and name in card
    assert fasta == f">{name}\n{barcode}" and button.visible


@pytest.mark.parametrize("place", [-1, 10**6, None, "3", 1.5])
def test_a_point_that_does_not_exist_changes_nothing(place: Any) -> None:
    found = explorer().click_point(Shown(), "order", event(place=place))
    assert all(update == gr.skip() for update in found)


def test_a_specimen_with_a_photograph_is_preferred() -> None:
    made = explorer(pictures=True)
    keys = made.served.library.keys
    key = int(np.flatnonzero(keys.specimens > 1)[0])
    rows = np.flatnonzero(keys.of_specimen == key).tolist()
    assert made.pictured(key) == rows[0]
    pictures, last = made.served.pictures, made.served.id_of(rows[-1])
    kept = dict(pictures._row_of)
    try:
        pictures._row_of = {last: kept[last]}
        assert made.pictured(key) == rows[-1]
    finally:
        pictures._row_of = kept
    assert f"One of {len(rows)} specimens with this barcode" in made.specimen(rows[0])[0]


def test_a_search() -> None:
    message, now, _, rank, card, fasta, _ = explorer().search(f" {lineage(9)[2].upper()} ")
    assert lineage(9)[2] in message.value and message.visible and now.path == ()
    meant = [lineage(row)[2] == lineage(9)[2] for row in library().keys.first.tolist()]
    assert drawn(explorer().view(now, rank))["meant"] == list(map(int, meant))
    assert specimens("train")[now.row]["processid"] in card and fasta.startswith(">")
    assert rank == "genus" and explorer().search(lineage(9)[4])[3] == "species"
    assert explorer().search(specimens("train")[9]["processid"])[3] == gr.skip()


def test_a_search_that_finds_nothing_says_so() -> None:
    message, *others = explorer().search("<script>alert(1)</script>")
    assert "&lt;script&gt;" in message.value and "<script" not in message.value and message.visible
    assert all(update == gr.skip() for update in others)
