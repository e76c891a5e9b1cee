"""What one row of results says: the safe name, whether the species is new, and the name at each rank with a bar."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bioscan_hf.app.answering import Row, agreed_rank
from bioscan_hf.data.features import RANKS

# Between these, novelty speaks for neither.
_KNOWN, _NEW = 0.2, 0.8
EVIDENCE = {"barcode": "By barcode", "image": "By photograph"}


def verdict_html(row: Row, max_error: float) -> str:
    """Tell what a query is.

    Args:
        row: Of the results.
        max_error: Share of the names at the safe rank that may be wrong.
    """
    title = EVIDENCE.get(row["evidence"] or "", "No name")
    notes = "".join(f"<li>{escape(_sentence(note))}</li>" for note in (row["notes"] or "").split("; ") if note)
    notes = notes and f'<ul class="bs-notes">{notes}</ul>'
    if row["evidence"] is None:
        return f'<section class="bs-verdict"><h3>{title}</h3>{notes}</section>'
    return (
        f'<section class="bs-verdict"><h3>{title}</h3>{_headline(row)}'
        f'<p class="bs-chips">{_safe_chip(row, max_error)}{_novelty_chip(row)}</p>{_ranks(row)}{notes}</section>'
    )


def agreement_html(rows: Sequence[Row]) -> str:
    """Tell whether the answers by barcode and by photograph agree.

    They disagree if the names differ at a rank that is safe by both; what differs behind that are guesses.

    Args:
        rows: Both rows of a query; without a name for one there is nothing to tell.
    """
    if any(row["evidence"] is None for row in rows):
        return ""
    one, other = rows
    safe_to = [RANKS.index(row["safe_rank"]) if row["safe_rank"] else -1 for row in rows]
    wrong = next((rank for rank in RANKS[: min(safe_to) + 1] if one[rank] != other[rank]), None)
    if wrong is not None:
        names = " and ".join(taxon_html(wrong, row[wrong] or "none") for row in rows)
        told = f"disagree: at the {wrong}, which is safe by both, they say {names}. Are they of one specimen?"
        return f'<p class="bs-agreement bs-differ">The barcode and the photograph {told}</p>'
    agreed = agreed_rank(rows)
    if agreed is None:
        return '<p class="bs-agreement">The barcode and the photograph have no safe name in common.</p>'
    depth = RANKS.index(agreed)
    told = f"agree down to the {agreed}, {taxon_html(agreed, one[agreed])}."
    if any(one[rank] and other[rank] for rank in RANKS[depth + 1 :]):
        guesses = [EVIDENCE[row["evidence"]].lower() for row, to in zip(rows, safe_to, strict=True) if to <= depth]
        told += f" Finer names differ; those {' and '.join(guesses)} are guesses."
    return f'<p class="bs-agreement">The barcode and the photograph {told}</p>'


def taxon_html(rank: str, name: str) -> str:
    """A name as it is written: genera and species in italics."""
    return f"<i>{escape(name)}</i>" if rank in ("genus", "species") else escape(name)


def finest_html(row: Row) -> str:
    """The finest name, safe or not; empty if there is none."""
    named = [rank for rank in RANKS if row[rank]]
    return taxon_html(named[-1], row[named[-1]]) if named else ""


def is_rated(row: Row) -> bool:
    """Whether it is known how sure the names are: not so if the library is not calibrated."""
    return any(row[f"{rank}_probability"] is not None for rank in RANKS)


def percent(share: float) -> str:
    """A share in per cent, with as many decimals as it needs near 0 and 1."""
    if 0.001 <= share <= 0.999 or share in (0, 1):
        return f"{100 * share:.1f}\u00a0%".replace(".0\u00a0", "\u00a0")
    return "under 0.1\u00a0%" if share < 0.5 else "over 99.9\u00a0%"


def safe_text(row: Row, max_error: float) -> str:
    """How deep a name is safe, in words."""
    error = f"{100 * max_error:g}\u00a0% errors"
    return f"safe to {row['safe_rank']} at {error}" if row["safe_rank"] else f"no name is safe at {error}"


def novelty_text(row: Row) -> str:
    """Whether the species is new to the library, in words."""
    if row["novelty"] is None:
        return "whether the species is new is not known"
    share = percent(row["novelty"])
    if row["novelty"] > _NEW:
        return f"probably a species that the library does not have ({share})"
    if row["novelty"] < _KNOWN:
        return f"probably a species of the library (new: {share})"
    return f"not clear whether the library has the species (new: {share})"


def _headline(row: Row) -> str:
    if row["safe_rank"]:
        return f'<p class="bs-name">{taxon_html(row["safe_rank"], row["safe_taxon"])}</p>'
    if is_rated(row):
        return '<p class="bs-name bs-muted">no safe name</p>'
    return f'<p class="bs-name">{finest_html(row) or "no name"}</p>'


def _safe_chip(row: Row, max_error: float) -> str:
    if not is_rated(row):
        return '<span class="bs-chip">not calibrated: how sure the name is, is not known</span>'
    kind = "bs-safe" if row["safe_rank"] else "bs-unsafe"
    return f'<span class="bs-chip {kind}">{safe_text(row, max_error)}</span>'


def _novelty_chip(row: Row) -> str:
    if row["novelty"] is None:
        return ""
    kind = "bs-new" if row["novelty"] > _NEW else "bs-known" if row["novelty"] < _KNOWN else "bs-unclear"
    return f'<span class="bs-chip {kind}">{novelty_text(row)}</span>'


def _ranks(row: Row) -> str:
    lines = []
    safe = row["safe_rank"] in RANKS
    for rank in RANKS:
        name, probability = row[rank], row[f"{rank}_probability"]
        kind = "bs-guess" if not safe else "bs-is-safe"
        mark = ""
        if rank == row["safe_rank"]:
            # The ranks behind it are guesses.
            kind, safe, mark = "bs-is-safe bs-deepest", False, '<span class="bs-mark">safe</span>'
        share = 0.0 if probability is None else probability
        bar = f'<span class="bs-bar"><i style="width: {100 * share:.1f}%"></i></span>'
        told = "\u2013" if probability is None else percent(probability)
        shown = taxon_html(rank, name) if name else "\u2013"
        lines.append(f'<tr class="{kind}"><th>{rank}{mark}</th><td>{shown}</td><td>{bar}</td><td>{told}</td></tr>')
    head = "<tr><th>rank</th><th>name</th><th>probability</th><th></th></tr>"
    return f'<table class="bs-ranks"><thead>{head}</thead><tbody>{"".join(lines)}</tbody></table>'


def _sentence(note: str) -> str:
    """A note, explained where its wording is that of a table."""
    known = {
        "reverse complement": "The barcode was on the other strand, and was turned.",
        "stop codon": "There is a stop codon in the barcode: perhaps a pseudogene, or an error of the sequencing.",
        "not like the barcodes of the library": "The barcode is not like those of the library, so it gets no name.",
    }
    return known.get(note, f"{note[:1].upper()}{note[1:]}.")
