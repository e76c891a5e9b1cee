"""Model folders: written once, then pushed as they lie."""

from __future__ import annotations

import copy
import re
import shlex
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from json import JSONDecodeError
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.utils import get_session, validate_repo_id
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from bioscan_hf.data.whole_files import NO_SPACE
from bioscan_hf.hub.commits import commit, files_in, read_content
from bioscan_hf.hub.sentence_transformers import save_sentence_transformers_files

HUB_FAILURES: tuple[type[Exception], ...] = (HTTPError, OSError, RuntimeError, JSONDecodeError)
"""What a Hub that fails makes its client raise: hf_xet raises `RuntimeError`; a proxy may answer with no JSON."""

# Of a push that somebody waits for.
ATTEMPTS, WAIT = 4, 1.0
# The client would wait without end. A commit of many files is answered when it is done.
ANSWER_SECONDS = 300.0
CHECK_SECONDS = 30.0
OF_A_MODEL = re.compile(
    r"(adapter_)?model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?|adapter_config\.json|modules\.json"
)
"""Paths of files by which a model is loaded: those of a former one would be taken for parts of the new one."""

# Statuses of an overloaded Hub; the others below 500 say that the request is refused.
_LATER = (408, 429)

T = TypeVar("T")


def save_model(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | ProcessorMixin,
    *,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a model with its code and its tokenizer, so that the folder loads with and without this package.

    A BarcodeBERT opens in sentence-transformers, too, whichever class it has. Of a model with adapters (peft), these
    are written, with the configuration that the whole model has.

    Args:
        folder: Where the files go; it must not hold another model.
        model: Model with `auto_map` in its configuration.
        tokenizer: Its tokenizer, or its processor.
        weights: Tensors by name that are written instead of the model's own, all of them.

    Raises:
        OSError: If the files cannot be written.
    """
    options: dict[str, Any] = {} if weights is None else {"state_dict": dict(weights)}
    if hasattr(model, "peft_config"):
        options["save_embedding_layers"] = False  # else peft asks the Hub whether the base model has other tokens
    try:
        model.save_pretrained(folder, **options)
        tokenizer.save_pretrained(folder)
        if hasattr(model, "peft_config"):
            adapted: Any = model
            base = adapted.get_base_model()
            # By it the Auto classes choose among the classifiers; a whole model sets it when it is saved.
            config = copy.deepcopy(base.config)
            config.architectures = [type(base).__name__]
            # The adapter fits the whole base model, in however few bits that was held while it was trained.
            vars(config).pop("quantization_config", None)
            config.save_pretrained(folder)
        elif model.config.model_type == "barcodebert":
            save_sentence_transformers_files(folder)
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise
        raise OSError(f"The model cannot be written ({error}); free some space or choose another folder.") from error


def save_card(folder: Path, card: ModelCard) -> None:
    """Write a card beside a model."""
    (folder / "README.md").write_text(str(card), encoding="utf-8")


def check_can_push(repo_id: str) -> None:
    """Find out before a long run whether its result can be pushed.

    A Hub that does not answer, or answers that it is out of order, is no reason not to begin: it gives a warning.

    Args:
        repo_id: `name` or `namespace/name`.

    Raises:
        HFValidationError: If `repo_id` is not of that form (a `ValueError`).
        OSError: If there is no token, or the Hub does not know it.
    """
    validate_repo_id(repo_id)
    try:
        with answers_within(CHECK_SECONDS):
            HfApi().whoami()
    except (HTTPError, JSONDecodeError) as error:
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        if status is not None and status < 500 and status not in _LATER:
            raise
        warnings.warn(
            f"The Hub does not answer now ({one_line(error)}). The work begins all the same; the push to {repo_id} is "
            "tried when there is something to push.",
            stacklevel=2,
        )


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    private: bool = False,
    ignore: Sequence[str] = (),
    former: re.Pattern[str] = OF_A_MODEL,
    attempts: int = ATTEMPTS,
    wait: float = WAIT,
) -> str:
    """Push a model folder to the main branch of a repository, and try again if the Hub fails.

    The files come in one commit. Killed at any moment, the repository holds what it held before, or the whole folder.

    Args:
        folder: What `save_model` and `save_card` wrote.
        repo_id: Repository, made if need be.
        private: Whether a new repository is private.
        ignore: Patterns of paths in `folder` that are not pushed.
        former: Of the files of the repository, those that are removed if `folder` does not have them.
        attempts: How often it is tried.
        wait: Seconds between the first two attempts; twice as long each time after that.

    Returns:
        Address of the commit.

    Raises:
        OSError: If the Hub refuses or does not answer; the message says how to push again. The folder stays as it is.
    """
    try:
        send = partial(upload, folder, repo_id, private=private, ignore=ignore, former=former)
        return retried(send, attempts=attempts, wait=wait)
    except HUB_FAILURES as error:
        command = upload_command(folder, repo_id, private=private, ignore=ignore)
        raise OSError(
            f"The push to {repo_id} failed ({one_line(error)}). The model is complete in '{folder}'; "
            f"`{command}` pushes it again."
        ) from error


def upload(
    folder: Path,
    repo_id: str,
    *,
    private: bool = False,
    ignore: Sequence[str] = (),
    branch: str | None = None,
    former: re.Pattern[str] = OF_A_MODEL,
) -> str:
    """Upload a folder, once and in one commit: whoever loads the repository gets the former files or the new ones.

    Args:
        folder: The folder.
        repo_id: Repository, made if need be.
        private: Whether a new repository is private.
        ignore: Patterns of paths in `folder` that are left out.
        branch: Branch, made if need be, which then holds these files and no others. By default the main one, where
            other files stay.
        former: Of the files of the main branch, those that are removed if `folder` does not have them.

    Returns:
        Address of the commit.

    Raises:
        HTTPError: If the Hub refuses or does not answer within `ANSWER_SECONDS`, or somebody else has pushed at the
            same time; see `HUB_FAILURES` for the others.
    """
    api = HfApi()
    with answers_within(ANSWER_SECONDS):
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if branch is not None:
            # It begins as the repository did, empty: the files of the main branch are another model's.
            first = api.list_repo_commits(repo_id)[-1].commit_id
            api.create_branch(repo_id, branch=branch, revision=first, exist_ok=True)
        there = api.model_info(repo_id, revision=branch)
        files = files_in(folder, ignore)
        others = {str(file.rfilename) for file in there.siblings or ()} - {".gitattributes", *files}
        return commit(
            api,
            repo_id,
            read_content(files),
            parent=str(there.sha),
            message="Upload model and card" if branch is None else f"Upload {branch}",
            deleted=sorted(name for name in others if branch is not None or former.fullmatch(name)),
            revision=branch,
        )


def upload_command(
    folder: Path, repo_id: str, *, private: bool = False, ignore: Sequence[str] = (), branch: str | None = None
) -> str:
    """The command line of `hf` that does what `upload` does with the same arguments."""
    words = ["hf", "upload", repo_id, str(folder)]
    words += ["--private"] if private else []
    words += ["--revision", branch, "--delete", "*"] if branch is not None else []
    words += [word for pattern in ignore for word in ("--exclude", pattern)]
    return shlex.join(words)


def retried(call: Callable[[], T], *, attempts: int, wait: float) -> T:
    """Call until the Hub does not fail.

    All failures are alike: of a Hub in trouble, or of a proxy before it, a refusal may be as passing as a time-out.

    Args:
        call: What to do; it must not matter if it was done before.
        attempts: How often, 1 or more.
        wait: Seconds after the first failure; twice as long after each further one.

    Returns:
        What `call` returns.

    Raises:
        Exception: One of `HUB_FAILURES` in the last attempt, anything else at once.
    """
    for attempt in range(attempts - 1):
        try:
            return call()
        except HUB_FAILURES:
            time.sleep(wait * 2**attempt)
    return call()


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip()


@contextmanager
def answers_within(seconds: float) -> Iterator[None]:
    """Let the client wait that long for a sign of life, unless the user has given it another limit.

    Args:
        seconds: The limit.
    """
    client = get_session()
    before = client.timeout
    if before.read is None:
        client.timeout = seconds
    try:
        yield
    finally:
        client.timeout = before
