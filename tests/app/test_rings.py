import json
import math
import re
from xml.etree import ElementTree

import pytest

from bioscan_hf.app.rings import rings_component, rings_html
from bioscan_hf.app.taxa import LibraryTaxa
from bioscan_hf.identification.library import Library
from tests.app.made_app import hostile
from tests.identification.made_library import library, specimens, with_column, without

TAXA = LibraryTaxa(library())
CLASS, ORDER, FAMILY, GENUS, SPECIES = (specimens("train")[0][rank] for rank in TAXA.ranks)


def parsed(path: tuple[str, ...] = (), taxa: LibraryTaxa = TAXA) -> ElementTree.Element:
    """As XML, which must be well formed."""
    return ElementTree.fromstring(f"<body>{rings_html(taxa, path).replace('&rsaquo;', '')}</body>")


def pieces(page: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {piece.attrib["data-label"]: piece for piece in page.iter("path")}


def paths(page: ElementTree.Element) -> set[tuple[str, ...]]:
    return {tuple(json.loads(piece.attrib["data-path"])) for piece in page.iter("path") if "data-path" in piece.attrib}


@pytest.mark.parametrize("length", range(6))
def test_every_piece_leads_to_a_taxon_below(length: int) -> None:
    path = (CLASS, ORDER, FAMILY, GENUS, SPECIES)[:length]
    centre = path[:4]
    page = parsed(path)
    assert paths(page)
    for found in paths(page):
        assert TAXA.known(found) == found and found[: len(centre)] == centre and len(found) > len(centre)
    (number,) = (text.text for text in page.iter("text") if text.attrib.get("class") == "number")
    assert number == f"{TAXA.specimens(TAXA.inside(path)):,}"


def test_labels_tell_rank_and_number() -> None:
    naive = sum(name == ORDER for name in specimens("train")["order"])
    assert f"{ORDER} (order): {naive} specimens" in pieces(parsed())


def test_what_is_drawn_together_cannot_be_clicked() -> None:
    together = {label: piece for label, piece in pieces(parsed()).items() if re.match(r"\d+ others: ", label)}
    assert together and all("data-path" not in piece.attrib for piece in together.values())


def test_the_angle_is_the_share() -> None:
    piece = pieces(parsed())[f"{CLASS} (class): {sum(name == CLASS for name in specimens('train')['class'])} specimens"]
    x, y = map(float, re.findall(r"A54 54 0 \d 1 (\S+) (\S+)L", piece.attrib["d"])[0])
    share = sum(name == CLASS for name in specimens("train")["class"]) / len(specimens("train"))
    assert math.atan2(x, -y) % (2 * math.pi) == pytest.approx(2 * math.pi * share, abs=1e-3)
    assert math.hypot(x, y) == pytest.approx(54, abs=0.02)


def test_a_single_taxon_is_a_whole_ring() -> None:
    taxa = LibraryTaxa(Library.build(specimens("train", 1)))
    page = parsed(taxa=taxa)
    assert len(pieces(page)) == 3
    assert all(piece.attrib["d"].count("Z") == 2 for piece in pieces(page).values())


def test_a_species_is_shown_among_those_of_its_genus() -> None:
    page = parsed((CLASS, ORDER, FAMILY, GENUS, SPECIES))
    bright = [label for label, piece in pieces(page).items() if piece.attrib.get("class") != "pale"]
    assert len(bright) == 1 and bright[0].startswith(f"{SPECIES} (species)")
    assert not [piece for piece in parsed((CLASS, ORDER)).iter("path") if piece.attrib.get("class") == "pale"]


def test_the_way_back() -> None:
    page = parsed((CLASS, ORDER))
    crumbs = [(button.text, json.loads(button.attrib["data-path"])) for button in page.iter("button")]
    assert crumbs == [("All", []), (CLASS, [CLASS]), (ORDER, [CLASS, ORDER])]
    (middle,) = (group for group in page.iter("g") if group.attrib.get("class") == "middle")
    assert middle.attrib["data-path"] == "[]" and "show all" in "".join(middle.itertext())
    assert "show all" not in "".join(parsed().itertext())


@pytest.mark.parametrize("ranks", [("order",), ("class", "order", "family"), ("subfamily", "genus", "species")])
def test_libraries_without_some_ranks(ranks: tuple[str, ...]) -> None:
    taxa = LibraryTaxa(Library.build(without(specimens("train", 20), *ranks)))
    page = parsed(taxa=taxa)
    assert paths(page)
    for found in paths(page):
        parsed(found, taxa)


def test_names_are_text() -> None:
    some = with_column(specimens("train", 3), "order", [hostile(name) for name in "abb"])
    taxa = LibraryTaxa(Library.build(some))
    page = parsed(taxa=taxa)  # well formed: nothing of the names is a tag or ends an attribute
    assert {element.tag for element in page.iter()} <= {
        "body",
        "nav",
        "button",
        "span",
        "svg",
        "path",
        "text",
        "g",
        "circle",
        "p",
    }
    (found,) = (path for path in paths(page) if path[-1] == hostile("a"))
    assert [button.text for button in parsed(found, taxa).iter("button")][-1] == hostile("a")


def test_names_are_no_templates() -> None:
    component = rings_component(TAXA)
    assert component.html_template == "${value}"
    # Both template languages of the page would run what is in the style.
    assert not re.search(r"\{\{|\$\{|`|\\", component.css_template)
