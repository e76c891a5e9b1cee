"""`bioscan pretrain` and `bioscan align` under faults: small runs on made specimens."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from abc import abstractmethod
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch
from faults_data import made_specimens, write_table, write_with_images
from faults_harness import Content, Scenario, Trial, Wrong
from faults_hub import local_hub
from matplotlib.figure import Figure
from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

from bioscan_hf import BarcodeBertConfig, BarcodeBertModel, build_tokenizer
from bioscan_hf.data.files import digest
from bioscan_hf.evaluation.benchmarks import retrieval_run
from bioscan_hf.evaluation.results import read_results
from bioscan_hf.hub.push import save_model
from bioscan_hf.hub.uploads import NOT_FINAL
from bioscan_hf.training import checkpoints, provenance, run

_LAYER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
_RETRIEVAL = ("pretrain", "train", "train", "val", "test", "key_unseen", "val_unseen", "test_unseen")
# They tell the time that a run took.
_TIMES = ("seconds", "samples_per_second")


class _Training(Scenario):
    """A run: its checkpoints are states that it may leave, and `--resume` goes on."""

    patches = ("faults_training:quicker", "faults_hub:impatient")
    steps: int

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        self._checkpoints: list[Content] = []
        self._hub, self._repositories = local_hub(), count()
        self._repository: str | None = None  # what is pushed to
        self._requests = 0  # of a run that pushes
        self.environment = self._hub.environment
        self.faults = {"hub": self.disturb}

    @abstractmethod
    def call(self, output: Path) -> list[str]:
        """The command line of the whole run."""

    def words(self, output: Path, *, again: bool = False) -> list[str]:
        # The first run, which no fault disturbs, keeps all: they are what a later one may leave.
        kept = 2 if self._checkpoints else self.steps
        run = {"max-steps": self.steps, "save-steps": 1, "logging-steps": 1, "eval-strategy": "no"}
        run |= {"save-total-limit": kept}
        push = ["--push-to-hub", self._repository] if self._repository else []
        return [*self.call(output), *_options(**run), *(["--resume"] if again else push)]

    def read(self, output: Path) -> Content | None:
        if (output / "config.json").exists():
            return self.model(output)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a broken one is passed over
            last = checkpoints.last_checkpoint(output)
        return None if last is None else _checkpoint(last)

    def model(self, output: Path) -> Content:
        """The finished model."""
        history = json.loads((output / "history.json").read_text(encoding="utf-8"))
        kept = [{name: value for name, value in record.items() if name not in _TIMES} for record in history]
        values = {name: digest(output / name) for name in (checkpoints.MODEL, "config.json", "tokenizer.json")}
        values["results"] = repr(
            [(r.benchmark, r.model, r.metric, r.value) for r in read_results(output / run.RESULTS)]
        )
        return Content(tuple(f"step {record['step']}" for record in history), {**values, "history": repr(kept)})

    def earlier(self, output: Path) -> list[Content]:
        if not self._checkpoints:
            self._checkpoints = [_checkpoint(path) for path in checkpoints.find_checkpoints(output)]
        return self._checkpoints

    def disturb(self, trial: Trial) -> list[int | None]:
        """Requests of a run that pushes fail: its model is in the folder all the same, and whole or not on the Hub."""
        if not self._requests:
            before = self._hub.requests()
            self._pushed(trial)
            self._requests = self._hub.requests() - before
            for path in trial.folder.iterdir():
                shutil.rmtree(path)
        self._hub.fail_at_random(trial.random, self._requests)
        code = self._pushed(trial)
        trial.logs[:-1] = []
        return [code]

    def _pushed(self, trial: Trial) -> int | None:
        """Run it with a push, and see what is on the Hub."""
        name = self._repository = f"tester/{self.name}-{next(self._repositories)}"
        code = trial.start().wait()
        self._repository = None
        self._hub.heal()
        api, folder = self._hub.api, trial.output
        branches = [ref.name for ref in api.list_repo_refs(name).branches] if api.repo_exists(name) else []
        whole = False
        for branch in branches:
            with tempfile.TemporaryDirectory() as copy:
                wanted = None if branch == "main" else ["config.json", checkpoints.MODEL]
                found = Path(api.snapshot_download(name, revision=branch, local_dir=copy, allow_patterns=wanted))
                if not (found / "config.json").exists():
                    continue
                if branch == "main":
                    whole = True
                    wrong = [path.name for path in folder.iterdir() if path.is_file() and not _same(path, found)]
                    wrong = [name for name in wrong if not name.startswith(".") and name not in NOT_FINAL]
                else:
                    own = {checkpoints.MODEL: digest(found / checkpoints.MODEL)}.items()
                    wrong = [] if any(own <= state.values.items() for state in self._checkpoints) else [branch]
                if wrong:
                    raise Wrong("wrong but loads", f"{', '.join(wrong)} on the branch {branch} differ")
        if code == 0 and not whole:
            raise Wrong("lost", "it says that it is pushed, and it is not")
        return code

    def close(self) -> None:
        self._hub.close()

    def left(self, folder: Path) -> list[Path]:
        # A finished model has no checksums, as none on the Hub has.
        finished = (folder / "out" / "config.json").exists()
        return [] if finished else super().left(folder)


def _same(path: Path, folder: Path) -> bool:
    there = folder / path.name
    return there.is_file() and there.read_bytes() == path.read_bytes()


def _checkpoint(folder: Path) -> Content:
    files = [path for path in folder.iterdir() if path.suffix == ".safetensors"]
    return Content((folder.name,), {path.name: digest(path) for path in files})


class Pretrain(_Training):
    """Five steps of a BarcodeBERT of one layer."""

    name = "pretrain"
    steps = 5

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        self.table = write_table(inputs / "table.csv", made_specimens(60, 36))

    def call(self, output: Path) -> list[str]:
        """Options of a small model."""
        sizes = {name.replace("_", "-"): value for name, value in _LAYER.items()}
        sizes |= {"kmer-size": 3, "decoder-num-hidden-layers": 1, "batch-size": 8}
        return ["pretrain", "--data", str(self.table), "--output", str(output), *_options(**sizes)]


class Align(_Training):
    """Three steps of towers of one layer."""

    name = "align"
    steps = 3

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        self.table = write_with_images(inputs / "table.parquet", made_specimens(48, 36, _RETRIEVAL))
        torch.manual_seed(0)
        image = {"image_size": 16, "patch_size": 8}
        ViTModel(ViTConfig(**_LAYER, **image)).save_pretrained(inputs / "image")
        ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(inputs / "image")
        dna = BarcodeBertConfig(kmer_size=3, max_nucleotides=36, max_position_embeddings=16, **_LAYER)
        save_model(inputs / "dna", BarcodeBertModel(dna), build_tokenizer(3, max_nucleotides=36))

    def call(self, output: Path) -> list[str]:
        """Options of small towers."""
        run = {"batch-size": 8, "projection-dim": 8, "modalities": "image,dna", "threads": 0, "max-test-samples": 4}
        towers = {f"{name}-model": self.inputs / name for name in ("image", "dna")}
        return ["align", "--data", str(self.table), "--output", str(output), *_options(**run, **towers)]


def _options(**values: Any) -> list[str]:
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def quicker() -> None:
    """Draw nothing and do not ask git: this takes longer than all else. Pictures are written, like other files."""

    def blank(*_: object, **__: object) -> Figure:
        return Figure((1, 1))

    def write(figure: Figure, path: Path, **_: object) -> None:
        path.write_bytes(b"a picture")

    changes: list[tuple[Any, str, Callable[..., Any]]] = [
        *((retrieval_run, name, blank) for name in ("accuracy_by_rank", "retrieved_keys")),
        *((run, "loss_curve", blank), (Figure, "savefig", write), (provenance, "git_state", lambda folder: None)),
    ]
    for owner, name, instead in changes:
        setattr(owner, name, instead)
