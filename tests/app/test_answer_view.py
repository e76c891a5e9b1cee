import re

import numpy as np

from bioscan_hf.app.answer_view import answer_html
from bioscan_hf.app.answering import Answered, answer
from bioscan_hf.app.verdict import agreement_html
from tests.app.made_app import hostile, pictured, served, served_with_images
from tests.app.test_answering import image, queries
from tests.identification.made_library import non_coi, specimens


def test_by_barcode() -> None:
    answered = answer(served().identifier, queries(specimens("test", 2)["dna_barcode"][:]))
    html = answer_html(served(), answered, 1)
    (row,) = answered.rows[1]
    assert "<h2>Q1</h2>" in html and "By barcode" in html and "By photograph" not in html
    for prefix in ("nearest_", *(f"nearest_{number}_" for number in range(2, 6))):
        assert row[f"{prefix}processid"] in html
        different = round((1 - row[f"{prefix}identity"]) * 240)
        assert re.search(rf"{row[f'{prefix}processid']}: {different} differences?<", html)
    assert html.count('class="specimen"') == 5 and html.count("<details") == 5 and "bs-map" in html


def test_by_both() -> None:
    barcode = pictured()[0]["dna_barcode"]
    answered = answer(served_with_images().identifier, queries([barcode], [image(0)]))
    html = answer_html(served_with_images(), answered, 0)
    assert "By barcode" in html and "By photograph" in html and agreement_html(answered.rows[0]) in html
    assert html.count('class="specimen"') == 10 and "data:image/jpeg" in html
    assert "The barcode and the photograph" in html
    assert html.count("<details") == 5, "photographs have no letters"
    labels = re.findall(r"<text[^>]*>(.*?)</text>", html)
    assert "1" in ", ".join(labels).split(", ") and "P1" in ", ".join(labels).split(", ")


def test_by_photograph() -> None:
    answered = answer(served_with_images().identifier, queries([None], [image(3)]))
    html = answer_html(served_with_images(), answered, 0)
    assert "By photograph" in html and "By barcode" not in html and "Letter by letter" not in html


def test_the_query_is_on_the_map_if_its_place_is_known() -> None:
    asked = queries(specimens("test", 1)["dna_barcode"][:])
    html = answer_html(served(), answer(served().identifier, asked), 0)
    assert "bs-query-dot" not in html
    placed = asked._replace(latitudes=np.array([10.0]), longitudes=np.array([20.0]))
    assert "bs-query-dot" in answer_html(served(), answer(served().identifier, placed), 0)


def test_what_gets_no_name() -> None:
    html = answer_html(served(), answer(served().identifier, queries([non_coi()])), 0)
    assert "not like those of the library" in html and "Nearest" not in html and "bs-map" not in html


def test_names_of_queries_are_escaped() -> None:
    asked = queries(specimens("test", 1)["dna_barcode"][:])
    answered = answer(served().identifier, asked._replace(processids=[hostile()]))
    html = answer_html(served(), Answered(answered.queries, answered.table, 0.05), 0)
    assert "<script" not in html and "<img" not in html
