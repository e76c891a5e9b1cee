"""Models on the disk or the Hub: where they lie, and their weights, complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    StrictDataclassError,
)
from huggingface_hub.utils import validate_repo_id
from transformers import PreTrainedModel

from bioscan_hf.data.files import digest
from bioscan_hf.evaluation.encoders.embedding_files import EMBEDDING_ENDINGS
from bioscan_hf.models.bounded import bounded, most_numbers

OTHER_CODE = "Compute the embeddings with its own code, and give the file (see `bioscan_hf.Precomputed`)"
"""What to do with a model that is not read here."""

_SHOWN = 6
# Classes for which transformers makes a name each, if a configuration has none.
_MOST_CLASSES = 1_000_000


class ModelFiles(NamedTuple):
    """Where a model lies.

    Attributes:
        place: Folder, or repository.
        commit: Of the repository; None for a folder.
        name: How tables call the model.
        revision: The commit, or the digest of the weights.
        config: Its config.json.
    """

    place: str
    commit: str | None
    name: str
    revision: str
    config: dict[str, Any]

    @property
    def most_numbers(self) -> int:
        """More numbers than its weights have: of a repository, which is not yet here, as fit into the memory."""
        if self.commit is not None:
            return most_numbers()
        # Weights of four bits have two numbers in a byte.
        return 2 * sum(path.stat().st_size for path in _weights_in(Path(self.place)))

    def file(self, name: str) -> Path | None:
        """Another file of the model; None if there is none."""
        if self.commit is None:
            path = Path(self.place) / name
            return path if path.is_file() else None
        try:
            return Path(hf_hub_download(self.place, name, revision=self.commit))
        except EntryNotFoundError:
            return None


def find_model(
    spec: str | Path, path: Path, revision: str | None, *, expected: str, ownerless: bool = False
) -> ModelFiles:
    """Find a model.

    Args:
        spec: Folder or repository, as it was given.
        path: The same as a path.
        revision: Branch, tag or commit on the Hub.
        expected: What may be given, for the messages.
        ownerless: Whether a repository may have no owner in its name, as `bert-base-uncased`. Else such a name is a
            mistake, which is told without asking the Hub.

    Raises:
        FileNotFoundError: If `spec` can be a path only, and nothing is there.
        OSError: If there is no such repository, or the Hub does not answer.
        ValueError: If it is neither, a file, or the folder lacks weights or a configuration.
    """
    if path.is_dir():
        return _find_folder(path, expected)
    if path.is_file():
        raise ValueError(f"'{spec}' is a file; expected {expected}.")
    if isinstance(spec, Path) or path.suffix.lower() in EMBEDDING_ENDINGS or spec.startswith((".", "/", "~")):
        raise FileNotFoundError(f"No such file or folder: '{path}'. Expected {expected}.")
    try:
        validate_repo_id(spec)
        if "/" not in spec and not ownerless:
            raise FileNotFoundError(f"No such file or folder: '{spec}'. Expected {expected}.")
        config = Path(hf_hub_download(spec, "config.json", revision=revision))
    except HFValidationError as error:
        raise ValueError(f"'{spec}' is no encoder; expected {expected}.") from error
    except (HTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise OSError(
            f"'{spec}' is no folder, and cannot be loaded from the Hub ({reason}). Expected {expected}."
        ) from error
    # All else is read at the same commit, whose name is that of the folder in the cache.
    commit = config.parent.name
    return ModelFiles(spec, commit, spec, commit, read_json(config))


def _find_folder(folder: Path, expected: str) -> ModelFiles:
    config = folder / "config.json"
    if not config.is_file():
        raise ValueError(f"The folder '{folder}' has no config.json, nor embeddings in Parquet; expected {expected}.")
    weights = _weights_in(folder)
    if not weights:
        raise ValueError(f"The folder '{folder}' has no weights: neither model.safetensors nor pytorch_model.bin.")
    return ModelFiles(
        place=str(folder),
        commit=None,
        name=folder.resolve().name,
        revision=digest(*weights),
        config=read_json(config),
    )


def _weights_in(folder: Path) -> list[Path]:
    return sorted([*folder.glob("model*.safetensors"), *folder.glob("pytorch_model*.bin")])


def read_json(path: Path) -> dict[str, Any]:
    """Read a configuration.

    Raises:
        ValueError: If it is no JSON object, or asks for what no model needs: an absurd number of classes, or code for
            the attention that would be downloaded.
    """
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"'{path}' is no configuration of a model ({error}).") from error
    for part in (config, *(part for part in config.values() if isinstance(part, dict))):
        classes = part.get("num_labels")
        if isinstance(classes, int) and classes > _MOST_CLASSES:
            raise ValueError(f"'{path}' is no configuration of a model: it has {classes:,} classes.")
        attention = part.get("attn_implementation", part.get("_attn_implementation"))
        if "/" in str(attention):
            raise ValueError(f"'{path}' asks for code from elsewhere ({attention!r:.80}), which is not run.")
    return config


def check_code(source: ModelFiles, *, trust_remote_code: bool) -> None:
    """Refuse a model that needs code of its own, unless it may run.

    Raises:
        ValueError: If it may not.
    """
    if source.config.get("auto_map") is not None and not trust_remote_code:
        named = source.config["auto_map"]
        classes = ", ".join(map(str, named.values() if isinstance(named, dict) else [named]))
        raise ValueError(
            f"'{source.place}' needs code of its own ({classes}), "
            "which may not run with this transformers. If you trust it, allow it with `trust_remote_code=True`. Else: "
            f"{OTHER_CODE}."
        )


def load_weights(
    loader: Any, source: ModelFiles, *, heads: bool, unused: tuple[str, ...] = (), **options: Any
) -> PreTrainedModel:
    """Load an encoder in float32, and make sure that all its weights are there, and no others.

    Args:
        loader: Has `from_pretrained`.
        source: Where it lies.
        heads: Whether weights outside the encoder are left out as those of a head. Otherwise the class knows its heads.
        unused: Beginnings of the names of weights that do not take part in the embedding, and may be missing.
        **options: For `from_pretrained`.

    Raises:
        ValueError: If weights are missing, surplus, or of other shapes, or its config.json makes no model.
        OSError: If it cannot be read.
        ImportError: If it needs a package that is not installed.
    """
    try:
        with bounded(source.most_numbers):
            model, report = loader.from_pretrained(
                source.place, revision=source.commit or "main", dtype=torch.float32, output_loading_info=True, **options
            )
    except (OSError, ImportError):
        raise
    except StrictDataclassError as error:
        raise ValueError(f"The config.json of '{source.place}' makes no model: {error.__cause__ or error}") from error
    # What a class does with a configuration that is none is not foreseeable.
    except Exception as error:
        raise ValueError(f"'{source.place}' cannot be loaded: {error}") from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(unused))
    surplus = sorted(key for key in report["unexpected_keys"] if not (heads and _is_outside(model, key)))
    if missing or surplus:
        raise ValueError(
            f"The weights of '{source.place}' are not those of a {type(model).__name__} with its config.json: "
            f"{_some(missing)} missing, {_some(surplus)} surplus. With such gaps filled at random embeddings mean "
            f"nothing. If the model was made with other code: {OTHER_CODE}."
        )
    return model


def takes_images(model: PreTrainedModel) -> bool:
    """Whether a model embeds images, alone or beside texts."""
    return hasattr(model, "get_image_features") or model.main_input_name == "pixel_values"


def _is_outside(model: PreTrainedModel, key: str) -> bool:
    """Whether a weight is none of the encoder's, but of a head."""
    name = key.removeprefix(f"{model.base_model_prefix}.")
    return name.split(".")[0] not in dict(model.named_children())


def _some(keys: list[str]) -> str:
    if not keys:
        return "none"
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"{len(keys)} ({', '.join(keys[:_SHOWN])}{more})"
