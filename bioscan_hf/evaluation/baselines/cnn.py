"""The convolutional network that the paper compares with, trained on the keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bioscan_hf.evaluation.encoders.base import BarcodeEncoder, Report
from bioscan_hf.evaluation.linear import descend
from bioscan_hf.tokenization.kmer import MAX_NUCLEOTIDES

_LETTERS = np.full(256, 4, np.int64)
_LETTERS[np.frombuffer(b"ACGT", np.uint8)] = range(4)
_CHANNELS = (64, 32, 16)
_WIDTH = 500


class CnnEncoder(BarcodeEncoder):
    """Names barcodes, and gives the features before its last layer as embeddings."""

    def __init__(self, network: nn.Sequential, classes: NDArray[np.int64]) -> None:
        """Wrap a trained network.

        Args:
            network: See `train_cnn`.
            classes: Labels of its classes, (C,).
        """
        self.name = "CNN"
        self.dimension = _WIDTH
        self.max_letters = MAX_NUCLEOTIDES
        self._network, self._classes = network.eval(), classes

    def encode(self, barcodes: Sequence[str], *, report: Report | None = None) -> NDArray[np.float32]:
        """Compute features: see `BarcodeEncoder.encode`."""
        return self._forward(self._network[:-2], barcodes, report)

    def predict(self, barcodes: Sequence[str]) -> NDArray[np.int64]:
        """Label of each barcode, (N,)."""
        return self._classes[self._forward(self._network, barcodes).argmax(axis=1)]

    @torch.inference_mode()
    def _forward(
        self, network: nn.Module, barcodes: Sequence[str], report: Report | None = None
    ) -> NDArray[np.float32]:
        outputs = []
        for start in range(0, len(barcodes), 256):
            block = barcodes[start : start + 256]
            numbers = letter_numbers(block).to(next(network.parameters()).device)
            outputs.append(network(one_hot(numbers)).cpu().numpy())
            if report:
                report(start + len(block), len(barcodes))
        return np.concatenate(outputs)


def train_cnn(
    barcodes: Sequence[str],
    labels: NDArray[np.int64],
    *,
    epochs: int = 20,
    batch_size: int = 128,
    seed: int = 0,
    device: str | torch.device | None = None,
    report: Report | None = None,
) -> CnnEncoder:
    """Train the CNN of BarcodeBERT's comparison (`baselines/cnn/cnn_utils.py` of its repository).

    Three blocks of convolution over three letters (64, 32 and 16 channels), ReLU, batch normalisation and pooling over
    three places see the barcode as 660 x 5 zeros and ones (A, C, G, T, anything else); two layers follow, the first of
    500 features. Adam with torch's defaults.

    Args:
        barcodes: N barcodes of known specimens; letters after the 660th do not count.
        labels: (N,), of any values.
        epochs: How often each is seen.
        batch_size: Barcodes per step.
        seed: Of the first weights and of the order.
        device: Where to compute; by default a GPU if there is one.
        report: Called with the number of epochs done and of all.

    Raises:
        ValueError: If there are fewer than two classes, not as many labels as barcodes, or one barcode per step, of
            which there is no variance to normalise with.
    """
    if len(barcodes) != len(labels):
        raise ValueError(
            f"Expected a label for each barcode; got {len(barcodes):,} barcodes and {len(labels):,} labels."
        )
    if batch_size < 2:
        raise ValueError(f"`batch_size` must be at least 2; got {batch_size}.")
    classes, targets = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"A CNN needs barcodes of at least two classes to learn from; got {len(classes)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(len(classes))
        orders = [torch.randperm(len(barcodes)) for _ in range(epochs)]
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    network = network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs, expected = letter_numbers(barcodes).to(place), torch.from_numpy(targets).to(place)
    optimizer = torch.optim.Adam(network.parameters())
    whole = nn.Sequential(_OneHot(), network).train()
    for epoch, order in enumerate(orders, 1):
        # The last batch may hold one barcode.
        batches = tuple(rows for rows in order.split(batch_size) if len(rows) > 1)
        descend(whole, optimizer, inputs, expected, batches)
        if report:
            report(epoch, epochs)
    return CnnEncoder(network, classes)


def letter_numbers(barcodes: Sequence[str]) -> torch.Tensor:
    """Number the letters of barcodes: A, C, G, T, any other, and nothing are 0 to 5.

    Returns:
        uint8 (N, 660).
    """
    numbers = np.full((len(barcodes), MAX_NUCLEOTIDES), 5, np.uint8)
    for row, barcode in zip(numbers, barcodes, strict=True):
        letters = np.frombuffer(barcode[:MAX_NUCLEOTIDES].encode("latin-1", "replace"), np.uint8)
        row[: len(letters)] = _LETTERS[letters]
    return torch.from_numpy(numbers)


def one_hot(numbers: torch.Tensor) -> torch.Tensor:
    """Zeros and ones for letters: (N, 660) to float32 (N, 1, 660, 5); nothing is five zeros."""
    letters = nn.functional.one_hot(numbers.long(), 6)[:, None, :, :5].float()
    # On a CPU the network is nearly twice as fast in this layout.
    return letters.contiguous(memory_format=torch.channels_last)


class _OneHot(nn.Module):
    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return one_hot(numbers)


def _network(classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    before, length = 1, MAX_NUCLEOTIDES
    for channels in _CHANNELS:
        layers += [
            nn.Conv2d(before, channels, kernel_size=(3, 1), padding=(1, 0)),
            nn.ReLU(),
            nn.BatchNorm2d(channels),
            nn.MaxPool2d((3, 1)),
        ]
        before, length = channels, length // 3
    flat = before * length * 5
    layers += [nn.Flatten(), nn.BatchNorm1d(flat), nn.Linear(flat, _WIDTH), nn.Tanh(), nn.Linear(_WIDTH, classes)]
    return nn.Sequential(*layers)
