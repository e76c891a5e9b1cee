from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from bioscan_hf.app.identify_tab import Identify, identify_tab
from bioscan_hf.identification.identify import Identifier
from tests.app.made_app import hostile, pictured, served, served_with_images
from tests.identification.made_library import library, non_coi, picture, specimens

TEST = specimens("test", 3)
GOOD = TEST[0]["dna_barcode"]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with gr.Blocks(analytics_enabled=False) as app:
        identify_tab(served_with_images())
    _, url, _ = app.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    yield Client(url, verbose=False, analytics_enabled=False)
    app.close(verbose=False)


def test_a_program_gets_the_rows(client: Client, tmp_path: Path) -> None:
    barcode = pictured()[0]["dna_barcode"]
    rows = client.predict(barcode, None, None, 5, api_name="/identify")
    (expected,) = served_with_images().identifier([barcode], ["barcode-1"]).to_pylist()
    (row,) = rows
    assert row == pytest.approx(expected, abs=1e-6) and row["species"] == pictured()[0]["species"]
    (tmp_path / "P.png").write_bytes(picture(pictured()[0]["genus"], 0))
    (tmp_path / "q.fasta").write_text(f">P\n{barcode}\n")
    given = [handle_file(str(tmp_path / "q.fasta")), [handle_file(str(tmp_path / "P.png"))]]
    rows = client.predict("", *given, 5, api_name="/identify")
    assert [(row["processid"], row["evidence"]) for row in rows] == [("P", "barcode"), ("P", "image")]
    assert len({row["nearest_processid"] for row in rows}) == 1


def test_a_program_gets_the_reason(client: Client) -> None:
    with pytest.raises(AppError, match="looks like a protein"):
        client.predict("MSLLPEFKIVLDLSGW", None, None, 5, api_name="/identify")
    with pytest.raises(AppError, match=r"must be above 0 and below 100 %; got 0"):
        client.predict(GOOD, None, None, 0, api_name="/identify")


def test_programs_see_one_function(client: Client) -> None:
    assert list(client.view_api(return_format="dict", print_info=False)["named_endpoints"]) == ["/identify"]


@pytest.fixture(scope="module")
def identify() -> Identify:
    return Identify(served())


def page(identify: Identify, text: str = "", photographs: Any = None, error: float | None = 5) -> tuple[str, ...]:
    message, _, results, shown, csv = identify.on_page(text, None, photographs, error)
    return message, results, shown, csv


def test_an_answer(identify: Identify) -> None:
    message, results, shown, csv = page(identify, GOOD)
    assert not message and not results and TEST[0]["species"] in shown and "names.csv" in csv


def test_many_answers_and_the_one_that_is_chosen(identify: Identify) -> None:
    text = "".join(f">{row['processid']}\n{row['dna_barcode']}\n" for row in TEST)
    message, answered, results, shown, _ = identify.on_page(text, None, None, 5)
    assert not message and results.count("data-place") == 3 and f"<h2>{TEST[0]['processid']}</h2>" in shown
    chosen = identify.choose(answered, gr.EventData(None, {"place": 2}))
    assert f"<h2>{TEST[2]['processid']}</h2>" in chosen
    for place in (3, -1, "1", None):
        assert identify.choose(answered, gr.EventData(None, {"place": place})) == ""
    assert identify.choose(None, gr.EventData(None, {"place": 0})) == ""


@pytest.mark.parametrize(
    ("text", "photographs", "error", "expected"),
    [
        ("", None, 5, "There is nothing to identify yet"),
        ("MSLLPEFKIVLDLSGW", None, 5, "looks like a protein"),
        (non_coi(), None, 5, "not like the barcodes of the library"),
        (f"{GOOD}\n" * 1001, None, 5, "more than 1,000 queries"),
        (GOOD, None, 100, "must be above 0 and below 100 %; got 100"),
        (GOOD, None, None, "must be above 0 and below 100 %; got None"),
        (GOOD, [("x.png", None)], 5, "This library has no model for photographs"),
        (hostile(), None, 5, "This text looks like a protein"),
    ],
)
def test_what_is_wrong_is_told_and_the_old_answer_goes(
    text: str, photographs: Any, error: float | None, expected: str, identify: Identify
) -> None:
    message, *others = page(identify, text, photographs, error)
    assert expected in message and 'role="alert"' in message and not any(others)
    assert "<script" not in message and "<img" not in message and "Traceback" not in message


@pytest.mark.parametrize("content", [b"", b"no image", picture("Aus", 0)[:90]])
def test_a_damaged_photograph_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "P.png").write_bytes(content)
    message, *others = page(Identify(served_with_images()), "", [(str(tmp_path / "P.png"), None)])
    assert "No name could be given: the image cannot be decoded" in message and not any(others)
    assert str(tmp_path) not in message


def test_the_share_of_errors_decides_on_the_safe_rank(identify: Identify) -> None:
    for error in (0.5, 5, 40):
        _, answered, _, shown, _ = identify.on_page(GOOD, None, None, error)
        expected = Identifier(library(), max_error=error / 100, nearest=5)([GOOD], ["barcode-1"])
        assert answered.table.equals(expected) and f"at {error:g}\u00a0% errors" in shown
    assert identify.on_page(GOOD, None, None, 5)[1].max_error == 0.05


def test_an_example_fills_the_boxes_and_is_answered() -> None:
    identify = Identify(served_with_images())
    example = identify.examples[-1]
    text, table, photographs, message, answered, *_ = identify.example(example, 5)
    assert (text, table, photographs, message) == ("", None, [example.photograph], "")
    assert answered.table["nearest_processid"].to_pylist() == [pictured()[0]["processid"]]


def test_clearing_empties_everything(identify: Identify) -> None:
    assert not any(identify.nothing()) and len(identify.nothing()) == 8
