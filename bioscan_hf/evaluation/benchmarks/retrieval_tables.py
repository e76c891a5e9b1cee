"""Tables of benchmark 3."""

from __future__ import annotations

from collections.abc import Sequence

from bioscan_hf.evaluation.benchmarks.pages import Column, Table
from bioscan_hf.evaluation.benchmarks.paper import HARMONIC, PUBLISHED, RETRIEVED_RANKS, SEEN, UNSEEN, retrieval_name
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import PAIRS, Pair
from bioscan_hf.evaluation.results import Result

MACRO = "macro_accuracy"
"""The paper's metric: top-1, as the mean over the taxa of the queries."""
_GROUPS = {SEEN: "seen", UNSEEN: "unseen", HARMONIC: "mean"}


def main_tables(results: Sequence[Result], ranks: Sequence[str] = RETRIEVED_RANKS) -> list[Table]:
    """The paper's table of each pair that was asked.

    Args:
        results: What was measured.
        ranks: Ranks that have columns.
    """
    pair_of = {question: pair for pair in PAIRS.values() for *_, question in _questions(pair, RETRIEVED_RANKS)}
    asked = dict.fromkeys(pair_of[result.benchmark] for result in results if result.benchmark in pair_of)
    return [
        Table(
            f"{pair.title}: taxon of the nearest key",
            "Macro top-1 accuracy in %: the mean over the taxa of the queries. Seen: the species of the queries are in "
            "the training data; unseen: they have keys, but are not in the training data; mean: the harmonic mean of "
            "both. In brackets the queries with a label.",
            [Column(f"{rank}, {name}", question, MACRO) for rank, name, question in _questions(pair, ranks)],
            PUBLISHED,
        )
        for pair in asked
    ]


def other_tables(pairs: Sequence[Pair]) -> list[Table]:
    """Tables of pairs by other measures: per query, and with more than one key."""
    tables = []
    for pair in pairs:
        questions = _questions(pair, RETRIEVED_RANKS)
        columns = [Column(f"{rank}, {name}", question, "accuracy") for rank, name, question in questions]
        tables.append(
            Table(f"{pair.title}: per query", "Micro top-1 accuracy in %: every query counts the same.", columns)
        )
        columns = [
            Column(f"{rank}, {name}, top {depth}", question, f"top_{depth}_{MACRO}")
            for rank, name, question in _questions(pair, ("genus", "species"))
            for depth in (3, 5)
        ]
        text = "Macro accuracy in %, where one of the 3 or 5 nearest keys is of the taxon."
        tables.append(Table(f"{pair.title}: among several keys", text, columns))
    return tables


def _questions(pair: Pair, ranks: Sequence[str]) -> list[tuple[str, str, str]]:
    """Rank, title of the group, and question."""
    return [(rank, name, retrieval_name(*pair, rank, group)) for rank in ranks for group, name in _GROUPS.items()]
