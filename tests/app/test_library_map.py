import json
import re
from functools import cache
from typing import Any

import numpy as np

from bioscan_hf.app.library_map import map_component, points_json, view_json
from bioscan_hf.app.points import Points
from bioscan_hf.app.taxa import COLOURS, LibraryTaxa
from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.library import Library
from tests.app.made_app import hostile
from tests.identification.made_library import library, specimens, with_column, without

TAXA = LibraryTaxa(library())


@cache
def points(count: int = 40) -> Points:
    keys = np.arange(3, 3 + count)
    return Points(keys, np.random.default_rng(0).random((count, 2)).astype(np.float32), "made", 367)


def all_of(taxa: LibraryTaxa) -> Points:
    count = len(taxa.library.keys.first)
    return Points(np.arange(count), np.zeros((count, 2), np.float32), "made", count)


def view(rank: str = "order", path: tuple[str, ...] = (), selected: int | None = None) -> dict[str, Any]:
    drawn: dict[str, Any] = json.loads(view_json(TAXA, points(), rank, TAXA.inside(path), selected))
    return drawn


def test_points_have_places_and_names() -> None:
    made = json.loads(points_json(TAXA, points()))
    assert np.column_stack([made["x"], made["y"]]).tolist() == np.rint(points().places * 10_000).tolist()
    species = [specimens("train")[int(library().keys.first[key])]["species"] for key in points().keys]
    assert [made["names"][place] for place in made["named"]] == species
    assert len(set(made["names"])) == len(made["names"])


def test_a_point_without_species_has_its_finest_name() -> None:
    taxa = LibraryTaxa(Library.build(without(specimens("train", 3), "species", "genus", "subfamily")))
    made = json.loads(points_json(taxa, all_of(taxa)))
    names = {made["names"][place] for place in made["named"]}
    assert names == set(specimens("train", 3)["family"])


def test_colours_are_those_of_the_legend() -> None:
    drawn = view("family")
    families = [specimens("train")[int(library().keys.first[key])]["family"] for key in points().keys]
    legend = [name for name, *_ in drawn["legend"][: len(COLOURS)]]
    assert drawn["colours"] == [legend.index(name) if name in legend else -1 for name in families]
    assert max(drawn["colours"]) > 0 and -1 in drawn["colours"]
    assert drawn["legend"][-1][0] == "others" and sum(count for *_, count in drawn["legend"]) == 603


def test_ranks_with_missing_names_say_so() -> None:
    missing = sum(name is None for name in specimens("train")["subfamily"])
    told = {name: count for name, _, count in view("subfamily")["legend"]}
    assert missing and told["no label"] == missing


def test_only_a_taxon_is_meant() -> None:
    name = specimens("train")[int(library().keys.first[3])]["class"]
    order = specimens("train")[int(library().keys.first[3])]["order"]
    drawn = view("family", (name, order))
    meant = [specimens("train")[int(library().keys.first[key])]["order"] == order for key in points().keys]
    assert drawn["meant"] == list(map(int, meant)) and 0 < sum(meant) < len(meant)
    assert sum(count for *_, count in drawn["legend"]) == sum(value == order for value in specimens("train")["order"])


def test_the_selected_point() -> None:
    assert view(selected=None)["selected"] == -1
    assert view(selected=5)["selected"] == 2
    assert view(selected=300)["selected"] == -1  # not among those that are drawn


def test_nothing_to_draw() -> None:
    nothing = Points(np.empty(0, np.int64), np.empty((0, 2), np.float32), "made", 0)
    assert json.loads(points_json(TAXA, nothing))["x"] == []
    assert json.loads(view_json(TAXA, nothing, RANKS[2], TAXA.inside(()), 3))["colours"] == []


def test_names_are_text() -> None:
    some = with_column(specimens("train", 3), "species", [hostile(name) for name in "abc"])
    taxa = LibraryTaxa(Library.build(some))
    for text in (points_json(taxa, all_of(taxa)), view_json(taxa, all_of(taxa), "species", taxa.inside(()), None)):
        assert "<" not in text and json.dumps(hostile("a")).replace("<", "\\u003c") in text


def test_the_page_has_no_templates_for_names() -> None:
    component = map_component()
    for text in (component.html_template, component.css_template):
        assert not re.search(r"\{\{|\$\{|`|\\", text)
