import gradio as gr

from bioscan_hf.app.explore_tab import HandOver, explore_tab
from bioscan_hf.app.taxa import LibraryTaxa
from tests.app.made_app import served


def test_the_tab_hands_over_to_another() -> None:
    with gr.Blocks():
        handed = explore_tab(served())
    assert isinstance(handed, HandOver) and not handed.button.visible


def test_colours_can_be_chosen_for_every_rank_with_names() -> None:
    with gr.Blocks() as app:
        explore_tab(served())
    (menu,) = (block for block in app.blocks.values() if isinstance(block, gr.Dropdown))
    assert tuple(name for name, _ in menu.choices) == LibraryTaxa(served().library).named and menu.value == "order"
