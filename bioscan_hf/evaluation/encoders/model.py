"""What encoders with a transformer have in common."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from bioscan_hf.evaluation.encoders.base import BarcodeEncoder, Report, by_length
from bioscan_hf.evaluation.encoders.precision import Precision, in_precision

# More than the letters of a k-mer say nothing new.
_MOST_FRAMES = 100


class ModelEncoder(BarcodeEncoder):
    """Computes vectors with a transformer, batch by batch, barcodes of like length together.

    Attributes:
        model: What computes: the given model, or a copy in another precision or on another device.
        precision: Its precision.
        reading_frames: Starts over which a vector is the mean.
        batch_size: Barcodes in a forward pass.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        precision: Precision = "float32",
        reading_frames: int | None = None,
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        name: str | None = None,
        revision: str | None = None,
    ) -> None:
        """Prepare a model.

        Args:
            model: Is not changed, and stays in the mode it is in.
            precision: `float32`, `bfloat16` (twice as fast or more, where the hardware has it; cosine to float32 above
                0.9999) or `int8` (CPU; see `Int8Linear`). Vectors are float32 in any case.
            reading_frames: The vector is the mean over this many starts: the barcode as it is, without its first
                letter, without its first two … With k of them it hardly depends on the letter at which a barcode
                starts, which differs between laboratories and shifts all k-mers. Starts after which too few letters
                are left do not count. By default what the model's configuration says, mostly 1.
            batch_size: Barcodes in a forward pass; by default 32 on a CPU, whose caches hold little more, else 256.
            device: Where to compute; by default where the model is.
            name: How tables and cards call it; by default where the model was loaded from, or its type.
            revision: Digest or commit of its weights.

        Raises:
            ValueError: If an argument is out of range, or the device cannot compute in this precision.
        """
        for argument, value in (("reading_frames", reading_frames), ("batch_size", batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"`{argument}` must be at least 1; got {value}.")
        self.model = in_precision(model, precision, device)
        self.precision = precision
        by_default: int = getattr(model.config, "reading_frames", 1)
        if not 1 <= by_default <= _MOST_FRAMES:
            raise ValueError(
                f"`reading_frames` in a model's configuration must be between 1 and {_MOST_FRAMES}; got {by_default}."
            )
        self.reading_frames = by_default if reading_frames is None else reading_frames
        self.batch_size = batch_size or (32 if self.model.device.type == "cpu" else 256)
        self.name = name or model.name_or_path or model.config.model_type
        self.revision = revision

    @property
    def description(self) -> dict[str, Any]:  # type: ignore[override]
        """See `BarcodeEncoder`; where there is no revision, the weights are digested for it."""
        return {
            "encoder": type(self).__name__,
            "model": self.name,
            "revision": self.revision or weights_digest(self.model),
            "precision": self.precision,
            "reading_frames": self.reading_frames,
        }

    def encode(self, barcodes: Sequence[str], *, report: Report | None = None) -> NDArray[np.float32]:
        """Compute vectors: see `BarcodeEncoder.encode`."""
        vectors = np.empty((len(barcodes), self.dimension), np.float32)
        training, done = self.model.training, 0
        self.model.eval()
        try:
            # In pairs, for a batch is fetched from a GPU only when the next one is on its way.
            for (rows, computed), _ in pairwise(chain(self._batches(barcodes), [(None, None)])):
                vectors[rows] = computed.cpu().numpy()
                done += len(rows)
                if report:
                    report(done, len(barcodes))
        finally:
            self.model.train(training)
        return vectors

    def _batches(self, barcodes: Sequence[str]) -> Iterator[tuple[Any, Any]]:
        for rows in by_length(barcodes, self.batch_size):
            yield rows, self._mean_of_frames([barcodes[row] for row in rows])

    @torch.inference_mode()
    def _mean_of_frames(self, barcodes: list[str]) -> torch.Tensor:
        total = self._pooled(barcodes).float()
        frames = torch.ones(len(barcodes), 1)
        for start in range(1, self.reading_frames):
            # A barcode that is used up at this start has fewer frames.
            has_frame = torch.tensor([[len(barcode) - start >= self.min_letters] for barcode in barcodes])
            pooled = self._pooled([barcode[start:] for barcode in barcodes]).float()
            total += pooled.masked_fill(~self._on_device(has_frame), 0)
            frames += has_frame
        return total / self._on_device(frames)

    @abstractmethod
    def _pooled(self, barcodes: list[str]) -> torch.Tensor:
        """One vector per barcode, on the model's device, (N, D)."""

    def _on_device(self, array: NDArray[np.int64] | torch.Tensor) -> torch.Tensor:
        tensor = torch.as_tensor(array)
        if self.model.device.type == "cuda":
            # From such memory a copy does not wait for what the GPU has yet to compute.
            return tensor.pin_memory().to(self.model.device, non_blocking=True)
        return tensor.to(self.model.device)


def weights_digest(model: PreTrainedModel) -> str:
    """Short name of the weights of a model: the first 12 hexadecimal digits of a SHA-256 of all tensors."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()[:12]
