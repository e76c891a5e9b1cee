"""Embeddings of images by a vision model that transformers knows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel

from bioscan_hf.data.pixels import normalise
from bioscan_hf.evaluation.encoders.base import Report
from bioscan_hf.evaluation.encoders.image_inputs import Preprocessing, pixels_of
from bioscan_hf.evaluation.encoders.image_pooling import PooledModel, Pooling
from bioscan_hf.evaluation.encoders.model import weights_digest
from bioscan_hf.evaluation.encoders.model_files import takes_images
from bioscan_hf.evaluation.encoders.precision import in_precision

ImagePrecision = Literal["float32", "bfloat16"]


class ImageEncoder:
    """Computes vectors with a vision model, batch by batch.

    Attributes:
        name: How tables and cards call it.
        revision: Digest or commit of its weights; None if they come from no file.
        dimension: D.
        model: What computes: the given model, its part for images, or a copy in another precision or on another device.
        pooling: What the vector is: `projection`, `pooler`, `cls` or `mean` (see `image_pooling.PooledModel`).
        preprocessing: What is done to an image before.
        precision: Its precision.
        batch_size: Images in a forward pass.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        preprocessing: Preprocessing | None = None,
        *,
        pooling: Pooling = "auto",
        precision: ImagePrecision = "float32",
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        name: str | None = None,
        revision: str | None = None,
    ) -> None:
        """Prepare a model.

        Args:
            model: As `AutoModel` loads it; is not changed, and stays in the mode it is in.
            preprocessing: By default 224 pixels, normalised by the mean and deviation of ImageNet.
            pooling: What the embedding is: `auto`, by the kind of the model, the `cls` token, or the `mean` over the
                patches (see `image_pooling.PooledModel`).
            precision: `float32` or `bfloat16`. Vectors are float32 in any case.
            batch_size: Images in a forward pass; by default 16 on a CPU, whose caches hold little more, else 256.
            device: Where to compute; by default where the model is.
            name: How tables and cards call it; by default where the model was loaded from, or its type.
            revision: Digest or commit of its weights.

        Raises:
            ValueError: If it is no model for images, does not take images of this size or give this embedding, or an
                argument is out of range.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1; got {batch_size}.")
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"`precision` of a model for images must be 'float32' or 'bfloat16'; got {precision!r}.")
        if not takes_images(model):
            raise ValueError(f"Expected a model for images; got a model of the type {model.config.model_type!r}.")
        self.preprocessing = preprocessing or Preprocessing()
        self._pooled = PooledModel(in_precision(model, precision, device), pooling, self.preprocessing.size)
        self.model = self._pooled.model
        self.pooling = self._pooled.pooling
        self.dimension = self._pooled.dimension
        self.precision = precision
        self.batch_size = batch_size or (16 if self.model.device.type == "cpu" else 256)
        self.name = name or model.name_or_path or model.config.model_type
        self.revision = revision

    @property
    def description(self) -> dict[str, Any]:
        """All that the vectors depend on but the image: fit for JSON, and equal for encoders that give equal vectors.

        Where there is no revision, the weights are digested for it.
        """
        return {
            "encoder": type(self).__name__,
            "model": self.name,
            "revision": self.revision or weights_digest(self.model),
            "precision": self.precision,
            "pooling": self.pooling,
            "preprocessing": self.preprocessing.description,
        }

    def embed(self, specimens: Dataset, *, report: Report | None = None) -> NDArray[np.float32]:
        """Compute one vector per specimen.

        Args:
            specimens: N specimens with the columns `processid` and `image` (`datasets.Image`).
            report: Called after each batch with the number of specimens done and of all.

        Returns:
            (N, D), in the order of `specimens`, of any length.

        Raises:
            ValueError: If a column is missing, an image is missing or cannot be decoded, or a vector is not finite; the
                message names the process id.
        """
        vectors = np.empty((len(specimens), self.dimension), np.float32)
        training, done = self.model.training, 0
        self.model.eval()
        try:
            # In pairs, for a batch is fetched from a GPU only when the next one is on its way.
            for computed, _ in pairwise(chain(self._batches(specimens), [None])):
                found = computed.cpu().numpy()
                if not (finite := np.isfinite(found).all(axis=1)).all():
                    processid = specimens.with_format(None)["processid"][done + int(finite.argmin())]
                    raise ValueError(
                        f"The vector of {processid!r} is not finite; compute in float32, and check the model's weights."
                    )
                vectors[done : done + len(found)] = found
                done += len(found)
                if report:
                    report(done, len(specimens))
        finally:
            self.model.train(training)
        return vectors

    def _batches(self, specimens: Dataset) -> Iterator[Any]:
        for pixels in pixels_of(
            specimens,
            size=self.preprocessing.size,
            shorter_side=self.preprocessing.shorter_side,
            batch_size=self.batch_size,
        ):
            yield self._compute(pixels)

    @torch.inference_mode()
    def _compute(self, pixels: torch.Tensor) -> torch.Tensor:
        device = self.model.device
        if device.type == "cuda":
            # From such memory a copy does not wait for what the GPU has yet to compute.
            pixels = pixels.pin_memory()
        inputs = normalise(
            pixels.to(device, non_blocking=True),
            mean=self.preprocessing.mean,
            std=self.preprocessing.std,
            dtype=self.model.dtype,
        )
        vectors: torch.Tensor = self._pooled(inputs)
        return vectors
