"""Results added to a model's repository: to the `model-index` of its card, and to `.eval_results`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import (
    CommitOperationAdd,
    EvalResult,
    EvalResultEntry,
    HfApi,
    ModelCard,
    ModelCardData,
    parse_eval_result_entries,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    RepositoryNotFoundError,
)

from bioscan_hf.evaluation.benchmarks.paper import TASK_IDS, TASK_RESULTS
from bioscan_hf.evaluation.results import Result
from bioscan_hf.hub.cards import model_index_entry
from bioscan_hf.hub.eval_results import EVAL_RESULTS, eval_entries, eval_yaml
from bioscan_hf.hub.push import ATTEMPTS, HUB_FAILURES, WAIT, check_can_push, one_line, retried

_CARD = "README.md"
_TASK = "feature-extraction"


def check_can_push_results(repo_id: str) -> None:
    """Find out before the work whether there is a repository to push results to.

    Raises:
        OSError: If there is no such repository, or no token for it.
        HFValidationError: If `repo_id` is no name of a repository (a `ValueError`).
    """
    check_can_push(repo_id)
    try:
        HfApi().model_info(repo_id)
    except RepositoryNotFoundError as error:
        raise OSError(
            f"There is no model '{repo_id}' on the Hub to add results to. Push the model first, or correct the name."
        ) from error
    except HFValidationError:
        raise
    except HUB_FAILURES as error:
        raise OSError(f"The Hub does not say whether there is a model '{repo_id}' ({one_line(error)}).") from error


def push_results(
    results: Sequence[Result],
    repo_id: str,
    *,
    tasks: bool = True,
    pull_request: bool = False,
    attempts: int = ATTEMPTS,
    wait: float = WAIT,
) -> str:
    """Add results to a model's repository, in one commit.

    Earlier results of the same question, metric, data and split are replaced; all others, and the text of the card,
    stay.

    Args:
        results: Of this model.
        repo_id: The repository, which must exist.
        tasks: Whether they were measured by the paper's protocol, so that they may stand in `.eval_results` as results
            of the tasks of the dataset's `eval.yaml`.
        pull_request: Whether to open a pull request instead of a commit.
        attempts: How often it is tried.
        wait: Seconds between the first two attempts; twice as long each time after that.

    Returns:
        Address of the commit or of the pull request.

    Raises:
        ValueError: If there are no results.
        OSError: If the Hub refuses or does not answer.
    """
    if not results:
        raise ValueError(f"There are no results to push to {repo_id}.")
    try:
        return retried(lambda: _push(results, repo_id, tasks, pull_request), attempts=attempts, wait=wait)
    except HUB_FAILURES as error:
        raise OSError(
            f"The push of {len(results)} results to {repo_id} failed ({one_line(error)}). They are in results.json; "
            "the same command pushes them again, and computes no embedding twice."
        ) from error
    except _MaybeOpenError as error:
        raise OSError(
            f"The Hub does not say whether it has opened the pull request to {repo_id} ({error}). Look at its "
            "discussions; if it is not there, the same command opens it."
        ) from error


def _push(results: Sequence[Result], repo_id: str, tasks: bool, pull_request: bool) -> str:
    api = HfApi()
    # Read and written at the same commit, so that nobody's change in between is lost.
    parent = api.model_info(repo_id).sha
    card = _read_card(api, repo_id, parent)
    data: Any = card.data
    data.model_name = data.model_name or repo_id
    data.eval_results = _merged(data.eval_results or [], [model_index_entry(r, _TASK) for r in results])
    files = {_CARD: str(card)}
    of_tasks = [result for result in results if tasks and (result.benchmark, result.metric) in TASK_RESULTS]
    if entries := eval_entries(of_tasks, TASK_IDS):
        path = str(EVAL_RESULTS)
        files[path] = eval_yaml(_merged_entries(_read_entries(api, repo_id, path, parent), entries))
    try:
        commit = api.create_commit(
            repo_id,
            [CommitOperationAdd(path, content.encode()) for path, content in files.items()],
            commit_message=f"Add {len(results)} evaluation results",
            parent_commit=parent,
            create_pr=pull_request,
        )
    except HTTPError as error:
        # A commit that was made is found at the next attempt; a second pull request would be opened beside the first.
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else 500
        refused = status < 500 or status == 503
        if pull_request and not refused:
            raise _MaybeOpenError(one_line(error)) from error
        raise
    return str(commit.pr_url or commit.commit_url)


class _MaybeOpenError(Exception):
    """The Hub does not say whether it has opened a pull request."""


def _read(api: HfApi, repo_id: str, path: str, revision: str | None) -> str | None:
    try:
        return Path(api.hf_hub_download(repo_id, path, revision=revision)).read_text(encoding="utf-8")
    except EntryNotFoundError:
        return None


def _read_card(api: HfApi, repo_id: str, revision: str | None) -> ModelCard:
    content = _read(api, repo_id, _CARD, revision)
    if content is None:
        card = ModelCard(f"---\n{ModelCardData(model_name=repo_id).to_yaml()}\n---\n")
        card.text = f"\n# {repo_id}\n"
        return card
    return ModelCard(content)


def _read_entries(api: HfApi, repo_id: str, path: str, revision: str | None) -> list[EvalResultEntry]:
    content = _read(api, repo_id, path, revision)
    return [] if content is None else parse_eval_result_entries(yaml.safe_load(content))


def _merged(old: Sequence[EvalResult], new: Sequence[EvalResult]) -> list[EvalResult]:
    def question(result: EvalResult) -> tuple[object, ...]:
        # The name of a metric of ours ends with the number of queries.
        name = (result.metric_name or "").rpartition(", ")[0]
        return (name, result.dataset_name, result.dataset_split, result.metric_type)

    replaced = {question(result) for result in new}
    return [*(result for result in old if question(result) not in replaced), *new]


def _merged_entries(old: Sequence[EvalResultEntry], new: Sequence[EvalResultEntry]) -> list[EvalResultEntry]:
    replaced = {(entry.dataset_id, entry.task_id) for entry in new}
    return [*(entry for entry in old if (entry.dataset_id, entry.task_id) not in replaced), *new]
