"""Contrastive losses of CLIBD, in time and memory as small as their values allow.

A loss over all pairs of a batch needs the whole matrix of similarities once for each pair of modalities: for the
log-sum-exp of its rows and columns, or for the sum of softplus (`similarities_clibd.py`). The similarities to the
positives are its diagonal or, whatever the targets (`targets_clibd.py`), products with sums over classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable

from .similarities_clibd import log_sum_exp, softplus_sum, wide_dot, wide_type
from .targets_clibd import Classes, Targets, class_sizes, classes_of, pair_targets


class Batch(NamedTuple):
    """The embeddings of one modality of a batch, here and over all processes.

    Attributes:
        local: Unit vectors of this process, (n, D).
        all: Those of all processes, (N, D), with gradient.
        present: Which of all are there, (N,) bool; other rows mean nothing.
    """

    local: torch.Tensor
    all: torch.Tensor
    present: torch.Tensor


def alignment_loss(
    embeddings: Mapping[str, torch.Tensor],
    present: Mapping[str, torch.Tensor],
    scale: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    pairs: Sequence[tuple[str, str]],
    targets: Targets = "identity",
    group_ids: torch.Tensor | None = None,
    caption_ids: torch.Tensor | None = None,
    rank_ids: torch.Tensor | None = None,
    hierarchy_weight: float = 0.1,
    tile: int | None = None,
) -> torch.Tensor:
    """Mean over pairs of modalities, and over both directions of each, of a contrastive loss.

    The value is that of the reference (bioscan-ml/clibd 7d73f80, `ContrastiveLoss`), which computes each term twice.
    With several processes it is that of all their specimens together: the mean of what they return is the loss of one
    process with all specimens, and so is the mean of their gradients. Each must have as many rows, of the same
    modalities: what is missing is said by `present`.

    Args:
        embeddings: Unit vectors by modality, (n, D).
        present: Which specimens have the modality, (n,) bool; those that lack one of a pair do not count for it.
        scale: Factor of cosines, a scalar.
        bias: Added to scaled cosines, a scalar: then the loss is SigLIP's; without it, it is CLIP's (InfoNCE).
        pairs: Pairs of modalities.
        targets: See `pair_targets`.
        group_ids: Specimens that share an id in a column are alike, (n,) or (n, columns); negative ids are none.
        caption_ids: Likewise for pairs with text, (n,): specimens with the same caption.
        rank_ids: Taxon at each rank, from broad to fine, (n, ranks), negative where there is none; for `hierarchical`.
        hierarchy_weight: See `pair_targets`.
        tile: Rows of a matrix of similarities that are held at once; by default all. With fewer, memory is less, and
            each similarity is computed twice.

    Returns:
        A scalar; 0 if no specimen has both modalities of any pair.
    """
    world, first, batches, (groups, captions, ranks) = _gathered(
        embeddings, present, (group_ids, caption_ids, rank_ids)
    )
    losses = []
    used: set[str] = set()
    for a, b in pairs:
        if a not in batches or b not in batches:
            continue
        there = batches[a].present & batches[b].present
        if not there.any():
            continue
        used |= {a, b}
        alike = groups if "text" not in (a, b) else _side_by_side(groups, captions)
        relatives = ranks
        one, other, place = batches[a], batches[b], first
        if not there.all():
            own, place = there[first : first + len(one.local)], int(there[:first].sum())
            one, other = (Batch(found.local[own], found.all[there], found.present) for found in (one, other))
            alike, relatives = (None if ids is None else ids[there] for ids in (alike, ranks))
        classes = pair_targets(
            targets,
            len(one.all),
            alike,
            relatives,
            hierarchy_weight=hierarchy_weight,
            normalised=bias is None,
            device=one.all.device,
        )
        hidden = classes_of(alike) if targets == "mask" and alike is not None else None
        pair = _Pair(one, other, place, world == 1, classes, hidden, tile)
        loss = _info_nce(pair, scale) if bias is None else _sigmoid(pair, scale, bias)
        # Each process has its own rows: the mean over processes is to be that over all rows.
        losses.append(loss * world)
    # Each tower has a gradient in each process, as DDP expects.
    idle = [own.sum() * 0.0 for name, own in embeddings.items() if name not in used]
    if not losses:
        losses = [scale * 0.0 if bias is None else (scale + bias) * 0.0]
    return torch.stack([loss.float() for loss in losses]).mean() + sum(idle)


class _Pair(NamedTuple):
    """Two modalities of the specimens that have both.

    Attributes:
        a: Of one modality.
        b: Of the other.
        first: Place of the first row of this process.
        alone: Whether there is one process.
        classes: The positives.
        hidden: Classes within which nothing but the own is compared, (N,); None for none.
        tile: See `alignment_loss`.
    """

    a: Batch
    b: Batch
    first: int
    alone: bool
    classes: list[Classes]
    hidden: torch.Tensor | None
    tile: int | None

    @property
    def own(self) -> slice:
        """Rows of this process."""
        return slice(self.first, self.first + len(self.a.local))


def _info_nce(pair: _Pair, scale: torch.Tensor) -> torch.Tensor:
    a, b, twice = pair.a, pair.b, 2 * len(pair.a.all)
    weights = _total_targets(pair)[pair.own] / twice
    # Over all rows, the sum over the positives is the same in both directions.
    own, positives = _own_targets(pair) * (2 / twice), scale * (_positives(pair) * (2 / twice))
    options: dict[str, Any] = {"hidden": pair.hidden, "first": pair.first, "tile": pair.tile}
    if pair.alone:
        # The columns of the matrix are the rows of the other direction.
        sums = log_sum_exp(a.local, b.all, scale, weights, weights, own, **options)
    else:
        shared = (scale, weights, None, own / 2)
        sums = log_sum_exp(a.local, b.all, *shared, **options) + log_sum_exp(b.local, a.all, *shared, **options)
    return sums - positives


def _sigmoid(pair: _Pair, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    # softplus(-x) = softplus(x) - x, so the positives are a sum of similarities, as above.
    own = _own_targets(pair)
    a, b = pair.a.local, pair.b.all
    sums = softplus_sum(a, b, scale, bias, own, hidden=pair.hidden, first=pair.first, tile=pair.tile)
    positives = scale * _positives(pair) + bias * (_total_targets(pair)[pair.own].sum() - own.sum())
    return (sums - positives) / len(b)


def _total_targets(pair: _Pair) -> torch.Tensor:
    """Sum of the targets of each specimen, (N,)."""
    totals = [weights if ids is None else weights * class_sizes(ids) for ids, weights in pair.classes]
    return torch.stack(totals).sum(dim=0).to(pair.a.local)


def _own_targets(pair: _Pair) -> torch.Tensor:
    """Targets on the diagonal of the rows of this process, which come without classes, (n,)."""
    alone = [weights[pair.own] for ids, weights in pair.classes if ids is None]
    return sum(alone, torch.zeros(len(pair.a.local), device=pair.a.local.device)).to(pair.a.local)


def _positives(pair: _Pair) -> torch.Tensor:
    """Sum over the rows of this process of the target-weighted cosines of classes, by the sums of each class."""
    rows, columns = pair.a.local, pair.b.all
    total = rows.new_zeros((), dtype=wide_type(rows))
    for ids, weights in pair.classes:
        if ids is not None:
            sums = torch.zeros_like(columns).index_add(0, ids, columns)[ids[pair.own]]
            # Row by row: in one sum of all, small terms would get lost.
            total = total + wide_dot((rows * sums).sum(dim=1), weights[pair.own])
    return total


def _side_by_side(*columns: torch.Tensor | None) -> torch.Tensor | None:
    given = [column[:, None] if column.ndim == 1 else column for column in columns if column is not None]
    return torch.cat(given, dim=1) if given else None


def _gathered(
    embeddings: Mapping[str, torch.Tensor],
    present: Mapping[str, torch.Tensor],
    ids: tuple[torch.Tensor | None, ...],
) -> tuple[int, int, dict[str, Batch], list[torch.Tensor | None]]:
    """Number of processes, the place of this one's first row, and what all of them have."""
    world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if world == 1:
        batches = {name: Batch(own, own, present[name]) for name, own in embeddings.items()}
        return 1, 0, batches, list(ids)
    # One exchange for all modalities, and one for all numbers.
    vectors = torch.cat(list(embeddings.values()), dim=1)
    widths = [own.shape[1] for own in embeddings.values()]
    parts = dict(zip(embeddings, _Gather.apply(vectors).split(widths, dim=1), strict=True))
    numbers = [present[name][:, None].long() for name in embeddings]
    numbers += [column[:, None] if column.ndim == 1 else column for column in ids if column is not None]
    gathered = _all_gather(torch.cat(numbers, dim=1)).split([number.shape[1] for number in numbers], dim=1)
    rest = iter(gathered[len(parts) :])
    batches = {
        name: Batch(embeddings[name], parts[name], there[:, 0].bool())
        for name, there in zip(parts, gathered, strict=False)
    }
    return world, dist.get_rank() * len(vectors), batches, [None if column is None else next(rest) for column in ids]


def _all_gather(rows: torch.Tensor) -> torch.Tensor:
    received = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(received, rows.contiguous())
    return torch.cat(received)


class _Gather(torch.autograd.Function):
    """Rows of all processes; each process's gradient is the sum of what all of them ask of its rows."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        ctx.rows = len(rows)
        return _all_gather(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        total = grad.contiguous()
        dist.all_reduce(total)
        first = dist.get_rank() * ctx.rows
        return total[first : first + ctx.rows]
