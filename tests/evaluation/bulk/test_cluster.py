import os
import stat
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from datatrove.executor import RayPipelineExecutor, SlurmPipelineExecutor

from bioscan_hf.data.executors import ExecutorName
from bioscan_hf.evaluation.bulk.cluster import EmbedChunks, embed_on_cluster
from bioscan_hf.evaluation.bulk.run import embed_to_parquet, prepare
from tests.data.test_cluster import SLURM
from tests.evaluation.bulk.test_run import CHUNK, CHUNKS, DISTINCT, SPECIMENS
from tests.letter_counts import LetterCounts

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "E.parquet"
    embed_to_parquet(LetterCounts(), SPECIMENS, path, chunk_size=CHUNK)
    return path.read_bytes()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_local_tasks_write_the_bytes_of_one_process(workers: int, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "E.parquet"
    written = embed_on_cluster(LetterCounts, SPECIMENS, path, tasks=3, chunk_size=CHUNK, options={"workers": workers})
    assert written is not None and (written.specimens, written.barcodes) == (len(SPECIMENS), DISTINCT)
    assert path.read_bytes() == whole
    assert {item.name for item in tmp_path.iterdir()} == {"E.parquet", ".E.parquet.logs"}
    again = embed_on_cluster(partial(LetterCounts, fails_at=0), SPECIMENS, path, chunk_size=CHUNK)
    assert again == written


def test_tasks_share_the_chunks(tmp_path: Path) -> None:
    plan, _ = prepare(LetterCounts(), SPECIMENS, tmp_path / "E.parquet", chunk_size=CHUNK)
    step = EmbedChunks(plan, LetterCounts)
    for rank in range(3):
        before = {path.name[:5] for path in plan.folder.glob("*.npy")}
        step.run(None, rank=rank, world_size=3)
        written = {path.name[:5] for path in plan.folder.glob("*.npy")} - before
        assert written == {f"{number:05d}" for number in range(rank, CHUNKS, 3)}
    assert step.stats["barcodes"].total == DISTINCT


def test_failed_task_is_raised_and_another_way_goes_on(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "E.parquet"
    with pytest.raises(RuntimeError, match="power cut"):
        embed_on_cluster(
            partial(LetterCounts, fails_at=1), SPECIMENS, path, tasks=1, chunk_size=CHUNK, options={"workers": 1}
        )
    assert not path.exists()
    assert embed_to_parquet(LetterCounts(), SPECIMENS, path, chunk_size=CHUNK).computed == DISTINCT - CHUNK
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("executor", "options", "message"),
    [
        ("slurm", {"partition": "cpu"}, "'time'"),
        ("local", {"partition": "cpu"}, "'partition'"),
        ("ray", {"cpus": 3}, "'cpus'"),
    ],
)
def test_wrong_options_are_told_before_the_work(
    executor: ExecutorName, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=message):
        embed_on_cluster(LetterCounts, SPECIMENS, tmp_path / "E", executor=executor, options=options)
    assert not list(tmp_path.iterdir())


def test_slurm_gets_a_job_of_chunks_and_one_that_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[SlurmPipelineExecutor] = []
    monkeypatch.setattr(SlurmPipelineExecutor, "run", lambda self: launched.append(self))
    options = {"partition": "gpu", "time": "2:00:00", "gpus_per_task": 1, "env_command": "source env/bin/activate"}
    result = embed_on_cluster(
        LetterCounts, SPECIMENS, tmp_path / "E", executor="slurm", tasks=100, chunk_size=CHUNK, options=options
    )
    assert result is None
    (last,) = launched
    chunks = last.depends
    assert chunks is not None and (last.tasks, chunks.tasks) == (1, CHUNKS), "there are no more tasks than chunks"
    assert [step.name for step in (*chunks.pipeline, *last.pipeline)] == ["embeddings", "last"]
    assert (chunks.gpus_per_task, last.gpus_per_task) == (1, 0) and not chunks.skip_completed
    arguments = chunks.get_sbatch_args(max_array=chunks.tasks)
    assert (arguments["partition"], arguments["time"]) == ("gpu", "2:00:00")


def test_tasks_that_fail_on_ray_are_not_taken_for_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RayPipelineExecutor, "run", lambda self: None)
    with pytest.raises(ValueError, match=rf"{CHUNKS} of {CHUNKS} chunks .* are missing"):
        embed_on_cluster(LetterCounts, SPECIMENS, tmp_path / "E", executor="ray", chunk_size=CHUNK)
    assert not (tmp_path / "E").exists()


@pytest.mark.slow  # each task of the made Slurm starts a Python of its own
@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_slurm_writes_the_bytes_of_one_process(whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs, log = tmp_path / "bin", tmp_path / "slurm"
    programs.mkdir()
    log.mkdir()
    for name, text in SLURM.items():
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(log))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the encoder of the tests
    output = tmp_path / "results" / "E.parquet"
    options = {"partition": "cpu", "time": "1:00:00"}
    embed_on_cluster(LetterCounts, SPECIMENS, output, executor="slurm", tasks=2, chunk_size=CHUNK, options=options)
    assert "afterok:7" in (log / "calls").read_text()
    assert output.read_bytes() == whole, (log / "output").read_text()
    assert {item.name for item in output.parent.iterdir()} == {"E.parquet", ".E.parquet.logs"}
