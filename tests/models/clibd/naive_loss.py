"""The losses of `loss_clibd.py` with whole matrices: as they are written in papers."""

from collections.abc import Mapping, Sequence

import torch
from torch.nn.functional import logsigmoid


def naive_loss(
    embeddings: Mapping[str, torch.Tensor],
    present: Mapping[str, torch.Tensor],
    scale: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    pairs: Sequence[tuple[str, str]],
    targets: str = "identity",
    group_ids: torch.Tensor | None = None,
    caption_ids: torch.Tensor | None = None,
    rank_ids: torch.Tensor | None = None,
    hierarchy_weight: float = 0.1,
) -> torch.Tensor:
    """As `alignment_loss` of one process."""
    losses = []
    for a, b in pairs:
        there = (present[a] & present[b]).nonzero()[:, 0]
        if not len(there):
            continue
        ids = [] if group_ids is None else list(group_ids.reshape(len(group_ids), -1).T)
        if caption_ids is not None and "text" in (a, b):
            ids.append(caption_ids)
        alike = same_class([column[there] for column in ids], len(there))
        taxa = [] if rank_ids is None else list(rank_ids[there].T)
        wanted = target_matrix(targets, alike, taxa, hierarchy_weight, normalised=bias is None)
        hidden = (alike & ~torch.eye(len(there), dtype=torch.bool)) if targets == "mask" else torch.zeros_like(alike)
        scaled = scale * embeddings[a][there] @ embeddings[b][there].T
        if bias is None:
            scaled = scaled.masked_fill(hidden, -torch.inf)
            log_shares = [matrix.log_softmax(dim=1).masked_fill(hidden, 0) for matrix in (scaled, scaled.T)]
            losses.append(-torch.stack([(wanted * shares).sum() for shares in log_shares]).sum() / (2 * len(there)))
        else:
            scaled = scaled + bias
            terms = wanted * logsigmoid(scaled) + (1 - wanted) * logsigmoid(-scaled)
            losses.append(-terms.masked_fill(hidden, 0).sum() / len(there))
    return torch.stack(losses).mean() if losses else scale * 0.0


def same_class(columns: Sequence[torch.Tensor], count: int) -> torch.Tensor:
    """Which specimens are alike, directly or through others, (N, N) bool."""
    alike = torch.eye(count, dtype=torch.bool)
    for ids in columns:
        alike |= (ids[:, None] == ids) & (ids >= 0)
    for _ in range(count):
        alike = alike.float() @ alike.float() > 0
    return alike


def target_matrix(
    targets: str, alike: torch.Tensor, taxa: Sequence[torch.Tensor], hierarchy_weight: float, *, normalised: bool
) -> torch.Tensor:
    """What the loss asks for, (N, N)."""

    def share(same: torch.Tensor) -> torch.Tensor:
        return same.double() / same.sum(dim=1, keepdim=True) if normalised else same.double()

    if targets in ("identity", "mask"):
        return torch.eye(len(alike), dtype=torch.float64)
    if targets == "sum":
        return alike.double()
    if targets == "mean":
        return share(alike)
    wanted = (1 - hierarchy_weight) * share(alike)
    for place, ids in enumerate(taxa):
        named = ids >= 0
        same = ((ids[:, None] == ids) & named) | (alike & ~named & ~named[:, None])
        wanted += hierarchy_weight * 2**place / (2 ** len(taxa) - 1) * share(same)
    return wanted
