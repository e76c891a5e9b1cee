"""Model folders: written once, then pushed as they lie."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import HTTPError
from huggingface_hub.utils import validate_repo_id
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bioscan_hf.hub.sentence_transformers import save_sentence_transformers_files


def save_model(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a model with its code and its tokenizer, so that the folder loads with and without this package.

    A BarcodeBERT opens in sentence-transformers, too, whichever class it has.

    Args:
        folder: Where the files go; it must not hold another model.
        model: Model with `auto_map` in its configuration.
        tokenizer: Its tokenizer.

    Raises:
        OSError: If the files cannot be written.
    """
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if model.config.model_type == "barcodebert":
            save_sentence_transformers_files(folder)
    except (OSError, SafetensorError) as error:
        raise OSError(f"The model cannot be written ({error}); free some space or choose another folder.") from error


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
        OSError: If the Hub refuses or does not answer; the message says how to push again. The folder stays as it is.
    """
    api = HfApi()
    try:
        repo = api.create_repo(repo_id, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repo.repo_id, folder_path=folder, commit_message="Upload model and card"))
    except HTTPError as error:
        reason = str(error).strip().splitlines()[0]
        raise OSError(
            f"The push to {repo_id} failed ({reason}). The model is complete in '{folder}'; "
            f"`hf upload {repo_id} {folder}` pushes it again."
        ) from error
