"""How the app looks: theme and styles, with fonts of the system, so that nothing is loaded from elsewhere."""

from __future__ import annotations

from importlib.resources import files

import gradio as gr

SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"]

CSS = (files("bioscan_hf.app") / "style.css").read_text(encoding="utf-8")


def theme() -> gr.themes.Base:
    """Green on grey, in fonts of the system; grey text dark enough to be read."""
    grey = gr.themes.Default(primary_hue="emerald", neutral_hue="slate", font=SANS, font_mono=MONO)
    return grey.set(body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_400")
