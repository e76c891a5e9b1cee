"""`load_dataset` beside bioscan-dataset 1.3.0: loading a split, reading barcodes, streaming."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ours
import streaming
from comparison import Bar, Comparison, Options, Row, beside
from measuring import ask

HERE = Path(__file__).resolve().parent
CSV = Path("bioscan5m/metadata/csv/BIOSCAN_5M_Insect_Dataset_metadata.csv")
SPLIT = "train"
ROWS, QUICK_ROWS = 515_085, 300
"""Made specimens, a tenth of BIOSCAN-5M, if no metadata are given."""
READ, QUICK_READ = 5_000, 20
"""Specimens that are read one by one, and streamed."""
PEERS = {"peer": "bioscan-dataset", "peer, no pyarrow": "bioscan-dataset without pyarrow"}
OURS = "**`load_dataset`**"
Result = dict[str, Any]


def measure(root: Path, options: Options) -> dict[str, list[Result]]:
    """Run every program, in turns, each in a fresh process; a quick run has ours only, in this one.

    Args:
        root: Folder that holds `bioscan5m/`.
        options: Of the run.

    Returns:
        The results of each program, one per round.
    """
    results: dict[str, list[Result]] = {}

    def run_ours(what: str, cache: str, *flags: str) -> None:
        if options.quick:
            found = ours.measure(str(root), cache, SPLIT, QUICK_READ, "--reduce" in flags)
        else:
            found = ask(sys.executable, HERE / "ours.py", root, cache, SPLIT, "--rows", READ, *flags)
        results.setdefault(what, []).append(found)

    def run_peer(what: str, *flags: str) -> None:
        if options.peer:
            read = QUICK_READ if options.quick else READ
            found = ask(options.peer, HERE / "peer.py", "measure", root, SPLIT, "--rows", read, *flags)
            results.setdefault(what, []).append(found)

    for number in range(1 if options.quick else options.rounds):
        with tempfile.TemporaryDirectory() as cache:
            run_peer("peer")
            run_ours("ours, first", cache)
            run_ours("ours, later", cache)
            run_peer("peer, no pyarrow", "--no-pyarrow")
            if not number:
                # The first time includes the choice for all splits, but not the conversion.
                run_peer("peer, reduced", "--reduce")
                run_ours("ours, reduced first", cache, "--reduce")
                run_ours("ours, reduced later", cache, "--reduce")
    return results


def compare(options: Options) -> Comparison:
    """From the metadata to a split that is ready, and its rows."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name, "root")
        (root / CSV).parent.mkdir(parents=True)
        count = QUICK_ROWS if options.quick else ROWS
        if options.metadata:
            (root / CSV).symlink_to(options.metadata.resolve())
            with options.metadata.open("rb") as file:
                count = sum(1 for _ in file) - 1
        else:
            from scale_data import write_metadata

            write_metadata(root / CSV, count)
        results = measure(root, options)
        if options.quick:
            streams = streaming.measure_here(root / CSV, QUICK_READ)
        else:
            streams = streaming.measure(root / CSV, READ)
    size, split = f"{count:,} rows", f"`{SPLIT}`, {results['ours, first'][0]['rows']:,} rows"
    plain = [result for what, runs in results.items() if "reduced" not in what for result in runs]
    reduced = [result for what, runs in results.items() if "reduced" in what for result in runs]
    return Comparison(
        "loading, reading and streaming specimens",
        [*loading_rows(results, size), *reading_rows(results, split), *streaming_rows(streams)],
        {name: version for runs in results.values() for name, version in runs[0]["versions"].items()},
        {
            f"All give the same process ids and species indices of `{SPLIT}`, in the same order": _agree(plain),
            "Likewise with one specimen per barcode": _agree(reduced),
        },
        [
            "A table in the form of the released one, so the peer's checks of MD5 sums are switched off; they would "
            "cost it the MD5 of the CSV at every construction. Ours reads and checks every record in the first "
            'conversion. "First time" is an empty cache: all splits are converted. Later times open that cache.',
            "pandas keeps text in Arrow where pyarrow is installed, as it is beside `datasets`; that costs the peer "
            'time and memory. "Without pyarrow" is the same environment in which pyarrow cannot be imported. The peer '
            'constructs with `modality="dna"`, and we with `modalities="dna", targets="species"`.',
            "Each figure is of a fresh process, both packages in turns, and the best counts; one specimen per barcode "
            "and the streams were measured once. Memory is that of the whole process, memory-mapped files included. "
            "Streams are read to their end from a Hub on this machine, without the delays of a network; "
            "bioscan-dataset has none.",
        ],
    )


def _agree(results: Iterable[Result]) -> bool:
    return len({result["digest"] for result in results}) == 1


def _best(results: dict[str, list[Result]], *keys: str, highest: bool = False) -> dict[str, float]:
    """The best value of a figure, given by its keys, of each program."""
    best = {}
    for what, runs in results.items():
        values: list[Any] = list(runs)
        for key in keys:
            values = [value[key] for value in values]
        best[what] = float((max if highest else min)(values))
    return best


def loading_rows(results: dict[str, list[Result]], size: str) -> list[Row]:
    """From the CSV to a split that is ready."""
    titles = PEERS | dict.fromkeys(("ours, first", "ours, later", "ours, reduced first", "ours, reduced later"), OURS)
    titles["peer, reduced"] = PEERS["peer"]
    rows = []
    for own, time, bars in (
        ("ours, first", "first time", {"cpu": Bar(1), "peak": Bar(3)}),
        ("ours, later", "every later time", {"cpu": Bar(50), "peak": Bar(1, "ours", least=False)}),
    ):
        for key, unit in (("cpu", "CPU s"), ("peak", "GB at the most"), ("wall", "s")):
            pairs = [(own, peer) for peer in PEERS]
            bar = {pairs[0]: bars[key]} if key in bars else {}
            what = f"`{SPLIT}` from the CSV, {time}"
            rows += beside(what, size, unit, _best(results, "load", key), pairs, titles=titles, bars=bar)
    for time in ("first", "later"):
        what, pairs = f"`{SPLIT}`, one specimen per barcode, {time} time", [(f"ours, reduced {time}", "peer, reduced")]
        rows += beside(what, size, "CPU s", _best(results, "load", "cpu"), pairs, titles=titles)
    pairs = [("ours, later", "peer")]
    return [*rows, *beside("import", "", "CPU s", _best(results, "import", "cpu"), pairs, titles=titles)]


def reading_rows(results: dict[str, list[Result]], size: str) -> list[Row]:
    """Rows per CPU second: process id, barcode and index of the species here, barcode and index there."""
    rows, pairs = [], [("ours, later", peer) for peer in PEERS]
    for key, way, factor in (
        ("rows per CPU s, in order", "**batches of 256**", 50),
        ("rows per CPU s, at random", "**`ds[i]`**", 3),
    ):
        titles = {name: f"{title}, `ds[i]`" for name, title in PEERS.items()} | {"ours, later": way}
        figures, what = _best(results, key, highest=True), f"reading {key.removeprefix('rows per CPU s, ')}"
        bars = {pairs[0]: Bar(factor)}
        rows += beside(what, size, "rows per CPU s", figures, pairs, titles=titles, bars=bars, higher=True)
    return rows


def streaming_rows(streams: dict[str, Result]) -> list[Row]:
    """Streams from a Hub on this machine."""
    rows = []
    for kind, stream in streams.items():
        what = f"stream of {kind}"
        way, size, sent = f"{OURS}, streaming", f"{stream['rows']:,} rows", stream["bytes"]
        bar = Bar(2, "ours", least=False)
        rows.append(Row(f"{what}, to the first row", size, "s", way, stream["first"]["wall"], bar=bar))
        rows.append(Row(f"{what}, to the end", size, "MB sent", way, sum(sent.values()) / 1e6))
        if "images and" not in kind:
            images, bar = sent.get("cropped_256", 0) / 1e6, Bar(0, "ours", least=False)
            rows.append(Row(what, size, "MB sent of files with images", way, images, bar=bar))
    return rows
