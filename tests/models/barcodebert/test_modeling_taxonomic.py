"""Ranks that never contradict each other: against naive sums over the leaves of random trees."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification

from bioscan_hf import BarcodeBertForTaxonomicClassification, KmerEncoder
from tests.tiny import TAXONOMY, tiny_config


@st.composite
def taxonomies(draw: st.DrawFn) -> dict[str, Any]:
    """Trees of up to four ranks; taxa may lack any of the broader ranks, and leaves any of the finer ones."""
    ranks = ["order", "family", "genus", "species"][: draw(st.integers(1, 4))]
    lineages: set[tuple[int, ...]] = {()}
    counts = []
    for _ in ranks:
        count = 0
        extended: set[tuple[int, ...]] = set()
        for row in sorted(lineages):
            children = draw(st.integers(0, 3))
            extended |= {(*row, count + i) for i in range(children)}
            count += children
            if not children or draw(st.booleans()):
                extended.add((*row, -1))
        if not count:
            extended = {(*min(lineages), 0), *(row for row in extended if row[:-1] != min(lineages))}
            count = 1
        lineages = extended
        counts.append(count)
    rows = sorted(row for row in lineages if max(row) >= 0)
    return {
        "ranks": ranks,
        "taxa": {rank: [f"{rank} {i}" for i in range(count)] for rank, count in zip(ranks, counts, strict=True)},
        "lineages": draw(st.permutations([list(row) for row in rows])),
    }


def classifier(taxonomy: dict[str, Any] = TAXONOMY, **fields: Any) -> BarcodeBertForTaxonomicClassification:
    torch.manual_seed(0)
    config = tiny_config(initializer_range=0.3, **taxonomy, **fields)
    return BarcodeBertForTaxonomicClassification(config).eval()


def tokens(count: int = 4) -> dict[str, torch.Tensor]:
    barcodes = ["ACGTACGTACGTACG", "TTTGGG", "ACGNACGTTTTTTTT", "CCC"]
    ids, mask = map(torch.from_numpy, KmerEncoder(3)(barcodes[:count]))
    return {"input_ids": ids, "attention_mask": mask}


def naive_probabilities(logits: torch.Tensor, taxonomy: dict[str, Any]) -> list[torch.Tensor]:
    leaves = logits.double().softmax(dim=-1)
    return [
        torch.stack(
            [
                sum((leaves[:, n] for n, row in enumerate(taxonomy["lineages"]) if row[i] == j), torch.zeros(1))
                for j in range(len(taxonomy["taxa"][rank]))
            ],
            dim=1,
        )
        for i, rank in enumerate(taxonomy["ranks"])
    ]


@settings(max_examples=40, deadline=None)
@given(taxonomies(), st.data())
def test_random_trees(taxonomy: dict[str, Any], data: st.DataObject) -> None:
    model = classifier(taxonomy)
    counts = [len(taxonomy["taxa"][rank]) for rank in taxonomy["ranks"]]
    rows = [[data.draw(st.sampled_from([-100, -1, *range(n)])) for n in counts] for _ in range(4)]
    labels = torch.tensor(rows)
    outputs = model(**tokens(), labels=labels)
    naive = naive_probabilities(outputs.logits, taxonomy)
    losses = []
    for i, (found, expected) in enumerate(zip(outputs.log_probabilities, naive, strict=True)):
        torch.testing.assert_close(found.double().exp(), expected, atol=1e-5, rtol=1e-4)
        assert (found <= 0).all()
        losses += [-expected[n, row[i]].log() for n, row in enumerate(rows) if row[i] >= 0]
    expected_loss = torch.stack(losses).mean() if losses else torch.zeros((), dtype=torch.double)
    torch.testing.assert_close(outputs.loss.double(), expected_loss, atol=1e-5, rtol=1e-5)
    outputs.loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert bool(losses) or not any(gradient.any() for gradient in gradients)


@torch.no_grad()
def test_genus_is_the_sum_of_its_species() -> None:
    order, genus, species = (p.exp() for p in classifier()(**tokens()).log_probabilities)
    torch.testing.assert_close(genus[:, 0], species[:, 0])
    torch.testing.assert_close(genus[:, 1], species[:, 1] + species[:, 2])
    torch.testing.assert_close(order[:, 0], genus.sum(dim=1))
    torch.testing.assert_close(order.sum(dim=1), torch.ones(4))


def test_gradient_of_the_loss() -> None:
    model = classifier().double()
    labels = torch.tensor([[0, 1, -1], [0, -100, 2], [1, -1, -1], [-1, -1, -1]])
    outputs = model(**tokens(), labels=labels)
    naive = naive_probabilities(outputs.logits, TAXONOMY)
    losses = [
        -rank[n, label].log()
        for rank, own in zip(naive, labels.unbind(1), strict=True)
        for n, label in enumerate(own.tolist())
        if label >= 0
    ]
    expected = torch.autograd.grad(torch.stack(losses).mean(), model.score.weight, retain_graph=True)[0]
    found = torch.autograd.grad(outputs.loss, model.score.weight)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float", "bfloat16"])
def test_extreme_scores(dtype: str) -> None:
    model = classifier()
    with torch.no_grad():
        model.score.bias.copy_(torch.tensor([1e4, -1e4, 0.0, 5.0]))
    getattr(model, dtype)()
    outputs = model(**tokens(), labels=torch.tensor([[1, 1, 1], [0, 0, 0], [1, -1, -1], [-1, 1, 2]]))
    assert outputs.loss > 1000 and all(p.isfinite().all() for p in outputs.log_probabilities)
    outputs.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    # To name the right species is still rewarded.
    assert model.score.bias.grad is not None and (model.score.bias.grad[[1, 2]] < 0).all()


def test_no_label_at_all() -> None:
    model = classifier()
    for missing in (-1, -100):
        loss = model(**tokens(), labels=torch.full((4, 3), missing)).loss
        loss.backward()
        assert loss == 0 and not any(p.grad.any() for p in model.parameters() if p.grad is not None)


def test_labels_of_another_shape_are_refused() -> None:
    for shape in ((4,), (4, 2), (4, 4)):
        with pytest.raises(ValueError, match=r"\(batch, 3\).*got \(4"):
            classifier()(**tokens(), labels=torch.zeros(shape, dtype=torch.long))


def test_needs_taxa() -> None:
    with pytest.raises(ValueError, match="TaxonTree"):
        classifier({})


@torch.no_grad()
def test_saved_folder_gives_the_same_class_and_taxa(tmp_path: Path) -> None:
    model = classifier()
    model.save_pretrained(tmp_path)
    again, report = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert type(again) is BarcodeBertForTaxonomicClassification and not any(report.values())
    assert torch.equal(again.classes, model.classes)
    pairs = zip(again(**tokens()).log_probabilities, model(**tokens()).log_probabilities, strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert again.config.taxa == TAXONOMY["taxa"]
