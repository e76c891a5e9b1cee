"""CLIBD's loss beside the reference's form, its processor beside plain Pillow, and its towers in several precisions.

    python benchmarks/clibd.py [--rounds 2] [--compile] [--device cuda] [--output benchmarks/results]

Every way runs in a fresh process, one at a time; the ways take turns in some rounds, and the best counts. The page
`clibd.md` is written to the output folder; two rounds take about eight minutes on two cores. Linux is needed for the
memory. `--device cuda` also trains the whole model on a GPU. `--quick` sees with tiny sizes that everything runs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import clibd_device
import clibd_loss
import clibd_towers
from clibd_page import FULL, QUICK, Job, Measured, Result, Sizes, page

HERE = Path(__file__).resolve().parent
PRELOADED = ["bioscan_hf.models.clibd.modeling_clibd", "bioscan_hf.models.clibd.processing_clibd"]
"""What is imported once, for all processes."""


def jobs(sizes: Sizes, *, compiled: bool, device: bool) -> list[Job]:
    """What is measured."""
    found = [Job("loss", way, batch) for batch in sizes.loss_batches for way in clibd_loss.WAYS]
    found += [Job("processor", way, sizes.images) for way in clibd_towers.PROCESSORS]
    for tower in clibd_towers.TOWERS:
        ways = [way for way in clibd_towers.WAYS if compiled or way != "compiled"]
        found += [Job(tower, way, sizes.tower_batch) for way in ways]
    if device:
        found += [Job("device", way, batch) for way, (batch, _) in sizes.device_batches.items()]
    return found


def run(job: Job, folder: Path, sizes: Sizes, device: str) -> Result:
    """Do a job in this process.

    Args:
        job: What to measure.
        folder: Takes gradients of losses.
        sizes: How much.
        device: Of the job `device`.
    """
    if job.part == "loss":
        return clibd_loss.run(job.way, job.batch, sizes.width, sizes.repeats, sizes.seconds, folder)
    if job.part == "processor":
        return clibd_towers.prepare(job.way, job.batch, sizes.repeats)
    if job.part == "device":
        batch, chunk_size = sizes.device_batches[job.way]
        return clibd_device.train(sizes.fields, batch, chunk_size, sizes.device_steps, device)
    fields = sizes.fields.get("vision_config" if job.part == "image" else "dna_config", {})
    return clibd_towers.embed(job.part, job.way, fields, job.batch, sizes.repeats)


def in_fresh_process(job: Job, folder: Path, sizes: Sizes, device: str) -> Result:
    """As `run`, in a process that has the imports from another one and nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        return pool.submit(run, job, folder, sizes, device).result()


def _fastest(results: list[Result]) -> Result:
    return {unit: min(found[unit] for found in results) for unit in ("cpu", "wall") if unit in results[0]}


def measure(sizes: Sizes, rounds: int, *, compiled: bool, device: str | None) -> Measured:
    """Run every job in a process of its own, in rounds; compiled models and a GPU in the first round only.

    Args:
        sizes: How much.
        rounds: How often.
        compiled: Whether towers are compiled, too, which takes minutes.
        device: Where the whole model is trained; None for nowhere.
    """
    results: dict[Job, list[Result]] = {}
    loads = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(rounds):
            for job in jobs(sizes, compiled=compiled and not number, device=device is not None and not number):
                loads.append(os.getloadavg()[0])
                found = in_fresh_process(job, folder, sizes, device or "cpu")
                results.setdefault(job, []).append(found)
                sys.stderr.write(f"{job}: {found}\n")
        best = {job: of_job[0] | _fastest(of_job) for job, of_job in results.items()}
        for job, result in best.items():
            if job.part == "loss":
                result["difference"] = clibd_loss.agreement(job.way, job.batch, folder)
    return Measured(best, rounds, loads, sizes)


def main() -> None:
    """Parse the command line, measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="the best of them counts (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="also compile the towers")
    parser.add_argument("--device", choices=["cuda", "cpu"], help="where to train the whole model (default: nowhere)")
    parser.add_argument("--output", type=Path, help="folder of the page (default: results; with --quick, none)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run?")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    command = f"python benchmarks/clibd.py --rounds {options.rounds}{' --compile' * options.compile}"
    command += f" --device {options.device}" if options.device else ""
    command += " --quick" * options.quick
    text = page(measure(sizes, options.rounds, compiled=options.compile, device=options.device), command)
    if options.quick and not options.output:
        sys.stdout.write(text)
        return
    output = options.output or HERE / "results"
    output.mkdir(parents=True, exist_ok=True)
    (output / "clibd.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
