"""The batch script runs as Slurm would run it: `srun` starts two tasks here, and signals and requeues as told."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bioscan_hf.training.run_folder import read_run
from tests.examples.made_data import environment, write_barcodes

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm" / "pretrain.sbatch"
TASKS = 2

# Starts the tasks with the variables that Slurm gives them; sends SIGUSR1 to all when the file $SIGNAL_WHEN is there.
SRUN = f"""#!{sys.executable}
import os, signal, subprocess, sys, time
command = sys.argv[1:]
while command[0].startswith("--"):
    del command[0]
tasks = []
for rank in range({TASKS}):
    own = {{"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NTASKS": "{TASKS}"}}
    tasks.append(subprocess.Popen(command, env={{**os.environ, **own}}))
awaited = os.environ.get("SIGNAL_WHEN")
while any(task.poll() is None for task in tasks):
    if awaited and os.path.exists(awaited):
        awaited = None
        for task in tasks:
            task.send_signal(signal.SIGUSR1)
    time.sleep(0.01)
sys.exit(max(task.returncode if task.returncode >= 0 else 128 - task.returncode for task in tasks))
"""
SCONTROL = """#!/bin/bash
case "$1" in
    show) echo 127.0.0.1; echo 127.0.0.2 ;;
    requeue) echo "$2" >> requeued ;;
esac
"""
# Instead of `bioscan`, where nothing is to be trained.
BIOSCAN = """#!/bin/bash
echo "$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $MASTER_PORT $*" >> started
{then}
"""


class Cluster:
    """A folder with Slurm's programs, in which jobs run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs = folder, folder / "programs"
        self.programs.mkdir()
        self.add("srun", SRUN)
        self.add("scontrol", SCONTROL)

    def add(self, name: str, source: str) -> None:
        (self.programs / name).write_text(source)
        (self.programs / name).chmod(0o755)

    def pretend(self, then: str) -> None:
        """Let `bioscan` do something else, such as `exit 1`."""
        self.add("bioscan", BIOSCAN.format(then=then))

    def run(self, *options: str, job: int = 4242, **variables: str) -> subprocess.CompletedProcess[str]:
        slurm = {"SLURM_JOB_ID": str(job), "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_CPUS_PER_TASK": "1"}
        return subprocess.run(
            ["bash", str(SCRIPT), *options],
            cwd=self.folder,
            env=environment(self.programs, **slurm, **variables),
            capture_output=True,
            text=True,
            timeout=240,
        )

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


FINISH = 'mkdir -p model; echo "{\\"finished\\": true}" > model/run.json'


def test_tasks_know_their_ranks_and_where_to_meet(cluster: Cluster) -> None:
    cluster.pretend(FINISH)
    done = cluster.run("--data", "two words.fasta", "--output", "model", job=54242)
    assert done.returncode == 0, done.stderr
    assert sorted(cluster.lines("started")) == [
        f"{rank} {rank} {TASKS} 127.0.0.1 34242 pretrain --data two words.fasta --output model --resume"
        for rank in range(TASKS)
    ]
    assert cluster.lines("requeued") == []


@pytest.mark.parametrize("output", [["--output=model"], ["--output", "other", "--output", "model"]])
def test_output_is_found(cluster: Cluster, output: list[str]) -> None:
    cluster.pretend(FINISH)
    assert cluster.run(*output).returncode == 0


def test_output_must_be_given(cluster: Cluster) -> None:
    cluster.pretend("exit 0")
    done = cluster.run("--data", "some.fasta")
    assert (done.returncode, cluster.lines("started")) == (2, [])
    assert "--output" in done.stderr


def test_fine_tuning_is_asked_for_by_a_variable(cluster: Cluster) -> None:
    cluster.pretend(FINISH)
    cluster.run("--output", "model", COMMAND="finetune")
    assert all(" finetune --output model --resume" in line for line in cluster.lines("started"))


@pytest.mark.parametrize("then", ["exit 0", "kill -USR1 $$"])
def test_interrupted_job_is_requeued(cluster: Cluster, then: str) -> None:
    cluster.pretend(then)
    assert cluster.run("--output", "model").returncode == 0
    assert cluster.lines("requeued") == ["4242"]


def test_failed_job_is_not_requeued(cluster: Cluster) -> None:
    cluster.pretend("exit 3")
    done = cluster.run("--output", "model")
    assert (done.returncode, cluster.lines("requeued")) == (3, [])
    assert "not finished (exit code 3)" in done.stderr


def test_job_is_not_requeued_for_ever(cluster: Cluster) -> None:
    cluster.pretend("exit 0")
    done = cluster.run("--output", "model", SLURM_RESTART_COUNT="50")
    assert (done.returncode, cluster.lines("requeued")) == (1, [])


@pytest.mark.slow
def test_interrupted_run_goes_on_in_the_next_job(cluster: Cluster) -> None:
    data = write_barcodes(cluster.folder / "barcodes.fasta")
    sizes = {"kmer-size": 3, "hidden-size": 16, "num-hidden-layers": 1, "intermediate-size": 16, "batch-size": 4}
    run: dict[str, Any] = {"data": data, "output": "model", "max-steps": 200, "save-steps": 25, "save-total-limit": 2}
    options = [f"--{name}={value}" for name, value in (sizes | run).items()]

    first = cluster.run(*options, SIGNAL_WHEN="model/checkpoint-25")
    assert first.returncode == 0, first.stdout + first.stderr
    assert cluster.lines("requeued") == ["4242"]
    assert "SIGUSR1 came" in first.stdout
    assert "finished" not in read_run(cluster.folder / "model")

    second = cluster.run(*options, SLURM_RESTART_COUNT="1")
    assert second.returncode == 0, second.stdout + second.stderr
    assert cluster.lines("requeued") == ["4242"]
    assert "Going on from model/checkpoint-" in second.stdout
    finished = read_run(cluster.folder / "model")
    assert (finished["finished"], finished["processes"]) == (True, TASKS)

    third = cluster.run(*options, SLURM_RESTART_COUNT="2")
    assert third.returncode == 0, third.stdout + third.stderr
    assert cluster.lines("requeued") == ["4242"]


def test_script_is_bash_with_the_options_that_it_relies_on() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    assert "\r" not in SCRIPT.read_text()
    head = SCRIPT.read_text().partition("set -euo pipefail")[0]
    assert {"#SBATCH --signal=USR1@120", "#SBATCH --requeue", "#SBATCH --open-mode=append"} <= set(head.splitlines())
