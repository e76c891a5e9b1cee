"""The benchmark of identification: its tables, and the bars that it must reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bioscan_hf.data.features import RANKS
from bioscan_hf.evaluation.benchmarks.pages import Column, Table
from bioscan_hf.evaluation.results import Result
from bioscan_hf.identification.benchmark import ALL, SEEN, SPEED, SWEPT, UNSEEN, question
from bioscan_hf.identification.benchmark_confidence import (
    CALIBRATION_ERROR,
    FLAG,
    NOVELTY,
    calibration_of,
    safe_at,
    safe_of,
)
from bioscan_hf.identification.benchmark_programs import BLAST, OURS, VSEARCH

TIMES_BLAST, TIMES_VSEARCH = 30, 5
"""How many times as many queries per second there should be."""
GOAL = 100
AUROC = 0.95
CALIBRATED = 0.03
SAFE = 2.0
"""How many times the error that was asked for safe names may have."""
# From here on numbers have no decimals.
_WHOLE = 100

_Values = Mapping[tuple[str, str, str], float]


class Bar(NamedTuple):
    """A line of the table of bars: what is measured, our value, what to see it beside, and what it should be.

    `met` tells whether it is; None where it was not measured.
    """

    what: str
    ours: str
    beside: str
    bar: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """The last cell."""
        return "not measured" if self.met is None else "met" if self.met else "not met"


BARS_HEADER = ("what", OURS, "beside", "bar", "")


def bars(results: Sequence[Result], *, max_error: float) -> list[Bar]:
    """Compare what was measured with what should be.

    Args:
        results: Of all programs.
        max_error: The error that safe names may have.
    """
    values = {(r.model, r.benchmark, r.metric): r.value for r in results}
    found = [
        _accuracy_bar(values, "species", SEEN, or_equal=True),
        _accuracy_bar(values, "genus", UNSEEN, or_equal=False),
    ]
    for metric, meaning in _SPEEDS.items():
        found.append(_speed_bar(values, metric, meaning, BLAST, TIMES_BLAST, f" (goal: {GOAL})"))
        found.append(_speed_bar(values, metric, meaning, VSEARCH, TIMES_VSEARCH, ""))
    for group in (SEEN, UNSEEN, ALL):
        error = values.get((OURS, safe_of(group), "error"))
        what = f"error of safe names at --max-error {max_error:g}, {group}, %"
        bar = f"under {100 * SAFE * max_error:g}"
        found.append(Bar(what, _percent(error, 2), _covered(values, group), bar, _below(error, SAFE * max_error)))
    area = values.get((OURS, NOVELTY, "auroc"))
    met = None if area is None else area >= AUROC
    found.append(Bar("AUROC of novelty, unseen against seen species", _number(area, 3), "", f"at least {AUROC}", met))
    errors = {rank: values.get((OURS, calibration_of(rank), CALIBRATION_ERROR)) for rank in RANKS}
    worst = max(((error, rank) for rank, error in errors.items() if error is not None), default=(None, ""))
    what = "largest calibration error of a rank"
    found.append(Bar(what, _number(worst[0], 3), worst[1], f"under {CALIBRATED}", _below(worst[0], CALIBRATED)))
    return found


def bars_markdown(found: Iterable[Bar]) -> str:
    """Render the bars as a Markdown table."""
    return _markdown(BARS_HEADER, [[*bar[:4], bar.verdict] for bar in found], "lrlll")


def speed_markdown(results: Sequence[Result]) -> str:
    """Render speed and memory as a Markdown table with one row per program."""
    values = {(r.model, r.benchmark, r.metric): r.value for r in results if r.benchmark == SPEED}
    models = list(dict.fromkeys(model for model, *_ in values))
    header = [""]
    for meaning in _SPEEDS.values():
        header += [f"queries/s, {meaning}", "times BLAST's", "times vsearch's"]
    header += ["CPU s", "peak memory, MB"]
    rows = []
    for model in models:
        row = [model]
        for metric in _SPEEDS:
            own = values.get((model, SPEED, metric))
            row.append(_number(own))
            for other in (BLAST, VSEARCH):
                best = _best(values, (SPEED, metric), other)
                row.append("-" if own is None or best is None else _number(own / best[1], 2))
        rows.append(
            [*row, *(_number(values.get((model, SPEED, metric))) for metric in ("cpu_seconds", "peak_megabytes"))]
        )
    return _markdown(header, rows, "l" + "r" * len(header[1:]))


def tables(max_error: float) -> list[Table]:
    """Tables of the accuracies, and of confidence and novelty, in per cent."""
    asked = [(rank, group) for group in (SEEN, UNSEEN) for rank in reversed(SWEPT)]
    return [
        Table(
            "Accuracy",
            "Share of the queries in % that get their name, the number of queries in brackets. BLAST, vsearch and "
            "counts name a query as their best key; the species of unseen species have no keys.",
            [Column(f"{rank}, {group.split()[0]}", question(rank, group), "accuracy") for rank, group in asked],
        ),
        Table(
            "Calibration error",
            "Expected calibration error in % (15 bins of equal width) of the probability of the name at each rank, "
            "over the queries of both splits that have a label and a name there.",
            [Column(rank, calibration_of(rank), CALIBRATION_ERROR) for rank in RANKS],
        ),
        Table(
            f"Safe names at --max-error {max_error:g}",
            "A query is covered if it has a safe name, at whatever rank; a safe name is wrong if the query has another "
            "at this rank. In %.",
            [
                Column(f"{metric}, {group}", safe_of(group), metric)
                for group in (SEEN, UNSEEN, ALL)
                for metric in ("coverage", "error")
            ],
        ),
        Table(
            "Safe names by rank",
            "Queries that are covered down to a rank, of both splits, and the error of their names there. In %.",
            [
                Column(f"{rank}, {metric}", safe_at(rank, ALL), metric)
                for rank in RANKS
                for metric in ("coverage", "error")
            ],
        ),
        Table(
            "Novelty",
            "Is the species of a query among the keys? AUROC of the score, and of the flag the share that is right, of "
            "flagged queries the share that is new, and of new ones the share that is flagged. In %.",
            [
                Column("AUROC", NOVELTY, "auroc"),
                *(Column(name, FLAG, metric) for name, metric in _FLAGS.items()),
            ],
        ),
    ]


_SPEEDS = {"queries_per_second_with_start": "start-up included", "queries_per_second": "without start-up"}
_FLAGS = {"flags right": "accuracy", "flagged that are new": "precision", "new that are flagged": "recall"}


def _accuracy_bar(values: _Values, rank: str, group: str, *, or_equal: bool) -> Bar:
    place = (question(rank, group), "accuracy")
    own = values.get((OURS, *place))
    others = [best for program in (BLAST, VSEARCH) if (best := _best(values, place, program)) is not None]
    met = None
    if own is not None and others:
        top = max(value for _, value in others)
        met = own >= top if or_equal else own > top
        # The one that was not asked could be the better one.
        if met and len(others) < 2:
            met = None
    shown = ", ".join(f"{model}: {_percent(value, 2)}" for model, value in others)
    bar = f"{'not below' if or_equal else 'above'} the best of BLAST and vsearch"
    return Bar(f"{rank} of {group}, %", _percent(own, 2), shown or "-", bar, met)


def _speed_bar(values: _Values, metric: str, meaning: str, program: str, times: int, goal: str) -> Bar:
    own, best = values.get((OURS, SPEED, metric)), _best(values, (SPEED, metric), program)
    ratio = None if own is None or best is None else own / best[1]
    shown = "-" if best is None else f"{_number(own)} against {_number(best[1])} of {best[0]}"
    met = None if ratio is None else ratio >= times
    ours = "-" if ratio is None else f"{_number(ratio, 2)} times"
    return Bar(f"queries/s against {program}, {meaning}", ours, shown, f"at least {times} times{goal}", met)


def _best(values: _Values, place: tuple[str, str], program: str) -> tuple[str, float] | None:
    """Name and value of the best program whose name begins so; None if there is none."""
    found = [(key[0], value) for key, value in values.items() if key[0].startswith(program) and key[1:] == place]
    return max(found, key=lambda entry: entry[1], default=None)


def _covered(values: _Values, group: str) -> str:
    """Share of the queries of a group that have safe names, in words."""
    asked = {"safe names": safe_of(group), **{f"to {rank}": safe_at(rank, group) for rank in ("genus", "species")}}
    found = {words: values.get((OURS, benchmark, "coverage")) for words, benchmark in asked.items()}
    shares = [f"{words} {100 * share:.1f} %" for words, share in found.items() if share is not None]
    return f"coverage: {', '.join(shares)}" if shares else "-"


def _below(value: float | None, limit: float) -> bool | None:
    return None if value is None else value < limit


def _percent(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{100 * value:.{decimals}f}"


def _number(value: float | None, decimals: int = 1) -> str:
    if value is None:
        return "-"
    return f"{value:.{decimals}f}" if value < _WHOLE else f"{value:,.0f}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> str:
    lines = [header, [{"l": "---", "r": "---:"}[side] for side in sides], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
