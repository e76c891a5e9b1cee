"""Encoders of images by name: pixels, a file of embeddings, or a vision model on the disk or the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModel

from bioscan_hf.evaluation.encoders.base import Encoder
from bioscan_hf.evaluation.encoders.clibd import clibd_preprocessing, read_clibd
from bioscan_hf.evaluation.encoders.embedding_files import EMBEDDING_ENDINGS, holds_embeddings
from bioscan_hf.evaluation.encoders.image_inputs import Preprocessing, read_preprocessing
from bioscan_hf.evaluation.encoders.image_pooling import Pooling
from bioscan_hf.evaluation.encoders.images import ImageEncoder, ImagePrecision
from bioscan_hf.evaluation.encoders.model_files import (
    OTHER_CODE,
    ModelFiles,
    check_code,
    find_model,
    load_weights,
    read_json,
    takes_images,
)
from bioscan_hf.evaluation.encoders.pixels import PixelEncoder
from bioscan_hf.evaluation.encoders.precomputed import Precomputed
from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig
from bioscan_hf.models.pretrained import find_packaged

_PIXELS = "pixels:"
_EXPECTED = (
    f"'{_PIXELS}16' for 16 x 16 pixels, a file of embeddings ({', '.join(EMBEDDING_ENDINGS)}), or the folder or Hub "
    "repository of a vision model of transformers"
)
_CHECKPOINTS = (".pth", ".pt", ".ckpt", ".tar", ".bin")
_OTHER_CHECKPOINT = (
    "weights of timm and torch.hub are not read here. Take the same model in the layout of transformers, such as "
    f"'facebook/dino-vitb16'. Else: {OTHER_CODE}."
)
# CLIP's part for images with its projection, which `AutoModel` leaves out.
_WITH_PROJECTION = "VisionModelWithProjection"


def load_image_encoder(
    spec: str | Path,
    *,
    pooling: Pooling = "auto",
    precision: ImagePrecision = "float32",
    batch_size: int | None = None,
    device: str | torch.device | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Encoder:
    """Load an encoder of images.

    Args:
        spec: `pixels:16` for pixels averaged to 16 x 16; a `.parquet`, `.npz` or `.safetensors` file of embeddings, or
            a folder of the first (see `Precomputed`); or the folder or Hub repository of a vision model, with or
            without head: what `AutoModel` loads, such as `facebook/dino-vitb16`, `openai/clip-vit-base-patch16` or
            `facebook/vit-mae-base`, or of a CLIBD, of which the tower for images computes. Mean, deviation and size are
            those of its image processor.
        pooling: Of a model: what the embedding is: `auto`, `cls` or `mean` (see `image_pooling.PooledModel`).
        precision: Of a model: `float32` or `bfloat16`.
        batch_size: Of a model: images in a forward pass.
        device: Of a model: where it computes; by default a GPU if there is one.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Whether to run code in the repository of a model that needs its own.

    Returns:
        The encoder; its `revision` is the commit of a repository, or the digest of a folder's weights or of a file.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        OSError: If there is no such repository, or the Hub does not answer.
        ValueError: If `spec` is none of these, an argument does not fit it, weights are missing or surplus, it is no
            model for images, or the model needs code of its own.
    """
    if isinstance(spec, str) and spec.startswith(_PIXELS):
        _refuse_options(spec, pooling, precision)
        squares = spec.removeprefix(_PIXELS)
        if not squares.isdecimal():
            raise ValueError(f"'{spec}' is no encoder; expected {_EXPECTED}.")
        return PixelEncoder(int(squares))
    path = Path(find_packaged(str(spec))).expanduser()
    if path.suffix.lower() in _CHECKPOINTS:
        raise ValueError(f"'{spec}' is no encoder: {_OTHER_CHECKPOINT}")
    if path.is_file() or (path.is_dir() and not (path / "config.json").is_file() and holds_embeddings(path)):
        _refuse_options(spec, pooling, precision)
        return Precomputed(path)
    source = find_model(spec, path, revision, expected=_EXPECTED)
    if source.config.get("model_type", "timm_wrapper") == "timm_wrapper":
        raise ValueError(f"The config.json of '{source.place}' is none of transformers: {_OTHER_CHECKPOINT}")
    if source.config["model_type"] == BarcodeBertConfig.model_type:
        raise ValueError(_no_images(source))
    if source.config["model_type"] == ClibdConfig.model_type:
        return _load_tower(source, pooling=pooling, precision=precision, batch_size=batch_size, device=device)
    check_code(source, trust_remote_code=trust_remote_code)
    model = load_weights(
        _loader(source.config), source, heads=True, unused=_unused(source.config), trust_remote_code=trust_remote_code
    )
    if not takes_images(model):
        raise ValueError(_no_images(source))
    return ImageEncoder(
        model,
        _preprocessing(source, model.config),
        pooling=pooling,
        precision=precision,
        batch_size=batch_size,
        device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
        name=source.name,
        revision=source.revision,
    )


def _load_tower(source: ModelFiles, **options: Any) -> ImageEncoder:
    model, processor = read_clibd(source)
    if "image" not in model.config.modalities:
        raise ValueError(f"'{source.place}' has no tower for images, but for {', '.join(model.config.modalities)}.")
    options["device"] = options["device"] or ("cuda" if torch.cuda.is_available() else "cpu")
    preprocessing = clibd_preprocessing(processor, model.config)
    return ImageEncoder(model, preprocessing, name=source.name, revision=source.revision, **options)


def _refuse_options(spec: str | Path, pooling: str, precision: str) -> None:
    if pooling != "auto" or precision != "float32":
        raise ValueError(f"`pooling` and `precision` are for models; '{spec}' is none.")


def _no_images(source: ModelFiles) -> str:
    return (
        f"'{source.place}' is no model for images, but of the type {source.config['model_type']!r}. Models for DNA are "
        "loaded with `load_encoder`."
    )


def _loader(config: dict[str, Any]) -> Any:
    (architecture, *_) = config.get("architectures") or [""]
    return getattr(transformers, architecture, AutoModel) if architecture.endswith(_WITH_PROJECTION) else AutoModel


def _unused(config: dict[str, Any]) -> tuple[str, ...]:
    # The pooler of a ViT takes no part in the embedding, that of a BEiT with mean pooling does.
    return () if config.get("use_mean_pooling") else ("pooler.",)


def _preprocessing(source: ModelFiles, config: Any) -> Preprocessing:
    config = getattr(config, "vision_config", config)
    if file := source.file("preprocessor_config.json"):
        return read_preprocessing(read_json(file), config, source=file.name)
    # Since transformers 5 the processor of several modalities is one file.
    if (file := source.file("processor_config.json")) and (found := read_json(file).get("image_processor")):
        return read_preprocessing(found, config, source=file.name)
    return read_preprocessing(None, config, source="")
