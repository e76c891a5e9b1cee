"""Pushes under faults: a model, a converted dataset and a library, one after the other, to the local Hub of the tests.

Each repository has a former version. After any fault it must hold that one or the new one, whole: the same files with
the same contents.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any

import torch
from faults_conversion import made_rows, small_shards, write_release
from faults_data import made_specimens, write_table
from faults_harness import KILLED, Content, Scenario, Trial, Wrong, check_words
from faults_hub import TOKEN, local_hub
from faults_kinds import kill
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, constants
from huggingface_hub.hf_api import RepoFile

from bioscan_hf import BarcodeBertConfig, BarcodeBertForMaskedLM, Library, build_tokenizer, load_specimens
from bioscan_hf.data.conversion import convert
from bioscan_hf.hub import dataset_push, push
from bioscan_hf.hub.dataset_cards import save_dataset_card
from bioscan_hf.hub.library_push import push_library
from bioscan_hf.hub.push import save_card, save_model

_KINDS = ("model", "dataset", "library")
_VERSIONS = ("former", "new", "other")
_TYPES = {"model": "model", "dataset": "dataset", "library": "model"}
_CARD = "---\nlicense: mit\n---\n"


def push_all(folder: str, number: str) -> None:
    """Push what is in a folder, as the commands do; the first error ends it."""
    from bioscan_hf.cli import program

    def pushed(*words: str) -> None:
        sys.argv = ["bioscan", *words]
        program.main()

    @program.app.command()
    def push_model() -> None:
        """Push a model, as the commands that make one do at their end."""
        push.push_folder(Path(folder, "model"), repository("model", number))

    pushed("push-model")
    pushed("data", "push", f"{folder}/dataset", repository("dataset", number))
    pushed("library", "push", f"{folder}/library", repository("library", number))


def repository(kind: str, number: int | str) -> str:
    """Name of the repository of a trial."""
    return f"tester/{kind}-{number}"


class Push(Scenario):
    """The former versions are there already; the new ones have other weights, specimens and numbers of files."""

    name = "push"
    dashes: Mapping[str, str] = {"corrupt": "what lies in a folder is pushed as it is; loading it tells of damage"}
    patches = ("faults_hub:impatient",)

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        self._hub = local_hub()
        constants.HF_HUB_DISABLE_XET = True  # also in this process, which has imported the client
        warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
        self.environment = self._hub.environment
        self._numbers, self._number = count(), 0
        self._requests = [0, 0]  # before and after the first run
        self.faults = {"kill": self.kill, "hub": self.disturb, "two": self.two}
        for number, version in enumerate(_VERSIONS):
            _make(inputs / version, number)
        self._states = {version: self._state_after(version) for version in _VERSIONS}

    def _state_after(self, version: str) -> dict[str, Any]:
        """What each repository holds when a version has been pushed on top of the former one."""
        self._publish(self.inputs / "former")
        for module in (push, dataset_push):
            vars(module)["HfApi"] = partial(HfApi, endpoint=self._hub.url, token=TOKEN)
        folder = self.inputs / "pushed"
        shutil.copytree(self.inputs / version, folder)
        if version != "former":
            push.push_folder(folder / "model", repository("model", self._number))
            dataset_push.push_dataset(folder / "dataset", repository("dataset", self._number))
            push_library(folder / "library", repository("library", self._number))
        shutil.rmtree(folder)
        return {kind: self._state(kind) for kind in _KINDS}

    def _publish(self, folder: Path) -> None:
        """Make new repositories of what is in a folder."""
        self._number = next(self._numbers)
        for kind in _KINDS:
            where: dict[str, Any] = {"repo_id": repository(kind, self._number), "repo_type": _TYPES[kind]}
            self._hub.api.create_repo(**where)
            files = sorted(path for path in (folder / kind).rglob("*") if path.is_file())
            additions = [CommitOperationAdd(path.relative_to(folder / kind).as_posix(), path) for path in files]
            self._hub.api.create_commit(operations=additions, commit_message="former", **where)

    def _state(self, kind: str) -> dict[str, str]:
        """Content of a repository by path, but for its name in the card."""
        name = repository(kind, self._number)
        where: dict[str, Any] = {"repo_id": name, "repo_type": _TYPES[kind]}
        tree = self._hub.api.list_repo_tree(recursive=True, **where)
        files = {entry.path: entry.blob_id for entry in tree if isinstance(entry, RepoFile)}
        if "README.md" in files:
            with tempfile.TemporaryDirectory() as cache:
                path = self._hub.api.hf_hub_download(filename="README.md", cache_dir=cache, **where)
                text = Path(path).read_text(encoding="utf-8")
            for mention in (name, name.partition("/")[2]):
                text = text.replace(mention, "REPOSITORY")
            files["README.md"] = text
        return files

    def begin(self, output: Path) -> None:
        """Publish the former versions under new names, and put the new ones on the disk."""
        self._publish(self.inputs / "former")
        if not output.exists():
            shutil.copytree(self.inputs / "new", output)
        if not self._requests[1]:
            self._requests[0] = self._hub.requests()

    def words(self, output: Path, *, again: bool = False) -> list[str]:
        """The same the second time."""
        return ["faults_push:push_all", str(output), str(self._number)]

    def read(self, output: Path) -> Content | None:
        """What the repositories hold."""
        if not self._requests[1]:
            self._requests[1] = self._hub.requests()
        return Content(values={kind: self._state(kind) for kind in _KINDS})

    def earlier(self, output: Path) -> list[Content]:
        """Each repository may hold the former version, or one that another process pushes."""
        states = product(*([self._states[version][kind] for version in _VERSIONS] for kind in _KINDS))
        return [Content(values=dict(zip(_KINDS, found, strict=True))) for found in states]

    def disturb(self, trial: Trial) -> list[int | None]:
        """Some requests fail, in one way or another."""
        before, after = self._requests
        self._hub.fail_at_random(trial.random, after - before)
        try:
            return [trial.start().wait()]
        finally:
            self._hub.heal()

    def kill(self, trial: Trial) -> list[int | None]:
        """When a request arrives, when it has been carried out, or at any time."""
        draw = trial.random
        if draw.random() < 0.3:
            return kill(trial)
        program = trial.start()
        self._hub.fail(
            after=draw.randrange(self._requests[1] - self._requests[0]), kill=program.pid, done=draw.random() < 0.5
        )
        try:
            return [program.wait()]
        finally:
            self._hub.heal()

    def two(self, trial: Trial) -> list[int | None]:
        """Another process pushes the same, or another version, or the folders change while they are pushed."""
        draw, other = trial.random, self.inputs / f"other-{self._number}"
        shutil.copytree(self.inputs / "other", other)
        trial.stack.callback(shutil.rmtree, other, ignore_errors=True)
        way = draw.choice(["same", "other", "changes"])
        first = trial.start()
        time.sleep(draw.uniform(0, trial.reference.seconds))
        if way == "changes":
            for kind in _KINDS:
                (trial.output / kind).rename(other / f"{kind}.new")
                (other / kind).rename(trial.output / kind)
            codes = [first.wait()]
            for kind in _KINDS:
                shutil.rmtree(trial.output / kind)
                shutil.copytree(self.inputs / "new" / kind, trial.output / kind)
        else:
            folder = other if way == "other" else trial.output
            second = trial.start(words=["faults_push:push_all", str(folder), str(self._number)])
            codes = [first.wait(), second.wait()]
        for run, code in enumerate(codes):
            check_words(code, trial.says(run))
        if way != "changes" and 0 not in codes:
            raise Wrong("cannot go on", f"both failed: {trial.says(0)[-200:]} {trial.says(1)[-200:]}")
        # Unless both push the same, the other version may have come last.
        return codes if way == "same" else [KILLED] * len(codes)

    def close(self) -> None:
        """End the Hub."""
        self._hub.close()


def _make(folder: Path, number: int) -> None:
    """Make a version of each kind."""
    torch.manual_seed(number)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BarcodeBertForMaskedLM(BarcodeBertConfig(kmer_size=3, **sizes))
    save_model(folder / "model", model, build_tokenizer(3))
    save_card(folder / "model", ModelCard(f"{_CARD}# Version {number}"))
    (folder / "dataset.release").mkdir()
    write_release(folder / "dataset.release", made_rows()[2 * number :])
    small_shards()
    convert(folder / "dataset.release", folder / "dataset")
    shutil.rmtree(folder / "dataset.release")
    save_dataset_card(folder / "dataset")
    table = write_table(folder / "table.csv", made_specimens(36 + 6 * number, 60))
    Library.build(load_specimens(table)).save(folder / "library")
    table.unlink()
    (folder / "library" / "README.md").write_text(f"{_CARD}# Version {number}")
    if number == 0:  # of the former model alone: a part that must go, and a file of somebody else, which stays
        (folder / "model" / "adapter_config.json").write_text("{}")
        (folder / "model" / "notes.md").write_text("notes")
