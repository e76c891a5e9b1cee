"""Rehearsals at full size on made data: what each long piece of work costs at three sizes, up to those of BIOSCAN-5M.

    python benchmarks/scale.py [--part NAME ...] [--quick] [--folder FOLDER] [--output benchmarks/results/scale]

Each size of a part runs in a fresh process, after another one has made what it reads; the result of a part is
OUTPUT/<part>.json. `--folder` keeps what was made (about 30 GB with all parts) for the next time. `--quick` takes tiny
sizes, all in this process, and shows no more than that everything runs. `scale_page.py` makes docs/scale.md from the
results.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from measuring import fresh
from scale_parts import Part, machine, versions

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "scale"
MODULES = ("scale_metadata", "scale_tokens", "scale_conversion", "scale_embedding", "scale_library")
"""Each has `PARTS`, in the order of the page."""


def parts() -> dict[str, Part]:
    """All parts by name."""
    found = [part for module in MODULES for part in import_module(module).PARTS]
    return {part.name: part for part in found}


def rehearse(part: Part, folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Run a part at each of its sizes.

    Args:
        part: The part.
        folder: Of what is made; every size has a folder of its own in it, which parts share.
        quick: Whether to take the tiny sizes, in this process.

    Returns:
        Per size what `Part.run` returns, with the size `n` and the load average before.
    """
    results = []
    for size in part.quick if quick else part.full:
        own = folder / str(size)
        own.mkdir(parents=True, exist_ok=True)
        fresh(quick, part.make, size, own)
        load = os.getloadavg()[0]
        result = fresh(quick, part.run, size, own)
        results.append({"n": size, "load": round(load, 1), **result})
        sys.stderr.write(f"{part.name}: {results[-1]}\n")
    return results


def write_result(part: Part, sizes: Sequence[dict[str, Any]], output: Path, command: str) -> None:
    """Write OUTPUT/<part>.json: what the page of the rehearsals is made from."""
    content = {
        "part": part.name,
        "title": part.title,
        "unit": part.unit,
        "exponent": part.exponent,
        "flat": part.flat,
        "sizes": sizes,
        "command": command,
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{part.name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Parse the command line and rehearse."""
    known = parts()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=known, help="may be given several times (default: all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, in this process")
    parser.add_argument("--folder", type=Path, help="keeps what is made (default: a temporary folder)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.part or known:
            sizes = rehearse(known[name], options.folder or Path(temporary), quick=options.quick)
            command = f"python benchmarks/scale.py --part {shlex.quote(name)}{' --quick' if options.quick else ''}"
            write_result(known[name], sizes, options.output, command)


if __name__ == "__main__":
    main()
