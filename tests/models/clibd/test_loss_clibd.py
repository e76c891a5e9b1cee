"""Losses equal the reference's and those with whole matrices, whole and tile by tile."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize

from bioscan_hf.models.clibd.loss_clibd import alignment_loss
from bioscan_hf.models.clibd.targets_clibd import pair_targets
from tests.models.clibd.naive_loss import naive_loss

PARITY = Path(__file__).parent / "parity"
VECTORS = load_file(PARITY / "loss_single.safetensors")
CASES = list(json.loads((PARITY / "loss_single.json").read_text())["cases"])
MODALITIES = ("image", "dna", "text")
PAIRS = list(combinations(MODALITIES, 2))
TILES = [None, 1, 5, 8, 24, 100]
TARGETS = ["identity", "mask", "mean", "sum", "hierarchical"]
COUNT = 24


def pairs_of(case: str) -> list[tuple[str, str]]:
    """Those of a case of the reference, such as `clip.dup.bind_dna` or `contrastive.dup.it`."""
    what = case.split(".")[2]
    if what.startswith("bind_"):
        return [pair for pair in PAIRS if what.removeprefix("bind_") in pair]
    if what == "no_image_text":
        return [("image", "dna"), ("dna", "text")]
    return [pair for pair in PAIRS if all(name[0] in what.split("_")[0] for name in pair)]


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients_are_those_of_the_reference(case: str, tile: int | None) -> None:
    labels, pairs = case.split(".")[1], pairs_of(case)
    raw = {name: VECTORS[f"{name}_features"].clone().requires_grad_() for name in MODALITIES}
    fixed = "fixed" in case
    scale = torch.tensor(1 / 0.07) if fixed else VECTORS["logit_scale"].clone()
    scale.requires_grad_()
    loss = alignment_loss(
        {name: normalize(own, dim=-1) for name, own in raw.items()},
        dict.fromkeys(MODALITIES, torch.ones(COUNT, dtype=torch.bool)),
        scale,
        pairs=pairs,
        targets="identity" if labels == "unique" else "sum",
        group_ids=VECTORS[f"labels_{labels}"],
        tile=tile,
    )
    loss.backward()
    torch.testing.assert_close(loss.detach(), VECTORS[f"{case}.loss"].reshape(()), rtol=1e-5, atol=0)
    used = {name for pair in pairs for name in pair}
    for name in used:
        expected = VECTORS[f"{case}.grad_{name}"]
        assert raw[name].grad is not None
        torch.testing.assert_close(raw[name].grad, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    if not fixed:
        torch.testing.assert_close(scale.grad, VECTORS[f"{case}.grad_logit_scale"].reshape(()), rtol=1e-4, atol=1e-6)
    for name in set(MODALITIES) - used:
        grad = raw[name].grad
        assert grad is not None and not grad.any(), "as DDP expects of a tower that no pair uses"


def batch(count: int = 13, seed: int = 0, *, absent: bool = True, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    """Arguments of a loss: groups that hang together through others, captions, taxa, and missing modalities."""
    draw = torch.Generator().manual_seed(seed)
    groups = torch.randint(-1, 5, (count, 2), generator=draw)
    groups[:, 1] = torch.randint(-1, 8, (count,), generator=draw)
    order = torch.randint(0, 2, (count,), generator=draw)
    family = torch.where(torch.rand(count, generator=draw) < 0.7, 2 * order + torch.arange(count) % 2, -1)
    there = {name: torch.rand(count, generator=draw) < 0.8 for name in MODALITIES}
    return {
        "vectors": {name: torch.randn(count, 6, generator=draw, dtype=dtype) for name in MODALITIES},
        "present": there if absent else {name: torch.ones(count, dtype=torch.bool) for name in MODALITIES},
        "group_ids": groups,
        "caption_ids": torch.randint(-1, 4, (count,), generator=draw),
        "rank_ids": torch.stack([order, family], dim=1),
    }


def results(function: Any, given: dict[str, Any], *, bias: bool = False, **options: Any) -> list[torch.Tensor]:
    """Loss, and its gradients with respect to raw vectors, scale and bias."""
    given = dict(given)
    raw = {name: own.clone().requires_grad_() for name, own in given.pop("vectors").items()}
    dtype = next(iter(raw.values())).dtype
    scale = torch.tensor(3.0, dtype=dtype, requires_grad=True)
    shift = torch.tensor(-2.0, dtype=dtype, requires_grad=True) if bias else None
    embeddings = {name: normalize(own, dim=-1) for name, own in raw.items()}
    loss = function(embeddings, given.pop("present"), scale, shift, **{"pairs": PAIRS, **given, **options})
    loss.backward()
    leaves = [*raw.values(), scale, *([] if shift is None else [shift])]
    return [loss.detach().double(), *[torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]]


@pytest.mark.parametrize("tile", [None, 1, 4, 13])
@pytest.mark.parametrize("bias", [False, True], ids=["info_nce", "sigmoid"])
@pytest.mark.parametrize("targets", TARGETS)
def test_equal_to_whole_matrices(targets: str, bias: bool, tile: int | None) -> None:
    for seed in range(3):
        given = batch(seed=seed)
        expected = results(naive_loss, given, bias=bias, targets=targets, hierarchy_weight=0.3)
        found = results(alignment_loss, given, bias=bias, targets=targets, hierarchy_weight=0.3, tile=tile)
        # Targets are kept in float32.
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bias", [False, True], ids=["info_nce", "sigmoid"])
@pytest.mark.parametrize("pairs", [PAIRS[:1], PAIRS[1:], [("image", "text")]])
def test_of_some_pairs(pairs: list[tuple[str, str]], bias: bool) -> None:
    given = batch(seed=7)
    expected = results(naive_loss, given, bias=bias, targets="mean", pairs=pairs)
    torch.testing.assert_close(
        results(alignment_loss, given, bias=bias, targets="mean", pairs=pairs), expected, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("tile", [None, 2])
@pytest.mark.parametrize("bias", [False, True], ids=["info_nce", "sigmoid"])
@pytest.mark.parametrize("targets", TARGETS)
def test_gradients_are_those_of_finite_differences(targets: Any, bias: bool, tile: int | None) -> None:
    given = batch(5, seed=3)
    leaves = [own.requires_grad_() for own in given.pop("vectors").values()]
    leaves += [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (3.0, -2.0)]
    present = given.pop("present")

    def loss(*values: torch.Tensor) -> torch.Tensor:
        embeddings = {name: normalize(own, dim=-1) for name, own in zip(MODALITIES, values[:3], strict=True)}
        shift = values[4] if bias else None
        return alignment_loss(embeddings, present, values[3], shift, pairs=PAIRS, targets=targets, tile=tile, **given)

    loss(*leaves).backward()
    # The loss is given in float32, so that small steps would drown in its rounding.
    for leaf in leaves[: 4 + bias]:
        assert leaf.grad is not None
        step = torch.randn(leaf.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            moved = [
                loss(*[other + sign * 1e-2 * step if other is leaf else other for other in leaves]) for sign in (1, -1)
            ]
        slope = (moved[0] - moved[1]).double() / 2e-2
        torch.testing.assert_close(slope, (leaf.grad * step).sum(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("tile", [None, 3])
@pytest.mark.parametrize("bias", [False, True], ids=["info_nce", "sigmoid"])
def test_backward_can_be_repeated(bias: bool, tile: int | None) -> None:
    given = batch()
    raw = {name: own.requires_grad_() for name, own in given["vectors"].items()}
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    shift = torch.tensor(-2.0, dtype=torch.float64) if bias else None
    loss = alignment_loss(
        {name: normalize(own, dim=-1) for name, own in raw.items()},
        given["present"],
        scale,
        shift,
        pairs=PAIRS,
        targets="mask",
        group_ids=given["group_ids"],
        tile=tile,
    )
    leaves = [*raw.values(), scale]
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    twice = torch.autograd.grad(2 * loss, leaves, retain_graph=True)
    torch.testing.assert_close([2 * grad for grad in first], list(twice))
    torch.testing.assert_close(list(torch.autograd.grad(loss, leaves)), list(first))


@pytest.mark.parametrize("bias", [False, True], ids=["info_nce", "sigmoid"])
def test_batch_without_any_pair_has_no_loss_and_gradients_of_zero(bias: bool) -> None:
    given = batch(4)
    image = torch.tensor([True, False, True, False])
    given["present"] = {"image": image, "dna": ~image, "text": torch.zeros(4, dtype=torch.bool)}
    found = results(alignment_loss, given, bias=bias)
    assert not any(value.any() for value in found)


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("bias", [False, True], ids=["info_nce", "sigmoid"])
def test_order_of_specimens_means_nothing(targets: str, bias: bool) -> None:
    given = batch(dtype=torch.float32)
    order = torch.randperm(13, generator=torch.Generator().manual_seed(5))
    moved = {
        key: {name: own[order] for name, own in value.items()} if isinstance(value, dict) else value[order]
        for key, value in given.items()
    }
    loss, *gradients = results(alignment_loss, given, bias=bias, targets=targets)
    other, *others = results(alignment_loss, moved, bias=bias, targets=targets)
    torch.testing.assert_close([other, *others[3:]], [loss, *gradients[3:]])
    torch.testing.assert_close(others[:3], [gradient[order] for gradient in gradients[:3]])


def test_ids_only_say_who_is_alike() -> None:
    given = batch()
    expected = results(alignment_loss, given, targets="mean")
    # Hashes of 63 bits, and any negative number for none.
    ids = given["group_ids"]
    other = {**given, "group_ids": torch.where(ids < 0, -7 - ids, (ids + 1) * 1_111_111_111_111_111_111)}
    torch.testing.assert_close(results(alignment_loss, other, targets="mean"), expected)


def test_without_relatives_all_targets_are_the_identity() -> None:
    given = batch()
    given |= {"group_ids": torch.arange(13), "caption_ids": None, "rank_ids": torch.arange(26).reshape(13, 2)}
    expected = results(alignment_loss, given)
    for targets in TARGETS[1:]:
        torch.testing.assert_close(results(alignment_loss, given, targets=targets), expected, rtol=1e-6, atol=1e-7)


def test_repeated_specimens_cost_nothing_where_they_are_hidden_and_more_where_they_add_up() -> None:
    torch.manual_seed(0)
    one = normalize(torch.randn(6, 8), dim=-1)
    there = torch.ones(12, dtype=torch.bool)
    embeddings, present = {"image": one.repeat(2, 1), "dna": one.repeat(2, 1)}, {"image": there, "dna": there}
    alone = alignment_loss(
        {name: own[:6] for name, own in embeddings.items()},
        {name: own[:6] for name, own in present.items()},
        torch.tensor(5.0),
        pairs=PAIRS,
    )

    def loss(targets: Any) -> torch.Tensor:
        ids = torch.arange(6).repeat(2)
        return alignment_loss(embeddings, present, torch.tensor(5.0), pairs=PAIRS, targets=targets, group_ids=ids)

    # Each is compared with itself or its copy as with others: log 2 more.
    torch.testing.assert_close(loss("identity"), alone + torch.tensor(2.0).log())
    torch.testing.assert_close(loss("mean"), alone + torch.tensor(2.0).log())
    torch.testing.assert_close(loss("sum"), 2 * loss("mean"))
    assert alone < loss("mask") < loss("identity")


def test_targets_are_where_the_vectors_are() -> None:
    for targets in ("identity", "mask"):
        (classes,) = pair_targets(targets, 3, torch.arange(3), device=torch.device("meta"))
        assert classes.weights.device.type == "meta"


@pytest.mark.parametrize(("targets", "missing"), [("mean", "group_ids"), ("hierarchical", "rank_ids")])
def test_missing_ids_are_named(targets: str, missing: str) -> None:
    given = {**batch(), missing: None, "caption_ids": None}
    with pytest.raises(ValueError, match=f"`loss_targets='{targets}'` needs `{missing}`"):
        results(alignment_loss, given, targets=targets)


def test_large_similarities_stay_finite() -> None:
    given = batch(absent=False, dtype=torch.float32)
    embeddings = {name: normalize(own, dim=-1).requires_grad_() for name, own in given["vectors"].items()}
    for tile in (None, 4):
        loss = alignment_loss(embeddings, given["present"], torch.tensor(1e4), pairs=PAIRS, tile=tile)
        assert loss.isfinite() and all(g.isfinite().all() for g in torch.autograd.grad(loss, list(embeddings.values())))


@pytest.mark.parametrize("tile", [None, 5])
def test_far_from_the_highest_similarity_nothing_is_lost(tile: int | None) -> None:
    """Powers of one row and column, less the highest similarity of all, are too small for float32."""
    found = {"image": torch.eye(8).repeat(2, 1), "dna": torch.eye(8).repeat(2, 1)}
    found["image"][3], found["dna"][5] = -torch.eye(8)[:2]
    there = dict.fromkeys(found, torch.ones(16, dtype=torch.bool))
    scale = torch.tensor(150.0)
    values, gradients = [], []
    for loss, dtype in ((alignment_loss, torch.float32), (naive_loss, torch.float64)):
        own = {name: vectors.to(dtype, copy=True).requires_grad_() for name, vectors in found.items()}
        options: dict[str, Any] = {"tile": tile} if loss is alignment_loss else {}
        value = loss(own, there, scale.to(dtype), pairs=[("image", "dna")], **options)
        value.backward()
        values.append(float(value.detach()))
        gradients.append(torch.stack([vectors.grad for vectors in own.values() if vectors.grad is not None]).double())
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-6 * float(gradients[1].abs().max()))
