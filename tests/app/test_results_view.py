import base64
import re

from bioscan_hf.app.answering import agreed_rank, answer
from bioscan_hf.app.results_view import download_html, results_html
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.library import Library
from tests.app.made_app import hostile, pictured, served, served_with_images
from tests.app.test_answering import image, queries
from tests.identification.made_library import non_coi, specimens

BARCODES = [*specimens("test", 3)["dna_barcode"], non_coi(), None]


def test_a_row_for_each_query() -> None:
    answered = answer(served().identifier, queries(BARCODES))
    html = results_html(answered)
    assert re.findall(r'data-place="(\d+)"', html) == ["0", "1", "2", "3", "4"]
    assert re.findall(r'aria-selected="true"><td>(\w+)', html) == ["Q0"]
    for (row,) in answered.rows:
        assert row["processid"] in html and (row["safe_taxon"] or "\u2013") in html
    named = sum(row["safe_rank"] is not None for (row,) in answered.rows)
    assert f"<b>5 queries</b>: {named} with a name that is safe at 5\u00a0% errors" in html
    assert "not like the barcodes" in html


def test_a_library_that_is_not_calibrated_has_names_all_the_same() -> None:
    chosen = specimens("train", 5)
    answered = answer(Identifier(Library.build(chosen)), queries(chosen["dna_barcode"][:2]))
    html = results_html(answered)
    assert "not calibrated, so that no name is called safe" in html and "<th>name</th>" in html
    assert chosen[0]["species"] in html and "with a name that is safe" not in html


def test_a_single_query_needs_no_table() -> None:
    assert results_html(answer(served().identifier, queries(BARCODES[:1]))) == ""


def test_one_with_both_is_a_row() -> None:
    barcodes = pictured()["dna_barcode"][:2]
    answered = answer(served_with_images().identifier, queries(barcodes, [image(0), None]))
    html, rank = results_html(answered), agreed_rank(answered.rows[0])
    assert html.count("data-place") == 2 and f"with photograph: same {rank}" in html


def test_the_link_holds_the_file() -> None:
    answered = answer(served().identifier, queries(BARCODES))
    found = re.search(r'download="names.csv" href="data:text/csv;base64,([^"]+)"', download_html(answered))
    assert found is not None and base64.b64decode(found[1]) == answered.csv()


def test_names_are_escaped() -> None:
    asked = queries(BARCODES[:2])._replace(processids=[hostile(), "B"])
    html = results_html(answer(served().identifier, asked))
    assert "<script" not in html and "<img" not in html
