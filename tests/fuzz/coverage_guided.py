"""Fuzzing guided by coverage, with atheris, of the same targets as the tests beside this file.

atheris is no dependency of the project; it is installed into an environment of its own (Linux, Python 3.11 to 3.13):

    pip install atheris -e .
    python tests/fuzz/coverage_guided.py fasta -max_total_time=300 corpus/

The first argument is a target of `targets.py`, the others are libFuzzer's. What fails is written to `crash-*`; put it
into the test of the target as an `@example`, and mend the product.
"""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parents[2]))
# What is instrumented when it is imported: our readers, and those of Python that they call.
with atheris.instrument_imports(
    include=["bioscan_hf", "csv", "json", "zipfile", "gzip", "PIL"], enable_loader_override=False
):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz one target."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        raise SystemExit(f"Expected a target as first argument, one of {', '.join(TARGETS)}.")
    name = sys.argv.pop(1)
    target = TARGETS[name]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    seeds = folder / "seeds"
    seeds.mkdir()
    for number, seed in enumerate(target.seeds):
        (seeds / str(number)).write_bytes(seed)
    work = folder / "work"
    work.mkdir()
    longest = 4 * max(map(len, target.seeds)) + 10_000
    # The first folder takes what is found; the seeds are only read.
    corpora = [word for word in sys.argv[1:] if not word.startswith("-")] or [str(folder / "corpus")]
    Path(corpora[0]).mkdir(parents=True, exist_ok=True)
    options = [word for word in sys.argv[1:] if word.startswith("-")]
    atheris.Setup(
        [sys.argv[0], f"-max_len={longest}", "-rss_limit_mb=6000", "-timeout=60", *options, *corpora, str(seeds)],
        lambda content: target.run(content, work),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
