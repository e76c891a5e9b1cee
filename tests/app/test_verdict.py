import re
from typing import Any

import pytest

from bioscan_hf.app.answering import Row
from bioscan_hf.app.verdict import agreement_html, novelty_text, percent, safe_text, taxon_html, verdict_html
from bioscan_hf.data.features import RANKS
from tests.app.made_app import hostile, served
from tests.identification.made_library import non_coi, specimens


def row(split: str = "test", **changes: Any) -> Row:
    found: Row = served().identifier([specimens(split)[0]["dna_barcode"]], ["Q"]).to_pylist()[0]
    return found | changes


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_names_probabilities_and_the_safe_rank() -> None:
    known = row()
    assert known["safe_rank"] == "species", "else the test is of another case"
    html = verdict_html(known, 0.05)
    for rank in RANKS:
        assert f">{known[rank]}<" in html and percent(known[f"{rank}_probability"]) in html
    assert html.count("bs-mark") == 1 and "bs-guess" not in html
    assert "safe to species at 5\u00a0% errors" in html and f"<i>{known['species']}</i>" in html
    assert html.count('style="width:') == len(RANKS)


def test_ranks_behind_the_safe_one_are_guesses() -> None:
    html = verdict_html(row(safe_rank="genus", safe_taxon="Aus"), 0.01)
    lines = re.findall(r'<tr class="([^"]+)"><th>([a-z]+)', html)
    assert [rank for kind, rank in lines if "bs-guess" in kind] == ["species"]
    assert [rank for kind, rank in lines if "bs-deepest" in kind] == ["genus"]
    assert "safe to genus at 1\u00a0% errors" in html and "<i>Aus</i>" in html


def test_no_safe_name() -> None:
    html = verdict_html(row(safe_rank=None, safe_taxon=None), 0.01)
    assert "no safe name" in html and "no name is safe at 1\u00a0% errors" in html and "bs-mark" not in html


def test_a_library_that_is_not_calibrated() -> None:
    nothing = dict.fromkeys([*(f"{rank}_probability" for rank in RANKS), "safe_rank", "safe_taxon", "novelty", "novel"])
    html = verdict_html(row() | nothing, 0.01)
    assert "not calibrated" in html and f"<i>{row()['species']}</i>" in html and "probably" not in html


def test_novelty_in_words() -> None:
    assert novelty_text(row(novelty=0.9, novel=True)) == "probably a species that the library does not have (90\u00a0%)"
    assert novelty_text(row(novelty=0.1, novel=False)) == "probably a species of the library (new: 10\u00a0%)"
    unclear = row(novelty=0.6, novel=True)
    assert novelty_text(unclear) == "not clear whether the library has the species (new: 60\u00a0%)"
    assert "bs-unclear" in verdict_html(unclear, 0.01)
    assert "not known" in novelty_text(row(novelty=None, novel=None))
    unseen = row("test_unseen")
    assert unseen["novel"] and "the library does not have" in verdict_html(unseen, 0.05)


def test_notes_are_explained() -> None:
    html = verdict_html(row(notes="reverse complement; only 120 letters of the gene"), 0.05)
    assert "was turned" in html and "Only 120 letters of the gene." in html
    nothing = served().identifier([non_coi()]).to_pylist()[0]
    assert "not like those of the library" in verdict_html(nothing, 0.05) and "No name" in verdict_html(nothing, 0.05)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "1 %"), (0.5, "50 %"), (0.123, "12.3 %"), (0.9996, "over 99.9 %"), (0.0004, "under 0.1 %")],
)
def test_shares(share: float, text: str) -> None:
    assert percent(share).replace("\u00a0", " ") == (text if share != 1 else "100 %")


def test_agreement() -> None:
    one = row()
    assert "agree down to the species" in words(agreement_html((one, dict(one))))
    guess = one | {"species": "Another one", "safe_rank": "genus", "evidence": "image"}
    told = words(agreement_html((one, guess)))
    assert f"agree down to the genus, {one['genus']} . Finer names differ; those by photograph are guesses." in told
    told = words(agreement_html((one | {"safe_rank": "genus"}, guess)))
    assert "those by barcode and by photograph are guesses" in told
    shorter = one | {"species": None, "safe_rank": "genus"}
    assert "agree down to the genus" in words(agreement_html((one, shorter)))
    assert "differ" not in words(agreement_html((one, shorter)))
    assert agreement_html((one, one | {"evidence": None})) == ""


def test_disagreement_is_about_safe_names() -> None:
    one = row()
    other = one | {rank: f"X-{rank}" for rank in RANKS[2:]}
    told = words(agreement_html((one, other)))
    assert "disagree: at the order, which is safe by both, they say" in told and one["order"] in told
    for rank in ("class", None):
        assert "disagree" not in agreement_html((one, other | {"safe_rank": rank}))
    nothing = one | dict.fromkeys(RANKS, "X") | {"safe_rank": None}
    assert "no safe name in common" in agreement_html((one, nothing))


def test_names_are_escaped() -> None:
    changed = row(safe_taxon=hostile(), notes=hostile()) | {rank: hostile(rank) for rank in RANKS}
    for html in (verdict_html(changed, 0.05), agreement_html((changed, changed)), taxon_html("species", hostile())):
        assert "<script" not in html and "<img" not in html
    assert safe_text(row(), 0.005) == "safe to species at 0.5\u00a0% errors"
