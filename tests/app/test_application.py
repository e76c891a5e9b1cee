import dataclasses
import json
import re
import urllib.request

import gradio as gr
import pytest

from bioscan_hf.app.about import about_tab
from bioscan_hf.app.application import build_app, launch
from bioscan_hf.app.served import Served
from bioscan_hf.app.style import CSS
from tests.app.made_app import hostile, served


@pytest.fixture(scope="module")
def app() -> gr.Blocks:
    return build_app(served())


def texts(app: gr.Blocks) -> str:
    return json.dumps(app.get_config_file(), ensure_ascii=False, default=str)


def test_three_tabs_and_what_is_served(app: gr.Blocks) -> None:
    shown = texts(app)
    tabs = [block.label for block in app.blocks.values() if isinstance(block, gr.Tab)]
    assert tabs == ["Identify", "Explore", "About"]
    assert "Library <b>made</b>: 603 specimens of 153 species" in shown and "names are invented" not in shown
    assert "--library my-library" not in shown and "taxonomist" in shown


def test_the_sample_is_called_simulated() -> None:
    shown = texts(build_app(dataclasses.replace(served(), name="sample", simulated=True)))
    assert "Simulated specimens: names are invented." in shown


def test_names_are_escaped() -> None:
    shown = texts(build_app(dataclasses.replace(served(), name=hostile())))
    assert "<script>alert" not in shown and "<img src=x" not in shown


def test_only_the_function_for_programs_is_public(app: gr.Blocks) -> None:
    assert list(app.get_api_info()["named_endpoints"]) == ["/identify"]


def test_the_page_names_no_other_computer(app: gr.Blocks) -> None:
    _, here, public = launch(app, prevent_thread_lock=True, quiet=True)
    try:
        assert public is None
        with urllib.request.urlopen(here) as answer:
            page = answer.read().decode()
        with urllib.request.urlopen(f"{here}theme.css") as answer:
            style = answer.read().decode()
    finally:
        app.close(verbose=False)
    loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', page)
    assert not [address for address in loaded if "127.0.0.1" not in address]
    assert "@import" not in style + CSS and not re.findall(r"url\(['\"]?https?:", style + CSS)
    assert "system-ui" in style


def test_about_tells_what_is_served() -> None:
    with gr.Blocks(analytics_enabled=False) as page:
        about_tab(Served(served().identifier, "beetles", False, served().pictures))
    shown = texts(page)
    assert "603" in shown and "beetles" in shown and "barcodes (on 187 specimens)" in shown
    assert "there is no model for them" in shown
