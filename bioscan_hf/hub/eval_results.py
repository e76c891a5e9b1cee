"""Results in `.eval_results`, from where the Hub shows them on the model's page and on the benchmark's leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from bioscan_hf.evaluation.results import Result

EVAL_RESULTS = Path(".eval_results") / "bioscan_hf.yaml"
"""Path in a model folder."""


def save_eval_results(folder: Path, results: Sequence[Result], task_ids: Mapping[str, str]) -> Path | None:
    """Write those results of a model that belong to tasks of a benchmark on the Hub.

    Args:
        folder: The model folder, to be pushed afterwards.
        results: Results of this model alone, not of baselines: the Hub shows each as the model's own. One per task.
        task_ids: By name of the benchmark (`Result.benchmark`): the task's id in `eval.yaml` of the dataset. Results of
            others, and on data that are not on the Hub, are left out.

    Returns:
        The file; None if nothing was to be written, and then an older one is removed.

    Raises:
        ValueError: If there are two results for one task.
        OSError: If the file cannot be written.
    """
    entries = eval_entries(results, task_ids)
    path = folder / EVAL_RESULTS
    if not entries:
        path.unlink(missing_ok=True)
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(eval_yaml(entries), encoding="utf-8")
    return path


def eval_entries(results: Sequence[Result], task_ids: Mapping[str, str]) -> list[EvalResultEntry]:
    """Those results that belong to tasks of a benchmark on the Hub, as it has them.

    Args:
        results: As in `save_eval_results`.
        task_ids: As in `save_eval_results`.

    Raises:
        ValueError: If there are two results for one task.
    """
    entries: dict[tuple[str, str], EvalResultEntry] = {}
    for result in results:
        if result.benchmark not in task_ids or not is_hub_id(result.dataset):
            continue
        key = (result.dataset, task_ids[result.benchmark])
        if key in entries:
            raise ValueError(
                f"One result was expected for the task {key[1]} of {key[0]}, and there is a second ({result.metric} of "
                f"{result.model}); leave out those of other models and metrics."
            )
        entries[key] = _entry(result, key[1])
    return list(entries.values())


def eval_yaml(entries: Sequence[EvalResultEntry]) -> str:
    """Content of a file in `.eval_results`."""
    content: str = yaml.safe_dump(eval_result_entries_to_yaml(list(entries)), sort_keys=False, allow_unicode=True)
    return content


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a repository with its namespace, `namespace/name`."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def _entry(result: Result, task_id: str) -> EvalResultEntry:
    # A `source` must be an address, such as that of a log; the command, which has none, is a note.
    return EvalResultEntry(
        dataset_id=result.dataset,
        task_id=task_id,
        value=float(result.value),  # YAML knows no numbers of numpy
        dataset_revision=result.dataset_revision,
        date=datetime.now(UTC).date().isoformat(),
        notes=f"{result.metric}, {result.count:,} queries of {result.split}; `{result.command}`",
    )
