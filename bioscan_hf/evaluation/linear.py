"""Linear classifiers on frozen embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

SHRINKAGE = 0.1
"""Of the covariance in `linear_discriminant`: 0.0001 to 0.5 differed by less than 0.2 points on real barcodes
(docs/log.md)."""


@dataclass(frozen=True)
class LinearClassifier:
    """Scores classes by `vectors @ weights + bias`.

    Attributes:
        weights: (D, C).
        bias: (C,).
        classes: Labels of the classes, (C,).
    """

    weights: NDArray[np.floating]
    bias: NDArray[np.floating]
    classes: NDArray[np.int64]

    def scores(self, vectors: NDArray[np.floating]) -> NDArray[np.floating]:
        """Score each class: (N, D) to (N, C)."""
        return vectors @ self.weights + self.bias

    def predict(self, vectors: NDArray[np.floating]) -> NDArray[np.int64]:
        """Label of the class with the highest score: (N, D) to (N,)."""
        return self.classes[self.scores(vectors).argmax(axis=1)]


def linear_discriminant(
    vectors: NDArray[np.floating], labels: NDArray[np.int64], *, shrinkage: float = SHRINKAGE
) -> LinearClassifier:
    """Fit a linear probe in closed form: linear discriminant analysis with equally likely classes.

    A vector gets the label of the nearest class mean, in the metric of the pooled covariance S within classes, which is
    mixed with a multiple of the identity of the same trace: (1 - shrinkage) S + shrinkage tr(S)/D I. It costs one
    product of (D, N) by (N, D) and one solution of D linear equations, whatever the number of classes.

    Args:
        vectors: (N, D), of known specimens.
        labels: (N,), of any values.
        shrinkage: 0 to 1.

    Raises:
        ValueError: If there are fewer than two classes, the shrinkage is out of range, or vectors are not finite or do
            not differ within any class.
    """
    _check(vectors, labels)
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"Expected a shrinkage between 0 and 1; got {shrinkage}.")
    classes, members, counts = np.unique(labels, return_inverse=True, return_counts=True)
    # In float64: the squares of counts of k-mers differ by many orders of magnitude.
    order = np.argsort(members, kind="stable")
    starts = np.cumsum(counts) - counts
    means = np.add.reduceat(vectors[order].astype(np.float64), starts) / counts[:, None]
    within = vectors - means[members]
    covariance = within.T @ within / len(vectors)
    spread = np.trace(covariance) / len(covariance)
    # Differences below the resolution of float32 are rounding.
    if not spread > np.finfo(np.float32).eps ** 2 * np.square(means).mean():
        raise ValueError(
            "Expected vectors that differ within classes; all of each class are equal, so that nothing can be learnt "
            "of how they vary. Give several distinct specimens per class."
        )
    covariance *= 1 - shrinkage
    covariance[np.diag_indices_from(covariance)] += shrinkage * spread
    weights = np.linalg.lstsq(covariance, means.T)[0] if shrinkage == 0 else np.linalg.solve(covariance, means.T)
    return LinearClassifier(weights, -0.5 * np.einsum("cd,dc->c", means, weights), classes)


def linear_probe(
    vectors: NDArray[np.floating],
    labels: NDArray[np.int64],
    *,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 1e-5,
    batch_size: int = 64,
    epochs: int = 200,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> LinearClassifier:
    """Fit a linear probe as the paper does: stochastic gradient descent on the cross-entropy.

    Vectors are standardised by one mean and one standard deviation of all their numbers. The defaults are those of the
    branch `BIOSCAN-5M` of BarcodeBERT's repository (`baselines/linear_probing.py`).

    Args:
        vectors: (N, D), of known specimens.
        labels: (N,), of any values.
        learning_rate: Of the descent, which is constant.
        momentum: Of the descent.
        weight_decay: Of the descent.
        batch_size: Specimens per step.
        epochs: How often each specimen is seen.
        seed: Of the first weights and of the order.
        report: Called with the number of epochs done and of all.

    Raises:
        ValueError: If there are fewer than two classes, or vectors are not finite or all their numbers equal.
    """
    _check(vectors, labels)
    mean, deviation = float(vectors.mean(dtype=np.float64)), float(vectors.std(dtype=np.float64))
    if not deviation > 0:
        raise ValueError(f"Expected vectors that differ; all their numbers are {mean}.")
    classes, targets = np.unique(labels, return_inverse=True)
    generator = torch.Generator().manual_seed(seed)
    # As torch begins, with a generator of our own.
    layer = torch.nn.utils.skip_init(torch.nn.Linear, vectors.shape[1], len(classes))
    for parameter in layer.parameters():
        bound = vectors.shape[1] ** -0.5
        torch.nn.init.uniform_(parameter, -bound, bound, generator=generator)
    inputs = torch.from_numpy(((vectors - mean) / deviation).astype(np.float32))
    orders = (torch.randperm(len(inputs), generator=generator) for _ in range(epochs))
    optimizer = torch.optim.SGD(layer.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay)
    for epoch, order in enumerate(orders, 1):
        descend(layer, optimizer, inputs, torch.from_numpy(targets), order.split(batch_size))
        if report:
            report(epoch, epochs)
    weights, bias = (parameter.detach().numpy() for parameter in (layer.weight.T, layer.bias))
    # The standardisation becomes a part of the layer.
    return LinearClassifier(weights / deviation, bias - mean / deviation * weights.sum(axis=0), classes)


def descend(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    batches: tuple[torch.Tensor, ...],
) -> list[float]:
    """Take a step per batch.

    Args:
        model: Gives scores (B, C).
        optimizer: Of its parameters.
        inputs: (N, ...).
        targets: (N,), numbers of classes.
        batches: Rows of each batch.

    Returns:
        The losses (mean cross-entropy, nats) before the steps.
    """
    losses = []
    for rows in batches:
        loss = torch.nn.functional.cross_entropy(model(inputs[rows]), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def _check(vectors: NDArray[np.floating], labels: NDArray[np.int64]) -> None:
    if vectors.ndim != 2 or len(vectors) != len(labels):
        raise ValueError(f"Expected vectors (N, D) and labels (N,); got {vectors.shape} and {labels.shape}.")
    if len(np.unique(labels)) < 2:
        raise ValueError("A classifier needs specimens of at least two classes; got one or none.")
    if not (finite := np.isfinite(vectors).all(axis=1)).all():
        raise ValueError(f"Expected finite vectors; {(~finite).sum():,} are not, the first in row {finite.argmin()}.")
