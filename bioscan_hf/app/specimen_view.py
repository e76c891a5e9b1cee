"""A specimen of the library as a card of HTML: photograph, lineage, BIN, place and process id."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

import PIL.Image

from bioscan_hf.app.served import Served
from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.library import Library

PIXELS = 320
"""Longer side of a photograph on the page, at most."""

SPECIMEN_CSS = """
.specimen { display: flex; flex-wrap: wrap; gap: 0.9rem; align-items: flex-start; }
.specimen img, .specimen .no-picture { flex: none; width: 10rem; max-width: 100%; border-radius: 6px; margin: 0; }
.specimen .no-picture { aspect-ratio: 4 / 3; display: grid; place-items: center; font-size: 2rem;
  background: var(--background-fill-secondary); color: var(--body-text-color-subdued); }
.specimen .facts { flex: 1 1 11rem; min-width: 0; overflow-wrap: anywhere; line-height: 1.4; }
.specimen h3 { margin: 0; font-size: 1.1rem; }
.specimen p { margin: 0.15rem 0 0; }
.specimen .caption { margin: 0 0 0.2rem; font-weight: 600; }
.specimen .lineage, .specimen dt { color: var(--body-text-color-subdued); font-size: 0.9rem; }
.specimen dl { display: grid; grid-template-columns: auto 1fr; gap: 0.1rem 0.7rem; margin: 0.5rem 0 0; }
.specimen dt, .specimen dd { margin: 0; padding: 0; }
"""
"""Style of the cards, for the `css_template` of the component that holds them."""


def specimen_html(served: Served, row: int, *, caption: str = "") -> str:
    """Describe a specimen.

    All text is escaped: names come from the files of whoever built the library.

    Args:
        served: What the app serves.
        row: Of the library's specimens.
        caption: Text above the name, such as how similar the specimen is.
    """
    (facts,) = served.facts.slice(row, 1).to_pylist()
    lineage = specimen_lineage(served.library, row)
    finest, name = next(reversed(lineage.items()), ("", ""))
    told = {"BIN": facts["dna_bin"], "Place": _place(facts), "Process id": facts["processid"]}
    rows = "".join(f"<dt>{key}</dt><dd>{escape(str(value))}</dd>" for key, value in told.items() if value)
    above = " &rsaquo; ".join(
        f'<span title="{rank}">{escape(taxon)}</span>' for rank, taxon in list(lineage.items())[:-1]
    )
    title = f"<i>{escape(name)}</i>" if finest in ("genus", "species") else escape(name)
    return (
        f'<article class="specimen">{_picture(served, facts["processid"], name)}<div class="facts">'
        + (f'<p class="caption">{escape(caption)}</p>' if caption else "")
        + f'<h3 title="{finest}">{title or "no name"}</h3><p class="lineage">{above}</p><dl>{rows}</dl></div></article>'
    )


def specimen_lineage(library: Library, row: int) -> dict[str, str]:
    """Names of a specimen by rank, from the broadest, as the library has them."""
    labels = library.keys.labels[library.keys.of_specimen[row]].tolist()
    return {rank: library.taxa[rank][label] for rank, label in zip(RANKS, labels, strict=True) if label >= 0}


def _place(facts: dict[str, Any]) -> str:
    names = ", ".join(filter(None, (facts["province_state"], facts["country"])))
    latitude, longitude = facts["coord-lat"], facts["coord-lon"]
    if latitude is None or longitude is None:
        return names
    where = (
        f"{abs(latitude):.2f}° {'S' if latitude < 0 else 'N'}, {abs(longitude):.2f}° {'W' if longitude < 0 else 'E'}"
    )
    return f"{names} ({where})" if names else where


def _picture(served: Served, processid: str, name: str) -> str:
    image = served.pictures.of(processid)
    if image is None:
        return f'<div class="no-picture" aria-hidden="true">{escape(name[:2])}</div>'
    return f'<img src="{as_data(image)}" alt="Photograph of {escape(name or processid)}">'


def as_data(image: PIL.Image.Image) -> str:
    """A photograph as a JPEG of at most `PIXELS` in a `data:` address, which needs no file on the server."""
    small = image.convert("RGB")
    small.thumbnail((PIXELS, PIXELS))
    content = io.BytesIO()
    small.save(content, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
