"""Contrastive losses of CLIBD, in time and memory as small as their values allow.

A loss over all pairs of a batch needs the whole matrix of similarities once for each pair of modalities: for the
log-sum-exp of its rows and columns, or for the sum of softplus. The similarities to the positives are its diagonal or,
whatever the targets, products with sums over classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.autograd.function import once_differentiable

Targets = Literal["identity", "mask", "mean", "sum", "hierarchical"]


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


class Classes(NamedTuple):
    """Which specimens are alike, and how much of the target they share.

    Attributes:
        ids: Class of each specimen, (N,), numbered from 0; None if each is its own.
        weights: Target of each member of a specimen's class, (N,).
    """

    ids: torch.Tensor | None
    weights: torch.Tensor


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
    process with all specimens, and so is the mean of their gradients.

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
        )
        hidden = _classes_of(alike) if targets == "mask" and alike is not None else None
        pair = _Pair(one, other, place, world == 1, classes, hidden, tile)
        loss = _info_nce(pair, scale) if bias is None else _sigmoid(pair, scale, bias)
        # Each process has its own rows: the mean over processes is to be that over all rows.
        losses.append(loss * world)
    # Each tower has a gradient in each process, as DDP expects.
    idle = [own.sum() * 0.0 for name, own in embeddings.items() if name not in used]
    if not losses:
        losses = [scale * 0.0 if bias is None else (scale + bias) * 0.0]
    return torch.stack([loss.float() for loss in losses]).mean() + sum(idle)


def pair_targets(
    targets: Targets,
    count: int,
    alike: torch.Tensor | None = None,
    ranks: torch.Tensor | None = None,
    *,
    hierarchy_weight: float = 0.1,
    normalised: bool = True,
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
        return [Classes(None, torch.ones(count, device=None if alike is None else alike.device))]
    groups = _classes_of(alike)
    if targets != "hierarchical" or ranks is None:
        return [_shared(groups, 1.0, normalised=normalised and targets == "mean")]
    found = [_shared(groups, 1 - hierarchy_weight, normalised=normalised)]
    shares = [2.0**i for i in range(ranks.shape[1])]
    for column, share in zip(ranks.T, shares, strict=True):
        taxa = torch.where(column >= 0, _numbered(column), groups + count)
        found.append(_shared(_numbered(taxa), hierarchy_weight * share / sum(shares), normalised=normalised))
    return found


_NEEDS_IDS = "`loss_targets='{}'` needs `{}`, which say which specimens are alike; give them, or use 'identity'."


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
    if pair.alone:
        # The columns of the matrix are the rows of the other direction.
        sums = _LogSumExp.apply(a.local, b.all, scale, weights, weights, own, pair.hidden, 0, pair.tile)
    else:
        none = torch.zeros_like(own)
        sums = _LogSumExp.apply(a.local, b.all, scale, weights, None, own, pair.hidden, pair.first, pair.tile)
        sums = sums + _LogSumExp.apply(b.local, a.all, scale, weights, None, none, pair.hidden, pair.first, pair.tile)
    return sums - positives


def _sigmoid(pair: _Pair, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    # softplus(-x) = softplus(x) - x, so the positives are a sum of similarities, as above.
    own = _own_targets(pair)
    sums = _Softplus.apply(pair.a.local, pair.b.all, scale, bias, own, pair.hidden, pair.first, pair.tile)
    positives = scale * _positives(pair) + bias * (_total_targets(pair)[pair.own].sum() - own.sum())
    return (sums - positives) / len(pair.b.all)


def _total_targets(pair: _Pair) -> torch.Tensor:
    """Sum of the targets of each specimen, (N,)."""
    totals = [weights if ids is None else weights * _sizes(ids) for ids, weights in pair.classes]
    return torch.stack(totals).sum(dim=0).to(pair.a.local)


def _own_targets(pair: _Pair) -> torch.Tensor:
    """Targets on the diagonal of the rows of this process, which come without classes, (n,)."""
    alone = [weights[pair.own] for ids, weights in pair.classes if ids is None]
    return sum(alone, torch.zeros(len(pair.a.local), device=pair.a.local.device)).to(pair.a.local)


def _positives(pair: _Pair) -> torch.Tensor:
    """Sum over the rows of this process of the target-weighted cosines of classes, by the sums of each class."""
    rows, columns = pair.a.local, pair.b.all
    total = rows.new_zeros((), dtype=_wide(rows))
    for ids, weights in pair.classes:
        if ids is not None:
            sums = torch.zeros_like(columns).index_add(0, ids, columns)[ids[pair.own]]
            # Row by row: in one sum of all, small terms would get lost.
            total = total + _dot((rows * sums).sum(dim=1), weights[pair.own])
    return total


class _Tiles:
    """Similarities of some rows at a time."""

    def __init__(
        self,
        rows: torch.Tensor,
        columns: torch.Tensor,
        scale: torch.Tensor,
        own: torch.Tensor,
        hidden: torch.Tensor | None,
        first: int,
        tile: int | None,
    ) -> None:
        self.rows, self.columns, self.scale, self.own = rows, columns, float(scale), own
        self.hidden, self.first = hidden, first
        step = tile or max(len(rows), 1)
        self.parts = [slice(start, min(start + step, len(rows))) for start in range(0, len(rows), step)]

    def similarities(self, part: slice) -> torch.Tensor:
        """Of a part of the rows, (rows, N); -inf where two specimens are not compared."""
        found = _product(self.rows[part], self.columns.T, self.scale)
        if self.hidden is not None:
            places = torch.arange(part.start, part.stop, device=found.device)
            alike = self.hidden[places + self.first, None] == self.hidden
            alike[places - part.start, places + self.first] = False
            found.masked_fill_(alike, -torch.inf)
        return found

    def diagonal(self, matrix: torch.Tensor, part: slice) -> torch.Tensor:
        """What a matrix of a part of the rows has for each specimen itself, a view, (rows,)."""
        return matrix.diagonal(self.first + part.start)[: part.stop - part.start]

    def gradients(self, slopes_of: Callable[[slice], torch.Tensor], grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """With respect to rows, columns and scale, given those with respect to the similarities, part by part."""
        of_rows, of_columns = torch.empty_like(self.rows), torch.empty_like(self.columns)
        factor = self.scale * float(grad)
        for part in self.parts:
            slopes = slopes_of(part)
            torch.addmm(of_rows[part], slopes, self.columns, beta=0, alpha=factor, out=of_rows[part])
            of_columns.addmm_(slopes.T, self.rows[part], beta=int(part.start > 0), alpha=factor)
        if not self.parts:
            of_columns.zero_()
        # The similarities are linear in the scale.
        return of_rows, of_columns, (of_rows * self.rows).sum() / self.scale


class _LogSumExp(torch.autograd.Function):
    """sum_i w_i lse_j(s_ij) + sum_j v_j lse_i(s_ij) - sum_i o_i s_ii of the similarities s = scale * rows * columns.

    In one part, the slopes stay in memory from the value to the gradient; in several, they are computed again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        columns: torch.Tensor,
        scale: torch.Tensor,
        row_weights: torch.Tensor,
        column_weights: torch.Tensor | None,
        own: torch.Tensor,
        hidden: torch.Tensor | None,
        first: int,
        tile: int | None,
    ) -> torch.Tensor:
        tiles = _Tiles(rows, columns, scale, own, hidden, first, tile)
        value = rows.new_zeros((), dtype=_wide(rows))
        row_sums = rows.new_empty(len(rows))
        column_sums = rows.new_full((len(columns),), -torch.inf)
        slopes = None
        for part in tiles.parts:
            found = tiles.similarities(part)
            value -= _dot(tiles.diagonal(found, part), own[part])
            by_row, row_totals, row_sums[part] = _exponentials(found, dim=1)
            slopes = by_row.mul_(row_weights[part, None] / row_totals)
            if column_weights is not None:
                by_column, column_totals, sums = _exponentials(found, dim=0)
                column_sums = torch.logaddexp(column_sums, sums)
                slopes.addcmul_(by_column, column_weights / column_totals)
            tiles.diagonal(slopes, part).sub_(own[part])
        value += _dot(row_sums, row_weights)
        if column_weights is not None:
            value += _dot(column_sums, column_weights)
        ctx.tiles, ctx.row_sums, ctx.column_sums, ctx.weights = (
            tiles,
            row_sums,
            column_sums,
            (row_weights, column_weights),
        )
        ctx.slopes = slopes if len(tiles.parts) == 1 and any(ctx.needs_input_grad) else None
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        tiles: _Tiles = ctx.tiles
        row_weights, column_weights = ctx.weights

        def slopes_of(part: slice) -> torch.Tensor:
            if ctx.slopes is not None:
                kept: torch.Tensor = ctx.slopes
                return kept
            found = tiles.similarities(part)
            slopes = (found - ctx.row_sums[part, None]).exp_().mul_(row_weights[part, None])
            if column_weights is not None:
                slopes.addcmul_(found.sub_(ctx.column_sums).exp_(), column_weights)
            tiles.diagonal(slopes, part).sub_(tiles.own[part])
            return slopes

        return (*tiles.gradients(slopes_of, grad), *[None] * 6)


class _Softplus(torch.autograd.Function):
    """sum_ij softplus(s_ij) - sum_i o_i s_ii of the similarities s = scale * rows * columns + bias."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        columns: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor,
        own: torch.Tensor,
        hidden: torch.Tensor | None,
        first: int,
        tile: int | None,
    ) -> torch.Tensor:
        ctx.tiles = tiles = _Tiles(rows, columns, scale, own, hidden, first, tile)
        ctx.bias = bias
        value = rows.new_zeros((), dtype=_wide(rows))
        for part in tiles.parts:
            found = tiles.similarities(part).add_(bias)
            own_ones = tiles.diagonal(found, part)
            value += nn.functional.softplus(found).sum(dtype=value.dtype) - _dot(own_ones, own[part])
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        tiles: _Tiles = ctx.tiles
        of_bias = torch.zeros_like(ctx.bias)

        def slopes_of(part: slice) -> torch.Tensor:
            slopes = tiles.similarities(part).add_(ctx.bias).sigmoid_()
            tiles.diagonal(slopes, part).sub_(tiles.own[part])
            of_bias.add_(slopes.sum() * grad.to(of_bias.dtype))
            return slopes

        gradients = tiles.gradients(slopes_of, grad)
        return (*gradients, of_bias, *[None] * 4)


def _exponentials(matrix: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """exp(matrix - its highest) along a dimension, their sums, and the log-sum-exp."""
    highest = matrix.amax(dim=dim, keepdim=True)
    found = (matrix - highest).exp_()
    sums = found.sum(dim=dim, keepdim=True)
    return found, sums, (sums.log() + highest).squeeze(dim)


def _product(a: torch.Tensor, b: torch.Tensor, factor: float) -> torch.Tensor:
    return torch.addmm(a.new_empty(()), a, b, beta=0, alpha=factor)


def _classes_of(ids: torch.Tensor) -> torch.Tensor:
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


def _wide(values: torch.Tensor) -> torch.dtype:
    """Type of sums: a small loss is the difference of large ones. Apple's GPUs have no float64."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def _dot(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return values.to(_wide(values)) @ weights.to(_wide(values))


def _numbered(ids: torch.Tensor) -> torch.Tensor:
    """Ids as numbers from 0."""
    return torch.unique(ids, return_inverse=True)[1]


def _shared(ids: torch.Tensor, share: float, *, normalised: bool) -> Classes:
    weights = torch.full((len(ids),), share, device=ids.device)
    return Classes(ids, weights / _sizes(ids) if normalised else weights)


def _sizes(classes: torch.Tensor) -> torch.Tensor:
    """How many are in the class of each specimen, (N,)."""
    return torch.bincount(classes)[classes]


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
