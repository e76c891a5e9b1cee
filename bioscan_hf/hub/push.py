"""Model folders: written once, then pushed as they lie."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, ModelCard
from huggingface_hub.utils import validate_repo_id
from transformers import PreTrainedModel, PreTrainedTokenizerBase


def save_model(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a model with its code and its tokenizer, so that the folder loads with and without this package.

    Args:
        folder: Where the files go; it must not hold another model.
        model: Model with `auto_map` in its configuration.
        tokenizer: Its tokenizer.
    """
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_card(folder: Path, card: ModelCard) -> None:
    """Write a card beside a model."""
    (folder / "README.md").write_text(str(card), encoding="utf-8")


def check_can_push(repo_id: str) -> None:
    """Find out before a long run whether its result can be pushed.

    Args:
        repo_id: `name` or `namespace/name`.

    Raises:
        HFValidationError: If `repo_id` is not of that form (a `ValueError`).
        HfHubHTTPError: If the Hub does not know the token (an `OSError`).
    """
    validate_repo_id(repo_id)
    HfApi().whoami()


def push_folder(folder: Path, repo_id: str, *, private: bool = False) -> str:
    """Push a model folder to the Hub in one go.

    Args:
        folder: What `save_model` and `save_card` wrote.
        repo_id: Repository, made if need be.
        private: Whether a new repository is private.

    Returns:
        Address of the commit.

    Raises:
        HfHubHTTPError: If the Hub refuses.
    """
    api = HfApi()
    repo = api.create_repo(repo_id, private=private, exist_ok=True)
    return str(api.upload_folder(repo_id=repo.repo_id, folder_path=folder, commit_message="Upload model and card"))
