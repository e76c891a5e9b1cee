"""Which specimens of a batch are each other's positives."""

from typing import Literal, NamedTuple

import torch

Targets = Literal["identity", "mask", "mean", "sum", "hierarchical"]


class Classes(NamedTuple):
    """Which specimens are alike, and how much of the target they share.

    Attributes:
        ids: Class of each specimen, (N,), numbered from 0; None if each is its own.
        weights: Target of each member of a specimen's class, (N,).
    """

    ids: torch.Tensor | None
    weights: torch.Tensor


def pair_targets(
    targets: Targets,
    count: int,
    alike: torch.Tensor | None = None,
    ranks: torch.Tensor | None = None,
    *,
    hierarchy_weight: float = 0.1,
    normalised: bool = True,
    device: torch.device | None = None,
) -> list[Classes]:
    """Say which specimens are each other's positives.

    - `identity`: each its own only, as in CLIP and in all published configurations of CLIBD.
    - `mask`: likewise; others that are alike (one species, one barcode, one caption) are left out of the comparison.
    - `mean`: all that are alike, with equal shares that add up to 1 (as SupCon, Khosla et al. 2020).
    - `sum`: all that are alike, each with 1: the reference's option for BINs. The loss grows with their number.
    - `hierarchical`: as `mean`, but the share `hierarchy_weight` goes to relatives, to each rank twice as much as to
      the one above; where a rank has no name, to those that are alike.

    Args:
        targets: Which.
        count: Number of specimens, N.
        alike: Ids by which specimens are alike, (N,) or (N, columns), negative for none; through others, too.
        ranks: Taxon at each rank, (N, ranks), negative where there is none.
        hierarchy_weight: See above.
        normalised: Whether the targets of a specimen add up to 1 (but for `sum`), or each positive's are up to 1.
        device: Of the targets without ids; others are where their ids are.

    Returns:
        Classes, whose targets add up.

    Raises:
        ValueError: If ids are missing that the targets need.
    """
    if targets != "identity" and alike is None:
        raise ValueError(_NEEDS_IDS.format(targets, "group_ids"))
    if targets == "hierarchical" and ranks is None:
        raise ValueError(_NEEDS_IDS.format(targets, "rank_ids"))
    if alike is None or targets in ("identity", "mask"):
        return [Classes(None, torch.ones(count, device=device))]
    groups = classes_of(alike)
    if targets != "hierarchical" or ranks is None:
        return [_shared(groups, 1.0, normalised=normalised and targets == "mean")]
    found = [_shared(groups, 1 - hierarchy_weight, normalised=normalised)]
    shares = [2.0**i for i in range(ranks.shape[1])]
    for column, share in zip(ranks.T, shares, strict=True):
        taxa = torch.where(column >= 0, _numbered(column), groups + count)
        found.append(_shared(_numbered(taxa), hierarchy_weight * share / sum(shares), normalised=normalised))
    return found


_NEEDS_IDS = "`loss_targets='{}'` needs `{}`, which say which specimens are alike; give them, or use 'identity'."


def classes_of(ids: torch.Tensor) -> torch.Tensor:
    """Number the classes of specimens that share an id in some column, directly or through others, (N,)."""
    count = len(ids)
    columns = (ids[:, None] if ids.ndim == 1 else ids).T
    # One more class takes those without id.
    members = [torch.where(column >= 0, _numbered(column), count) for column in columns]
    lowest = torch.arange(count, device=ids.device)
    while True:
        before = lowest
        for classes in members:
            best = lowest.new_full((count + 1,), count).scatter_reduce(0, classes, lowest, "amin")
            lowest = torch.where(classes < count, torch.minimum(lowest, best[classes]), lowest)
        if torch.equal(before, lowest):
            return lowest


def _numbered(ids: torch.Tensor) -> torch.Tensor:
    """Ids as numbers from 0."""
    return torch.unique(ids, return_inverse=True)[1]


def _shared(ids: torch.Tensor, share: float, *, normalised: bool) -> Classes:
    weights = torch.full((len(ids),), share, device=ids.device)
    return Classes(ids, weights / class_sizes(ids) if normalised else weights)


def class_sizes(classes: torch.Tensor) -> torch.Tensor:
    """How many are in the class of each specimen, (N,)."""
    return torch.bincount(classes)[classes]
