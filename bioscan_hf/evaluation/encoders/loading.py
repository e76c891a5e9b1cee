"""Encoders by name: a baseline, a file of embeddings, or a model on the disk or the Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from transformers import AutoModel, AutoTokenizer, PreTrainedModel

from bioscan_hf.data.files import digest
from bioscan_hf.evaluation.encoders.barcodebert import BarcodeBertEncoder, check_tokenizer
from bioscan_hf.evaluation.encoders.base import Encoder
from bioscan_hf.evaluation.encoders.embedding_files import EMBEDDING_ENDINGS, holds_embeddings
from bioscan_hf.evaluation.encoders.hub import HubEncoder
from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts
from bioscan_hf.evaluation.encoders.precision import Precision
from bioscan_hf.evaluation.encoders.precomputed import Precomputed
from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.barcodebert.modeling_barcodebert import BarcodeBertModel
from bioscan_hf.models.pretrained import DEFAULT_ENCODER, packaged_encoder

_KMERS = "kmer:"
_EXPECTED = (
    f"'{DEFAULT_ENCODER}', which comes with the package, '{_KMERS}4' for k-mer counts, a file of embeddings "
    f"({', '.join(EMBEDDING_ENDINGS)}), or the folder or Hub repository of a model"
)
_ELSEWHERE = "Compute the embeddings with its own code, and give the file (see `bioscan_hf.Precomputed`)"
# Layers of some encoders that do not take part in the last hidden state.
_UNUSED = ("pooler.", "contact_head.")
_SHOWN = 6


def load_encoder(
    spec: str | Path,
    *,
    precision: Precision = "float32",
    batch_size: int | None = None,
    reading_frames: int | None = None,
    device: str | torch.device | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Encoder:
    """Load an encoder.

    Args:
        spec: `barcodebert-small`, which comes with the package; `kmer:4` for counts of 4-mers; a `.parquet`, `.npz` or
            `.safetensors` file of embeddings, or a folder of the first (see `Precomputed`); or the folder or the Hub
            repository of a model: a BarcodeBERT, or another DNA model that transformers knows (see `HubEncoder`).
        precision: Of a model: `float32`, `bfloat16` or `int8` (see `ModelEncoder`).
        batch_size: Of a model: barcodes in a forward pass.
        reading_frames: Of a model: starts over which a vector is the mean (see `ModelEncoder`); by default as its
            configuration says.
        device: Of a model: where it computes; by default a GPU if there is one.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Whether to run code in the repository of a model that needs its own.

    Returns:
        The encoder; its `revision` is the commit of a repository, or the digest of a folder's weights or of a file.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        OSError: If there is no such repository, or the Hub does not answer.
        ValueError: If `spec` is none of these, an argument does not fit it, weights are missing or surplus, the
            tokenizer does not belong to the model, or the model needs code of its own.
    """
    if isinstance(spec, str) and spec.startswith(_KMERS):
        _refuse_options(spec, precision, reading_frames)
        k = spec.removeprefix(_KMERS)
        if not k.isdecimal():
            raise ValueError(f"'{spec}' is no encoder; expected {_EXPECTED}.")
        return KmerCounts(int(k))
    path = Path(spec).expanduser()
    if spec == DEFAULT_ENCODER and not path.exists():
        path = packaged_encoder()
    if path.is_file() or (path.is_dir() and not (path / "config.json").is_file() and holds_embeddings(path)):
        _refuse_options(spec, precision, reading_frames)
        return Precomputed(path)
    source = _find(spec, path, revision)
    options = {
        "precision": precision,
        "batch_size": batch_size,
        "reading_frames": reading_frames,
        "device": device or ("cuda" if torch.cuda.is_available() else "cpu"),
        "name": source.name,
        "revision": source.revision,
    }
    if source.config.get("model_type") == BarcodeBertConfig.model_type:
        return _load_barcodebert(source, options)
    return _load_other(source, options, trust_remote_code=trust_remote_code)


class _Source(NamedTuple):
    """Where a model lies.

    Attributes:
        place: Folder, or repository.
        commit: Of the repository; None for a folder.
        name: How tables call the model.
        revision: The commit, or the digest of the weights.
        config: Its config.json.
        tokenizer: Its tokenizer.json, if there is one.
    """

    place: str
    commit: str | None
    name: str
    revision: str
    config: dict[str, Any]
    tokenizer: Path | None


def _refuse_options(spec: str | Path, precision: str, reading_frames: int | None) -> None:
    if precision != "float32" or reading_frames is not None:
        raise ValueError(f"`precision` and `reading_frames` are for models; '{spec}' is none.")


def _find(spec: str | Path, path: Path, revision: str | None) -> _Source:
    if path.is_dir():
        return _find_folder(path)
    if isinstance(spec, Path) or path.suffix.lower() in EMBEDDING_ENDINGS or spec.startswith((".", "/", "~")):
        raise FileNotFoundError(f"No such file or folder: '{path}'. Expected {_EXPECTED}.")
    try:
        config = Path(hf_hub_download(spec, "config.json", revision=revision))
    except HFValidationError as error:
        raise ValueError(f"'{spec}' is no encoder; expected {_EXPECTED}.") from error
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise OSError(
            f"'{spec}' is no folder, and cannot be loaded from the Hub ({reason}). Expected {_EXPECTED}."
        ) from error
    # All else is read at the same commit, whose name is that of the folder in the cache.
    commit = config.parent.name
    try:
        tokenizer = Path(hf_hub_download(spec, "tokenizer.json", revision=commit))
    except EntryNotFoundError:
        tokenizer = None
    return _Source(spec, commit, spec, commit, _read_config(config), tokenizer)


def _find_folder(folder: Path) -> _Source:
    config, tokenizer = folder / "config.json", folder / "tokenizer.json"
    if not config.is_file():
        raise ValueError(f"The folder '{folder}' has no config.json, nor embeddings in Parquet; expected {_EXPECTED}.")
    weights = sorted([*folder.glob("model*.safetensors"), *folder.glob("pytorch_model*.bin")])
    if not weights:
        raise ValueError(f"The folder '{folder}' has no weights: neither model.safetensors nor pytorch_model.bin.")
    return _Source(
        place=str(folder),
        commit=None,
        name=folder.resolve().name,
        revision=digest(*weights),
        config=_read_config(config),
        tokenizer=tokenizer if tokenizer.is_file() else None,
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"'{path}' is no configuration of a model ({error}).") from error


def _load_barcodebert(source: _Source, options: dict[str, Any]) -> BarcodeBertEncoder:
    # Never with the code in the repository: this package has it.
    model = _load_weights(BarcodeBertModel, source, heads=False)
    if source.tokenizer:
        check_tokenizer(model.config, source.tokenizer)
    return BarcodeBertEncoder(model, **options)


def _load_other(source: _Source, options: dict[str, Any], *, trust_remote_code: bool) -> HubEncoder:
    if "auto_map" in source.config and not trust_remote_code:
        raise ValueError(
            f"'{source.place}' needs code of its own ({', '.join(map(str, source.config['auto_map'].values()))}), "
            "which may not run with this transformers. If you trust it, allow it with `trust_remote_code=True`. Else: "
            f"{_ELSEWHERE}."
        )
    model = _load_weights(AutoModel, source, heads=True, trust_remote_code=trust_remote_code)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source.place, revision=source.commit or "main", trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"The tokenizer of '{source.place}' cannot be loaded ({error}). A checkpoint of BarcodeBERT's own code is "
            f"converted first: `bioscan convert barcodebert {source.place} FOLDER`, then give FOLDER."
        ) from error
    return HubEncoder(model, tokenizer, **options)


def _load_weights(loader: Any, source: _Source, *, heads: bool, **options: Any) -> PreTrainedModel:
    """Load an encoder in float32, and make sure that all its weights are there, and no others.

    Args:
        loader: Has `from_pretrained`.
        source: Where it lies.
        heads: Whether weights outside the encoder are left out as those of a head. Otherwise the class knows its heads.
        **options: For `from_pretrained`.
    """
    try:
        model, report = loader.from_pretrained(
            source.place, revision=source.commit or "main", dtype=torch.float32, output_loading_info=True, **options
        )
    except (RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"'{source.place}' cannot be loaded: {error}") from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(_UNUSED))
    surplus = sorted(key for key in report["unexpected_keys"] if not (heads and _is_outside(model, key)))
    if missing or surplus:
        raise ValueError(
            f"The weights of '{source.place}' are not those of a {type(model).__name__} with its config.json: "
            f"{_some(missing)} missing, {_some(surplus)} surplus. With such gaps filled at random embeddings mean "
            f"nothing. If the model was made with other code: {_ELSEWHERE}."
        )
    return model


def _is_outside(model: PreTrainedModel, key: str) -> bool:
    """Whether a weight is none of the encoder's, but of a head."""
    name = key.removeprefix(f"{model.base_model_prefix}.")
    return name.split(".")[0] not in dict(model.named_children())


def _some(keys: list[str]) -> str:
    if not keys:
        return "none"
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"{len(keys)} ({', '.join(keys[:_SHOWN])}{more})"
