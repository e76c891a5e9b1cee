"""The tab that names what is pasted or dropped."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from html import escape
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import gradio as gr

from bioscan_hf.app.answer_view import ANSWER_CSS, answer_html
from bioscan_hf.app.answering import Answered, answer
from bioscan_hf.app.asked import MAX_QUERIES, TABLE_ENDINGS, Photograph, read_asked
from bioscan_hf.app.examples import Example, examples_of
from bioscan_hf.app.results_view import CHOOSE_JS, download_html, results_html
from bioscan_hf.app.served import NEAREST, Served
from bioscan_hf.app.sites import land_svg
from bioscan_hf.identification.identify import Identifier

_PLACEHOLDER = "AACATTATATTTTATTTTTGGAATTTGAGCAGGAATAGTAGG...\n\nor FASTA:\n>my-specimen\nAACATTATATTTTATTTTTGG..."


class IdentifyTab(NamedTuple):
    """What another tab needs to ask for a barcode.

    Attributes:
        ask: Gives what goes into `boxes`, for a barcode and the share of errors.
        error: Holds that share.
        boxes: Take it.
    """

    ask: Callable[[str, float], list[Any]]
    error: gr.Slider
    boxes: Sequence[gr.components.Component]


def identify_tab(served: Served) -> IdentifyTab:
    """Lay the tab out, inside of a `gr.Blocks`.

    Args:
        served: What is served.
    """
    identify = Identify(served)
    percent = round(100 * served.identifier.max_error, 4)
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            text = gr.Textbox(
                label="DNA barcodes (COI)",
                info="One in a line, or FASTA; upper or lower case, gaps, either strand.",
                placeholder=_PLACEHOLDER,
                lines=15,
                max_lines=15,
                elem_id="bs-barcodes",
                elem_classes="bs-letters",
            )
        with gr.Column(scale=2, min_width=300):
            photographs = gr.Gallery(
                label="Photographs, each of one specimen",
                type="filepath",
                format="png",
                height=216,
                columns=3,
                fit_columns=False,
                object_fit="contain",
                interactive=True,
                sources=["upload", "clipboard"],
                buttons=[],
                elem_id="bs-photographs",
                visible=served.library.images is not None,
            )
            file = gr.File(
                label=f"FASTA or CSV file, up to {MAX_QUERIES:,} barcodes",
                file_types=list(TABLE_ENDINGS),
                height=150,
                elem_id="bs-file",
            )
    with gr.Row(equal_height=True, elem_classes="bs-actions"):
        button = gr.Button("Identify", variant="primary", scale=3, min_width=280, elem_id="bs-identify")
        error = gr.Slider(
            min(0.1, percent),
            max(20, percent),
            value=percent,
            step=0.1,
            label="Safe names that may be wrong, %",
            scale=3,
            min_width=280,
            elem_id="bs-error",
        )
        clear = gr.Button("Clear", scale=1, min_width=120, elem_id="bs-clear")
    with gr.Row(elem_classes="bs-examples"):
        gr.HTML("Try:", apply_default_css=False, min_width=40, elem_classes="bs-try")
        chosen = [(gr.Button(example.label, size="sm", min_width=60), example) for example in identify.examples]
    message = gr.HTML(elem_id="bs-message", apply_default_css=False)
    answered = gr.State()
    results = gr.HTML(elem_id="bs-results", js_on_load=CHOOSE_JS, apply_default_css=False)
    csv = gr.HTML(elem_id="bs-csv", apply_default_css=False)
    shown = gr.HTML(elem_id="bs-answer", css_template=ANSWER_CSS, apply_default_css=False)
    gr.HTML(land_svg(), elem_id="bs-land-once", apply_default_css=False)

    inputs, outputs = [text, file, photographs, error], [message, answered, results, shown, csv]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal", "show_progress_on": text}
    button.click(identify.on_page, inputs, outputs, **quiet)
    results.click(identify.choose, [answered], [shown], **quiet)
    emptied = [text, file, photographs, *outputs]
    clear.click(identify.nothing, None, emptied, **quiet)
    for example_button, example in chosen:
        example_button.click(partial(identify.example, example), [error], emptied, **quiet)
    _api(identify)
    return IdentifyTab(lambda barcode, share: identify.example(Example("", barcode), share), error, emptied)


def _api(identify: Identify) -> None:
    """The same for programs, as `/identify`."""
    text = gr.Textbox(label="Barcodes or FASTA", visible=False)
    file = gr.File(label="FASTA, CSV, TSV or Parquet file", visible=False)
    photographs = gr.File(label="Photographs", file_count="multiple", visible=False)
    percent = round(100 * identify.served.identifier.max_error, 4)
    error = gr.Number(percent, label="Safe names that may be wrong, %", visible=False)
    rows = gr.JSON(visible=False)
    hidden = gr.Button(visible=False)
    hidden.click(identify.for_programs, [text, file, photographs, error], rows, api_name="identify")


class Identify:
    """Answers what the page asks.

    Attributes:
        served: What is served.
        examples: Queries to click on.
    """

    def __init__(self, served: Served) -> None:
        self.served = served
        folder = mkdtemp(prefix="bioscan-app-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.examples = examples_of(served, Path(folder))
        self._with_error = lru_cache(maxsize=4)(self._identifier)

    def _identifier(self, max_error: float) -> Identifier:
        if max_error == self.served.identifier.max_error:
            return self.served.identifier
        return Identifier(self.served.library, max_error=max_error, nearest=NEAREST)

    def _answer(
        self, text: str | None, file: str | None, photographs: Sequence[Photograph], error: float | None
    ) -> Answered:
        if not isinstance(error, int | float) or not 0 < error < 100:
            raise ValueError(f"The share of wrong names must be above 0 and below 100 %; got {error}.")
        queries = read_asked(text or "", file, photographs)
        if photographs and self.served.library.images is None:
            raise ValueError("This library has no model for photographs; ask by barcode only.")
        answered = answer(self._with_error(round(error / 100, 6)), queries)
        if not any(answered.table["evidence"].to_pylist()) and len(answered) == 1:
            note = str(answered.table["notes"][0].as_py())
            raise ValueError(f"No name could be given: {note}.")
        return answered

    def on_page(
        self, text: str | None, file: str | None, photographs: Sequence[Photograph] | None, error: float | None
    ) -> list[Any]:
        """The message, the answers, their table, the first of them, and the file; the old ones go in any case."""
        try:
            answered = self._answer(text, file, photographs or (), error)
        except ValueError as reason:
            return [message_html(str(reason)), None, "", "", ""]
        shown = answer_html(self.served, answered, 0)
        return ["", answered, results_html(answered), shown, download_html(answered)]

    def choose(self, answered: Answered | None, event: gr.EventData) -> str:
        """The answer to the query of the row that was clicked."""
        place = event._data.get("place") if isinstance(event._data, dict) else None
        if answered is None or not isinstance(place, int) or not 0 <= place < len(answered):
            return ""
        return answer_html(self.served, answered, place)

    def example(self, example: Example, error: float | None) -> list[Any]:
        """What an example puts into the boxes, and its answer."""
        photographs = [example.photograph] if example.photograph else None
        return [example.text, None, photographs, *self.on_page(example.text, None, photographs, error)]

    def nothing(self) -> list[Any]:
        """Empty boxes, and no answer."""
        return ["", None, None, "", None, "", "", ""]

    def for_programs(
        self, text: str | None, file: str | None, photographs: Sequence[str] | None, error: float | None
    ) -> list[dict[str, Any]]:
        """Rows of the results; an error with its reason if there are none."""
        try:
            paths = [(path, Path(path).stem) for path in photographs or ()]
            rows: list[dict[str, Any]] = self._answer(text, file, paths, error).table.to_pylist()
        except ValueError as reason:
            raise gr.Error(str(reason), print_exception=False) from reason
        return rows


def message_html(text: str) -> str:
    """A message about wrong input."""
    return f'<p class="bs-error" role="alert">{escape(text)}</p>' if text else ""
