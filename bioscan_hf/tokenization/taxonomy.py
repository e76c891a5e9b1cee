"""Taxonomic labels as a text, for text encoders.

Ranks are named here as plain strings, in the spelling of the metadata's columns: this folder comes before `data/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

Form = Literal["labelled", "clibd"]

# The phylum is left out because all of BIOSCAN-5M is Arthropoda; CLIBD (bioscan-ml/clibd) leaves out more.
RANKS_OF_FORM: dict[Form, tuple[str, ...]] = {
    "labelled": ("class", "order", "family", "subfamily", "genus", "species"),
    "clibd": ("order", "family", "genus", "species"),
}
CLIBD_MISSING = "not_classified"


def taxonomy_text(
    labels: Mapping[str, str | None], *, ranks: Sequence[str] | None = None, form: Form = "labelled"
) -> str:
    """Write the labels of a specimen as a text.

    Args:
        labels: Name at each rank, None or empty where there is none; other keys do not matter.
        ranks: Ranks in the text and their order, instead of those of the form: class to species for `labelled`;
            order, family, genus and species for `clibd`.
        form: `labelled` names each rank and leaves gaps out, as the texts of BIOSCAN-5M. `clibd` has the names alone,
            with `not_classified` in the gaps, as CLIBD's text encoder was trained.

    Returns:
        The text; empty if there are no labels.

    Raises:
        ValueError: If `labels` has none of the ranks, or the form is not known.

    >>> taxonomy_text({"class": "Insecta", "order": "Hymenoptera", "family": None, "genus": "Gnamptogenys"})
    'Class: Insecta, Order: Hymenoptera, Genus: Gnamptogenys'
    >>> taxonomy_text({"order": "Hymenoptera", "family": "Formicidae"}, form="clibd")
    'Hymenoptera Formicidae not_classified not_classified'
    """
    wanted = _ranks(labels, ranks, form)
    return _text([labels.get(rank) for rank in wanted], wanted, form)


def taxonomy_texts(
    columns: Mapping[str, Sequence[str | None]], *, ranks: Sequence[str] | None = None, form: Form = "labelled"
) -> list[str]:
    """Write the labels of many specimens as texts: `taxonomy_text` of each, and faster, for labels repeat.

    Args:
        columns: Names at each rank, one per specimen, as `datasets` gives a batch.
        ranks: As in `taxonomy_text`.
        form: As in `taxonomy_text`.

    Raises:
        ValueError: If `columns` has none of the ranks, columns differ in length, or the form is not known.

    >>> taxonomy_texts({"order": ["Diptera", "Diptera"], "family": ["Sciaridae", None]})
    ['Order: Diptera, Family: Sciaridae', 'Order: Diptera']
    """
    wanted = _ranks(columns, ranks, form)
    count = len(next(columns[rank] for rank in wanted if rank in columns))
    gaps = [None] * count
    rows = list(zip(*(columns.get(rank, gaps) for rank in wanted), strict=True))
    texts = {row: _text(row, wanted, form) for row in set(rows)}
    return [texts[row] for row in rows]


def _ranks(labels: Mapping[str, object], ranks: Sequence[str] | None, form: Form) -> Sequence[str]:
    if form not in RANKS_OF_FORM:
        raise ValueError(f"`form` must be one of {list(RANKS_OF_FORM)}; got {form!r}.")
    wanted = RANKS_OF_FORM[form] if ranks is None else ranks
    if not any(rank in labels for rank in wanted):
        raise ValueError(f"Expected labels of some of the ranks {list(wanted)}; got {sorted(labels)}.")
    return wanted


def _text(names: Sequence[str | None], ranks: Sequence[str], form: Form) -> str:
    if form == "clibd":
        return " ".join(name or CLIBD_MISSING for name in names)
    return ", ".join(f"{rank.capitalize()}: {name}" for rank, name in zip(ranks, names, strict=True) if name)
