"""BarcodeBERT's tokens, embeddings and pretraining beside the way of the reference's code (barcodebert_reference.py).

    python benchmarks/barcodebert.py [--rounds 2] [--data FILE] [--output benchmarks/results]

Every way runs in a fresh process, its start, imports and the loading of the model not counted; the ways are run in
random order, and the best of some rounds counts. The page `barcodebert.md` is written to the output folder; two rounds
take about eight minutes on two cores. A GPU, where there is one, is measured, too. `--quick` sees with tiny models that
everything runs, and prints the page. `taskset -c 0 python …` measures with one core, by CPU time, on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import accelerator
import barcodebert_ways as ways
import torch
from barcodebert_page import Job, Measured, agreement, page
from barcodes import made_barcodes, read_barcodes
from measuring import answer, ask

HERE = Path(__file__).resolve().parent
BARCODES = "barcodes.json"


def run(job: Job, folder: Path, sizes: ways.Sizes) -> ways.Result:
    """Do a job in this process.

    Args:
        job: What to measure, or the part `model`: to make one that the others load.
        folder: Holds barcodes and models.
        sizes: How much.
    """
    barcodes = json.loads((folder / BARCODES).read_text(encoding="utf-8"))
    model = folder / f"k{job.k}"
    if job.part == "model":
        ways.save_model(model, job.k, sizes)
        return {"costs": {}, "facts": {}}
    if job.part == "tokenizing":
        return ways.tokenize(job.way, barcodes, sizes)
    if job.part == "embedding":
        return ways.embed(job.way, job.k, model, barcodes, sizes)
    if job.part == "training":
        return ways.train(job.way, job.k, model, barcodes, sizes)
    return accelerator.measure(job.way, model, sizes.device_batch, sizes.device_batches)


def jobs(*, further: bool) -> list[Job]:
    """What is measured on the CPU: all of it, or without the further ways, on which no bar depends."""
    found = []
    for part, of_part in ways.PARTS.items():
        for name, way in of_part.items():
            if further or way.bar:
                found += [Job(part, name, k) for k in ([0] if part == "tokenizing" else way.ks)]
    return found


def measure(
    barcodes: list[str], sizes: ways.Sizes, rounds: int, seed: int, *, device: bool, compiled: bool
) -> Measured:
    """Run every job in a process of its own, in rounds of random order.

    Args:
        barcodes: Distinct ones.
        sizes: How much.
        rounds: How often; ways on which no bar depends are run in the first round only.
        seed: Fixes the order.
        device: Whether the GPU, or in its place the CPU, is measured, too.
        compiled: Whether it also runs compiled models.
    """
    order = random.Random(seed)
    results: dict[Job, list[ways.Result]] = {}
    loads = []
    # Threads of the JSON tokenizer would run beside those of torch.
    env = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    quick = ["--quick"] * (sizes == ways.QUICK)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / BARCODES).write_text(json.dumps(barcodes), encoding="utf-8")

        def do(job: Job) -> None:
            loads.append(os.getloadavg()[0])
            arguments = ["--folder", folder, *quick, "--job", json.dumps(asdict(job))]
            result = ask(sys.executable, Path(__file__), *arguments, env=env)
            results.setdefault(job, []).append(result)
            sys.stderr.write(f"{job}: {result['costs'] or result['facts']}\n")

        for k in (8, 4):
            do(Job("model", k=k))
        for number in range(rounds):
            chosen = jobs(further=not number)
            for job in order.sample(chosen, len(chosen)):
                do(job)
        for way in accelerator.WAYS if device else ():
            if compiled or "compiled" not in way:
                do(Job("device", way, 8))
        for job, of_job in results.items():
            if job.part == "embedding":
                of_job[0]["facts"] |= agreement(folder / f"k{job.k}", job.way)
    best = {
        job: {
            "costs": {key: min(result["costs"][key] for result in of_job) for key in of_job[0]["costs"]},
            "facts": of_job[0]["facts"],
        }
        for job, of_job in results.items()
    }
    return Measured(best, rounds, loads, barcodes, sizes)


def main() -> None:
    """Parse the command line, measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="FASTA, CSV, TSV or Parquet file of barcodes (default: made ones)")
    parser.add_argument("--rounds", type=int, default=2, help="the best of them counts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="fixes barcodes and order (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="folder of the page (default: results; with --quick, none)")
    parser.add_argument("--quick", action="store_true", help="tiny models: does it run?")
    parser.add_argument("--compile", action="store_true", help="also compile the models that run on a GPU")
    parser.add_argument("--peak-tflops", type=float, help="bfloat16 peak of the GPU, if accelerator.py has it not")
    parser.add_argument("--job", help=argparse.SUPPRESS)  # a process of its own for each
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = ways.QUICK if options.quick else ways.FULL
    if options.job:
        answer(run(Job(**json.loads(options.job)), options.folder, sizes))
        return
    if options.data:
        barcodes = read_barcodes(options.data, sizes.barcodes, options.seed)
    else:
        barcodes = made_barcodes(sizes.barcodes, options.seed)
    device = torch.cuda.is_available() or options.quick
    result = measure(barcodes, sizes, options.rounds, options.seed, device=device, compiled=options.compile)
    command = (
        f"python benchmarks/barcodebert.py --rounds {options.rounds} --seed {options.seed}{' --quick' * options.quick}"
    )
    if options.data:
        command += f" --data {options.data.name}"
    text = page(result, command, peak=options.peak_tflops)
    if options.quick and not options.output:
        sys.stdout.write(text)
        return
    output = options.output or HERE / "results"
    output.mkdir(parents=True, exist_ok=True)
    (output / "barcodebert.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
