import base64
import io
import re
from html import unescape
from xml.etree import ElementTree

import PIL.Image
import pytest
from datasets import Dataset

from bioscan_hf.app.pictures import Pictures
from bioscan_hf.app.served import NEAREST, Served
from bioscan_hf.app.specimen_view import PIXELS, SPECIMEN_CSS, as_data, specimen_html, specimen_lineage
from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.library import Library
from tests.app.made_app import hostile, served, served_with_images
from tests.identification.made_library import specimens, with_column, without


def card(row: int, of: Served | None = None, caption: str = "") -> ElementTree.Element:
    """As XML, which must be well formed."""
    text = specimen_html(of or served(), row, caption=caption).replace("&rsaquo;", "/")
    return ElementTree.fromstring(re.sub(r"(<img [^>]*)>", r"\1/>", text))


def made(chosen: Dataset) -> Served:
    return Served(Identifier(Library.build(chosen), nearest=NEAREST), "made", False, Pictures())


def facts(page: ElementTree.Element) -> dict[str, str]:
    names, values = ([element.text or "" for element in page.iter(tag)] for tag in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


@pytest.mark.parametrize("row", [0, 44, 602])
def test_a_card_tells_what_is_known(row: int) -> None:
    specimen = specimens("train")[row]
    page = card(row, caption="1. very similar")
    told = facts(page)
    assert told["Process id"] == specimen["processid"] and told["BIN"] == specimen["dna_bin"]
    assert told["Place"].startswith(f"{specimen['province_state']}, {specimen['country']} (")
    (name,) = page.iter("h3")
    assert "".join(name.itertext()) == specimen["species"] and name.find("i") is not None
    broader = [span.text for span in page.iter("span")]
    assert broader == [specimen[rank] for rank in RANKS[:-1] if specimen[rank]]
    assert "1. very similar" in "".join(page.itertext())


def test_coordinates_have_their_half_of_the_globe() -> None:
    for row, specimen in enumerate(specimens("train", 40)):
        latitude, longitude = specimen["coord-lat"], specimen["coord-lon"]
        found = re.search(r"\((\S+)° ([NS]), (\S+)° ([EW])\)", facts(card(row))["Place"])
        assert found
        signs = {"N": 1, "E": 1, "S": -1, "W": -1}
        assert float(found[1]) * signs[found[2]] == pytest.approx(latitude, abs=0.006)
        assert float(found[3]) * signs[found[4]] == pytest.approx(longitude, abs=0.006)


def test_what_is_unknown_is_left_out() -> None:
    chosen = without(specimens("train", 3), "species", "genus", "subfamily")
    for name in ("dna_bin", "country", "province_state"):
        chosen = with_column(chosen, name, [None] * 3)
    page = card(1, made(chosen))
    assert re.fullmatch(r"\S+° [NS], \S+° [EW]", facts(page).pop("Place"))
    assert set(facts(page)) == {"Place", "Process id"}
    (title,) = page.iter("h3")
    assert "".join(title.itertext()) == specimens("train")[1]["family"] and title.find("i") is None


def test_the_lineage_is_that_of_the_library() -> None:
    lineage = specimen_lineage(served().library, 7)
    assert lineage == {rank: specimens("train")[7][rank] for rank in RANKS if specimens("train")[7][rank]}


def test_a_photograph_is_on_the_page_itself() -> None:
    page = card(5, served_with_images())
    (picture,) = page.iter("img")
    name = specimens("train")[5]["species"]
    assert picture.attrib["alt"] == f"Photograph of {name}"
    head, content = picture.attrib["src"].split(",")
    assert head == "data:image/jpeg;base64"
    image = PIL.Image.open(io.BytesIO(base64.b64decode(content)))
    assert image.size == (30, 24)
    (blank,) = (part for part in card(5).iter("div") if part.attrib["class"] == "no-picture")
    assert blank.text == name[:2]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_large_photographs_are_made_smaller(mode: str) -> None:
    content = as_data(PIL.Image.new(mode, (2000, 500))).split(",")[1]
    assert PIL.Image.open(io.BytesIO(base64.b64decode(content))).size == (PIXELS, PIXELS // 4)


def test_all_text_is_escaped() -> None:
    chosen = specimens("train", 3)
    for name in ("processid", "dna_bin", "country", "species", "family"):
        chosen = with_column(chosen, name, [hostile(f"{name}{row}") for row in range(3)])
    of = made(chosen)
    text = specimen_html(of, 0, caption=hostile("caption"))
    page = card(0, of, hostile("caption"))
    assert {element.tag for element in page.iter()} <= {"article", "div", "p", "h3", "i", "span", "dl", "dt", "dd"}
    for name in ("processid0", "dna_bin0", "country0", "species0", "family0", "caption"):
        assert hostile(name) in unescape(text)


def test_the_style_is_no_template() -> None:
    assert not re.search(r"\{\{|\$\{|`|\\", SPECIMEN_CSS)
