import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from datatrove.executor import RayPipelineExecutor, SlurmPipelineExecutor

from bioscan_hf.data import cluster
from bioscan_hf.data.cluster import WriteShards, convert_on_cluster
from bioscan_hf.data.conversion import prepare
from tests.made_release import member
from tests.reference_conversion import ROWS, SHARD_BYTES, Conversion, files, reference_conversion

# What a login node has: jobs run at once, one after the other, and `srun` runs its command.
SLURM = {
    "sbatch": """#!/bin/bash
echo "$@" >> "$FAKE_SLURM/calls"; script="${@: -1}"; cp "$script" "$FAKE_SLURM/$(ls "$FAKE_SLURM" | wc -l).sh"
tasks=$(grep -oP '(?<=--array=0-)\\d+' "$script")
for task in $(seq 0 "$tasks"); do
  SLURM_ARRAY_TASK_ID=$task SLURM_NODELIST=node1 bash "$script" >> "$FAKE_SLURM/output" 2>&1
done
echo "Submitted batch job 7"
""",
    "srun": '#!/bin/bash\nwhile [ "${1:0:1}" = "-" ]; do [ "$1" = "-n" ] && shift; shift; done\nexec "$@"\n',
    "scontrol": '#!/bin/bash\necho "$3"\n',
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    return reference_conversion(tmp_path_factory.mktemp("conversion"))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_local_tasks_write_the_bytes_of_a_laptop(workers: int, whole: Conversion, tmp_path: Path) -> None:
    report = convert_on_cluster(whole.root, tmp_path / "out", shard_bytes=SHARD_BYTES, options={"workers": workers})
    assert report is not None and report["rows"]["cropped_256"]["train"] == 10
    assert files(tmp_path / "out") == files(whole.folder)


def test_tasks_share_the_shards(whole: Conversion, tmp_path: Path) -> None:
    plan = prepare(whole.root, tmp_path / "out", shard_bytes=SHARD_BYTES)
    step = WriteShards(plan)
    written: list[set[str]] = []
    for rank in range(3):
        before = {path.name for path in (tmp_path / "out").glob("cropped_256/*")}
        step.run(None, rank=rank, world_size=3)
        written.append({path.name for path in (tmp_path / "out").glob("cropped_256/*")} - before)
    assert plan.shards is not None
    expected = [{Path(shard.name).name for shard in plan.shards[rank::3]} for rank in range(3)]
    assert written == expected
    assert step.stats["images"].total == len(ROWS)


def test_broken_shard_is_written_again_although_its_task_was_done(whole: Conversion, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    convert_on_cluster(whole.root, folder, shard_bytes=SHARD_BYTES, options={"workers": 1})
    path = folder / "cropped_256" / "test-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    convert_on_cluster(whole.root, folder, shard_bytes=SHARD_BYTES, options={"workers": 1})
    assert files(folder) == files(whole.folder)


def test_metadata_alone_needs_no_tasks(whole: Conversion, tmp_path: Path) -> None:
    report = convert_on_cluster(whole.root, tmp_path / "out", [])
    assert report is not None and list(report["rows"]) == ["metadata"]


def test_error_of_a_task_is_raised(whole: Conversion, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "root")
    row = next(row for row in ROWS if row["split"] == "train")
    archive = tmp_path / "root" / "BIOSCAN_5M_cropped_256_train.zip"
    image = row["image"]
    assert isinstance(image, bytes)
    archive.write_bytes(archive.read_bytes().replace(image, image[:-1] + bytes([image[-1] ^ 1])))
    with pytest.raises(ValueError, match=f"The image of {row['processid']} cannot be read: .*{member(row)}"):
        convert_on_cluster(tmp_path / "root", tmp_path / "out", shard_bytes=SHARD_BYTES, options={"workers": 1})
    assert not (tmp_path / "out" / "report.json").exists()


@pytest.mark.parametrize(
    ("executor", "options", "message"),
    [
        ("slurm", {"partition": "cpu"}, "'time'"),
        ("slurm", {"time": "1:00:00"}, "'partition'"),
        ("local", {"partition": "cpu"}, "'partition'"),
        ("ray", {"cpus": 3}, "'cpus'"),
    ],
)
def test_wrong_options_are_told_before_the_work(
    executor: cluster.ExecutorName, options: dict[str, Any], message: str, whole: Conversion, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=message):
        convert_on_cluster(whole.root, tmp_path / "out", executor=executor, options=options)
    assert not (tmp_path / "out").exists()


def test_slurm_gets_a_job_of_shards_and_one_that_waits_for_it(
    whole: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[SlurmPipelineExecutor] = []
    monkeypatch.setattr(SlurmPipelineExecutor, "run", lambda self: launched.append(self))
    options = {"partition": "cpu", "time": "2:00:00", "mem_per_cpu_gb": 4, "workers": 20}
    options["env_command"] = "source env/bin/activate"
    result = convert_on_cluster(
        whole.root, tmp_path / "out", executor="slurm", shard_bytes=SHARD_BYTES, options=options
    )
    assert result is None
    (last,) = launched
    shards = last.depends
    assert shards is not None and (last.tasks, shards.tasks) == (1, len(files(whole.folder / "cropped_256")))
    assert [step.name for step in (*shards.pipeline, *last.pipeline)] == ["image shards", "last"]
    assert not shards.skip_completed
    arguments = shards.get_sbatch_args(max_array=shards.tasks)
    assert arguments["partition"] == "cpu" and arguments["time"] == "2:00:00" and arguments["mem-per-cpu"] == "4G"
    assert arguments["array"] == f"0-{shards.tasks - 1}%20"
    assert "source env/bin/activate" in shards.get_launch_file_contents(arguments, "true")


def test_ray_gets_a_task_per_shard(whole: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: RayPipelineExecutor) -> None:
        assert (self.cpus_per_task, self.workers, self.tasks) == (2, 3, len(files(whole.folder / "cropped_256")))
        for rank in range(self.tasks):
            for step in self.pipeline:
                step.run(None, rank, self.world_size)

    monkeypatch.setattr(RayPipelineExecutor, "run", run)
    options = {"cpus_per_task": 2, "workers": 3}
    convert_on_cluster(whole.root, tmp_path / "out", executor="ray", shard_bytes=SHARD_BYTES, options=options)
    assert files(tmp_path / "out") == files(whole.folder)


def test_tasks_that_fail_on_ray_are_not_taken_for_done(
    whole: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RayPipelineExecutor, "run", lambda self: None)
    with pytest.raises(ValueError, match="shards are not written, such as cropped_256/pretrain-00000"):
        convert_on_cluster(whole.root, tmp_path / "out", executor="ray", shard_bytes=SHARD_BYTES)
    assert not (tmp_path / "out" / "report.json").exists()


@pytest.mark.slow  # each task of the made Slurm starts a Python of its own
@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_slurm_writes_the_bytes_of_a_laptop(whole: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs, log = tmp_path / "bin", tmp_path / "slurm"
    programs.mkdir()
    log.mkdir()
    for name, text in SLURM.items():
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    own = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{programs}:{own}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(log))
    monkeypatch.chdir(Path(__file__).parents[2])
    options = {"partition": "cpu", "time": "1:00:00", "tasks_per_job": 8}
    convert_on_cluster(whole.root, tmp_path / "out", executor="slurm", shard_bytes=SHARD_BYTES, options=options)
    assert "afterok:7" in (log / "calls").read_text()
    assert files(tmp_path / "out") == files(whole.folder), (log / "output").read_text()
