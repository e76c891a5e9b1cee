"""Sums over a matrix of similarities, with the gradient computed along with them or left to a second pass.

The matrix is held whole, or a tile of its rows at a time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable


def log_sum_exp(
    rows: torch.Tensor,
    columns: torch.Tensor,
    scale: torch.Tensor,
    row_weights: torch.Tensor,
    column_weights: torch.Tensor | None,
    own: torch.Tensor,
    *,
    hidden: torch.Tensor | None,
    first: int,
    tile: int | None,
) -> torch.Tensor:
    """sum_i w_i lse_j(s_ij) + sum_j v_j lse_i(s_ij) - sum_i o_i s_ii of the similarities s = scale * rows * columns.

    Args:
        rows: (n, D).
        columns: (N, D).
        scale: A scalar.
        row_weights: w, (n,); without gradient, as all that follow.
        column_weights: v, (N,); None for zeros.
        own: o, of the similarity of each row to its own column, (n,).
        hidden: Classes within which nothing but the own is compared, (N,); None for none.
        first: Column of the first row.
        tile: Rows that are held at once; None for all.

    Returns:
        A scalar in float64, where the device has that.
    """
    value: torch.Tensor = _LogSumExp.apply(rows, columns, scale, row_weights, column_weights, own, hidden, first, tile)
    return value


def softplus_sum(
    rows: torch.Tensor,
    columns: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    own: torch.Tensor,
    *,
    hidden: torch.Tensor | None,
    first: int,
    tile: int | None,
) -> torch.Tensor:
    """sum_ij softplus(s_ij) - sum_i o_i s_ii of the similarities s = scale * rows * columns + bias.

    Args:
        rows: (n, D).
        columns: (N, D).
        scale: A scalar.
        bias: A scalar.
        own: As in `log_sum_exp`; this and the others.
        hidden: Likewise.
        first: Likewise.
        tile: Likewise.

    Returns:
        A scalar in float64, where the device has that.
    """
    value: torch.Tensor = _Softplus.apply(rows, columns, scale, bias, own, hidden, first, tile)
    return value


# Of what adds up to this, float32 loses nothing that counts: a part of a 10**13th.
_SMALLEST_SUM = 1e-25


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
        return of_rows, of_columns, torch.dot(of_rows.flatten(), self.rows.flatten()) / self.scale


class _LogSumExp(torch.autograd.Function):
    """See `log_sum_exp`.

    In one part, the slopes are computed with the value and stay in memory; in several, they are left to the gradient.
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
        value = rows.new_zeros((), dtype=wide_type(rows))
        of_rows = _Exponentials.none(rows)
        of_columns = _Exponentials.none(columns)
        ctx.slopes = None
        kept = len(tiles.parts) == 1 and any(ctx.needs_input_grad)
        for part in tiles.parts:
            found = tiles.similarities(part)
            value -= wide_dot(tiles.diagonal(found, part), own[part])
            by_column = None
            if column_weights is None:
                by_row, of_part = _exponentials(found, dim=1)
            else:
                by_row, of_part, by_column, more = _both_exponentials(found)
                of_columns = of_columns.plus(more)
            of_rows.put(part, of_part)
            if kept:
                ctx.slopes = _slopes(tiles, part, by_row, by_column, of_rows, of_columns, row_weights, column_weights)
        value += of_rows.total(row_weights)
        if column_weights is not None:
            value += of_columns.total(column_weights)
        ctx.tiles, ctx.of_rows, ctx.of_columns = tiles, of_rows, of_columns
        ctx.weights = row_weights, column_weights
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        tiles: _Tiles = ctx.tiles
        row_weights, column_weights = ctx.weights
        of_rows, of_columns = ctx.of_rows, ctx.of_columns

        def slopes_of(part: slice) -> torch.Tensor:
            if ctx.slopes is not None:
                kept: torch.Tensor = ctx.slopes
                return kept
            found = tiles.similarities(part)
            by_row = (found - of_rows.highest[part, None]).exp_()
            by_column = None if column_weights is None else found.sub_(of_columns.highest).exp_()
            return _slopes(tiles, part, by_row, by_column, of_rows, of_columns, row_weights, column_weights)

        return (*tiles.gradients(slopes_of, grad), *[None] * 6)


def _slopes(
    tiles: _Tiles,
    part: slice,
    by_row: torch.Tensor,
    by_column: torch.Tensor | None,
    of_rows: "_Exponentials",
    of_columns: "_Exponentials",
    row_weights: torch.Tensor,
    column_weights: torch.Tensor | None,
) -> torch.Tensor:
    """Derivatives with respect to the similarities of some rows, in the memory of `by_row`."""
    weights, sums = row_weights[part], of_rows.sums[part]
    # Specimens that are told apart have a share of nearly 1, to which rounding does less if 1 is taken off first.
    own = weights - tiles.own[part]
    less_one = weights * ((tiles.diagonal(by_row, part) - sums) / sums)
    shares = (weights / sums)[:, None]
    if column_weights is None or by_column is None:
        slopes = by_row.mul_(shares)
    else:
        weights, sums = column_weights[part], of_columns.sums[part]
        own = own + weights
        less_one = less_one + weights * ((tiles.diagonal(by_column, part) - sums) / sums)
        of_column = column_weights / of_columns.sums
        # The same powers: one pass does for both.
        both = by_row is by_column
        slopes = by_row.mul_(shares + of_column) if both else by_row.mul_(shares).addcmul_(by_column, of_column)
    tiles.diagonal(slopes, part).copy_(own + less_one)
    return slopes


class _Softplus(torch.autograd.Function):
    """See `softplus_sum`."""

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
        value = rows.new_zeros((), dtype=wide_type(rows))
        for part in tiles.parts:
            found = tiles.similarities(part).add_(bias)
            own_ones = tiles.diagonal(found, part)
            value += nn.functional.softplus(found).sum(dtype=value.dtype) - wide_dot(own_ones, own[part])
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


class _Exponentials(NamedTuple):
    """Log-sum-exps in two parts, which keep what their sum would round away.

    Attributes:
        highest: The highest of each row.
        sums: Sum over the row of the exponentials of what is less than the highest.
    """

    highest: torch.Tensor
    sums: torch.Tensor

    @classmethod
    def none(cls, rows: torch.Tensor) -> "_Exponentials":
        """Of rows with nothing in them."""
        return cls(rows.new_full((len(rows),), torch.finfo(rows.dtype).min), rows.new_zeros(len(rows)))

    def put(self, part: slice, of_part: "_Exponentials") -> None:
        """Fill in some rows."""
        self.highest[part], self.sums[part] = of_part

    def plus(self, more: "_Exponentials") -> "_Exponentials":
        """Of the same rows with more in them."""
        highest = torch.maximum(self.highest, more.highest)
        sums = self.sums * (self.highest - highest).exp() + more.sums * (more.highest - highest).exp()
        return _Exponentials(highest, sums)

    def total(self, weights: torch.Tensor) -> torch.Tensor:
        """Weighted sum of the log-sum-exps."""
        return wide_dot(self.sums.to(wide_type(self.sums)).log(), weights) + wide_dot(self.highest, weights)


def _exponentials(matrix: torch.Tensor, dim: int) -> tuple[torch.Tensor, _Exponentials]:
    """exp(matrix - its highest) along a dimension, and these two."""
    # Within a tile, all that a column could be compared with may be hidden; -inf less -inf is not a number.
    highest = matrix.amax(dim=dim, keepdim=True).clamp(min=torch.finfo(matrix.dtype).min)
    found = (matrix - highest).exp_()
    return found, _Exponentials(highest.squeeze(dim), found.sum(dim=dim))


def _both_exponentials(
    matrix: torch.Tensor,
) -> tuple[torch.Tensor, _Exponentials, torch.Tensor, _Exponentials]:
    """Those of rows and of columns: less the highest of all, and so the same, where none of the sums is tiny."""
    highest = matrix.amax()
    found = (matrix - highest).exp_()
    row_sums, column_sums = found.sum(dim=1), found.sum(dim=0)
    if min(float(row_sums.min()), float(column_sums.min())) > _SMALLEST_SUM:
        of_rows = _Exponentials(highest.expand(len(row_sums)), row_sums)
        return found, of_rows, found, _Exponentials(highest.expand(len(column_sums)), column_sums)
    return *_exponentials(matrix, dim=1), *_exponentials(matrix, dim=0)


def _product(a: torch.Tensor, b: torch.Tensor, factor: float) -> torch.Tensor:
    return torch.addmm(a.new_empty(()), a, b, beta=0, alpha=factor)


def wide_type(values: torch.Tensor) -> torch.dtype:
    """Type of sums: a small loss is the difference of large ones. Apple's GPUs have no float64."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def wide_dot(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Dot product of two vectors in `wide_type`."""
    return values.to(wide_type(values)) @ weights.to(wide_type(values))
