"""Uploads of a training run, in the background, so that the Hub never stops it."""

from __future__ import annotations

import os
import queue
import shutil
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
    filter_repo_objects,
)

from bioscan_hf.hub.push import HUB_FAILURES, one_line, push_folder, retried, upload, upload_command

RESUME_ONLY = (
    "optimizer.*",
    "trainer_state.json",
    "schedule.json",
    "scaler.json",
    "manifest.json",
    "weights.safetensors",
    "ema.safetensors",
)
"""Patterns of the files of a checkpoint that only its own training needs."""

NOT_FINAL = ("checkpoint-*/*", ".partial-*", ".doomed-*", ".upload-*", ".run.lock", "run.json", "history.json")
"""Patterns of what lies in the folder of a run and is no part of its final model; `run.json` names local paths."""


@dataclass(frozen=True)
class _Job:
    folder: Path
    stage: Path
    branch: str


class Uploads:
    """Sends checkpoints to branches of a repository, one after another, and the final model to its main branch.

    A Hub that fails never stops the training: each upload is tried again, and what fails for good becomes a warning,
    given by the next call from the thread that makes it.

    Attributes:
        repo_id: The repository.
        failed: Branches that were not uploaded, in order.
    """

    def __init__(self, repo_id: str, *, private: bool = False, attempts: int = 4, wait: float = 5.0) -> None:
        """Prepare; nothing is sent yet.

        Args:
            repo_id: Repository, made by the first upload if need be.
            private: Whether a new repository is private.
            attempts: How often each upload is tried.
            wait: Seconds between the first two attempts; twice as long each time after that.
        """
        self.repo_id = repo_id
        self.failed: list[str] = []
        self._private, self._attempts, self._wait = private, attempts, wait
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stages: set[Path] = set()
        self._thread: threading.Thread | None = None

    def checkpoint(self, folder: Path, branch: str) -> None:
        """Send a checkpoint to a branch of its own; returns at once.

        The branch is made if need be and holds the files of the checkpoint but `RESUME_ONLY`, and no others. Until
        they are sent they have a second name in a hidden folder beside `folder`, which may thus be deleted.

        Args:
            folder: The checkpoint; its files may be deleted or replaced afterwards, but not be written into.
            branch: Name of the branch, the `revision` by which `from_pretrained` loads it.
        """
        stage = folder.with_name(f".upload-{folder.name}")
        while stage in self._stages:  # an earlier content of the folder, such as the best model's, still waits
            stage = stage.with_name(f"{stage.name}_")
        job = _Job(folder, stage, branch)
        try:
            _link(folder, stage)
        except OSError as error:
            shutil.rmtree(stage, ignore_errors=True)
            self._fail(job, error, attempts=1)
        else:
            self._stages.add(stage)
            self._jobs.put(job)
            if self._thread is None:
                # A daemon: it does not keep alive a program that ends by an error.
                self._thread = threading.Thread(target=self._run, name="bioscan-uploads", daemon=True)
                self._thread.start()
        self._warn()

    def finish(self, folder: Path) -> str:
        """Wait for the checkpoints, then push the final model.

        Args:
            folder: The final model with its card; `NOT_FINAL` is left out.

        Returns:
            Address of the commit.

        Raises:
            OSError: If the Hub fails in all attempts; the message says how to push again.
        """
        self._join()
        self._warn()
        return push_folder(
            folder, self.repo_id, private=self._private, ignore=NOT_FINAL, attempts=self._attempts, wait=self._wait
        )

    def close(self) -> None:
        """Wait for the checkpoints. Further ones may follow."""
        self._join()
        self._warn()

    def _join(self) -> None:
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                with _no_progress_bars():
                    retried(partial(self._send, job), attempts=self._attempts, wait=self._wait)
            # A panic of hf_xet is no `Exception`; nothing may end this thread, which others wait for.
            except BaseException as error:
                self._fail(job, error, attempts=self._attempts if isinstance(error, HUB_FAILURES) else 1)
            finally:
                shutil.rmtree(job.stage, ignore_errors=True)
                self._stages.discard(job.stage)

    def _send(self, job: _Job) -> None:
        upload(job.stage, self.repo_id, private=self._private, branch=job.branch)

    def _fail(self, job: _Job, error: BaseException, *, attempts: int) -> None:
        command = upload_command(job.folder, self.repo_id, private=self._private, ignore=RESUME_ONLY, branch=job.branch)
        self.failed.append(job.branch)
        self._messages.put(
            f"{job.branch} was not uploaded to {self.repo_id}: {one_line(error)} (after {attempts} "
            f"attempt{'s' * (attempts > 1)}). The training goes on; as long as '{job.folder}' is there, `{command}` "
            "uploads it."
        )

    def _warn(self) -> None:
        """Warn from the caller's thread, where its filters and handlers are."""
        while not self._messages.empty():
            warnings.warn(self._messages.get(), stacklevel=3)


def model_files(checkpoint: Path) -> list[str]:
    """Paths, in a checkpoint, of the files of the model: all but `RESUME_ONLY`."""
    present = [path.relative_to(checkpoint).as_posix() for path in sorted(checkpoint.rglob("*")) if path.is_file()]
    return list(filter_repo_objects(present, ignore_patterns=list(RESUME_ONLY)))


def _link(folder: Path, stage: Path) -> None:
    """Give the files of a checkpoint a second name, or copy them where the disk cannot."""
    shutil.rmtree(stage, ignore_errors=True)  # of a run that was killed
    wanted = model_files(folder)
    if not wanted:
        raise FileNotFoundError(f"'{folder}' holds no model to upload")
    for name in wanted:
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link((folder / name).resolve(), stage / name)
        except OSError:
            shutil.copy2(folder / name, stage / name)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Leave the terminal to the training."""
    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
