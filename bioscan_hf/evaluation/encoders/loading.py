"""Encoders by name: a baseline, a file of embeddings, or a model on the disk or the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer

from bioscan_hf.evaluation.encoders.barcodebert import BarcodeBertEncoder, check_tokenizer
from bioscan_hf.evaluation.encoders.base import Encoder
from bioscan_hf.evaluation.encoders.clibd import ClibdBarcodeEncoder, read_clibd
from bioscan_hf.evaluation.encoders.embedding_files import EMBEDDING_ENDINGS, holds_embeddings
from bioscan_hf.evaluation.encoders.hub import HubEncoder
from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts
from bioscan_hf.evaluation.encoders.model_files import ModelFiles, check_code, find_model, load_weights, takes_images
from bioscan_hf.evaluation.encoders.precision import Precision
from bioscan_hf.evaluation.encoders.precomputed import Precomputed
from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.barcodebert.modeling_barcodebert import BarcodeBertModel
from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig
from bioscan_hf.models.pretrained import DEFAULT_ENCODER, find_packaged

_KMERS = "kmer:"
_EXPECTED = (
    f"'{DEFAULT_ENCODER}', which comes with the package, '{_KMERS}4' for k-mer counts, a file of embeddings "
    f"({', '.join(EMBEDDING_ENDINGS)}), or the folder or Hub repository of a model"
)
# Layers of some encoders that do not take part in the last hidden state.
_UNUSED = ("pooler.", "contact_head.")


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
            repository of a model: a BarcodeBERT, a CLIBD, or another DNA model that transformers knows (see
            `HubEncoder`).
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
    path = Path(find_packaged(str(spec))).expanduser()
    if path.is_file() or (path.is_dir() and not (path / "config.json").is_file() and holds_embeddings(path)):
        _refuse_options(spec, precision, reading_frames)
        return Precomputed(path)
    source = find_model(spec, path, revision, expected=_EXPECTED)
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
    if source.config.get("model_type") == ClibdConfig.model_type:
        return _load_tower(source, options)
    return _load_other(source, options, trust_remote_code=trust_remote_code)


def _refuse_options(spec: str | Path, precision: str, reading_frames: int | None) -> None:
    if precision != "float32" or reading_frames is not None:
        raise ValueError(f"`precision` and `reading_frames` are for models; '{spec}' is none.")


def _load_barcodebert(source: ModelFiles, options: dict[str, Any]) -> BarcodeBertEncoder:
    # Never with the code in the repository: this package has it.
    model = load_weights(BarcodeBertModel, source, heads=False, unused=_UNUSED)
    if tokenizer := source.file("tokenizer.json"):
        check_tokenizer(model.config, tokenizer)
    return BarcodeBertEncoder(model, **options)


def _load_tower(source: ModelFiles, options: dict[str, Any]) -> ClibdBarcodeEncoder:
    model, _ = read_clibd(source)
    if "dna" not in model.config.modalities:
        raise ValueError(f"'{source.place}' has no tower for DNA, but for {', '.join(model.config.modalities)}.")
    return ClibdBarcodeEncoder(model, **options)


def _load_other(source: ModelFiles, options: dict[str, Any], *, trust_remote_code: bool) -> HubEncoder:
    check_code(source, trust_remote_code=trust_remote_code)
    model = load_weights(AutoModel, source, heads=True, unused=_UNUSED, trust_remote_code=trust_remote_code)
    if takes_images(model):
        raise ValueError(
            f"'{source.place}' is a model for images ({source.config.get('model_type')}), not for DNA; load it with "
            "`load_image_encoder`."
        )
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
