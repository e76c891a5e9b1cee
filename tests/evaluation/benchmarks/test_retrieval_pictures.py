from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from datasets import Dataset, Features, Image, Value
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from PIL import Image as PillowImage

from bioscan_hf.evaluation.benchmarks.cross_modal_retrieval import Retrieved, Task
from bioscan_hf.evaluation.benchmarks.paper import RETRIEVED_RANKS, SEEN, UNSEEN, retrieval_name
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import PAIRS, RetrievalSettings
from bioscan_hf.evaluation.benchmarks.retrieval_pictures import (
    Found,
    accuracy_by_rank,
    choose_queries,
    retrieved_keys,
)
from tests.tiny import RESULT


@pytest.fixture(autouse=True)
def closed_figures() -> object:
    yield
    plt.close("all")


def heights(axes: Axes) -> list[tuple[float, float | None]]:
    """Height and opacity of the bars, from the left."""
    bars = sorted((bar for bar in axes.patches if isinstance(bar, Rectangle)), key=lambda bar: bar.get_x())
    return [(round(bar.get_height(), 6), bar.get_alpha()) for bar in bars]


def test_bars_by_rank_with_published_ones_pale_beside() -> None:
    results = [
        replace(RESULT, benchmark=retrieval_name(*pair, rank, group), metric=metric, value=value)
        for pair in (PAIRS["image-dna"], PAIRS["image-text"])
        for rank in ("order", "species")
        for group, value in ((SEEN, 0.5), (UNSEEN, 0.25))
        for metric, value in (("macro_accuracy", value), ("accuracy", 0.9))
    ]
    figure = accuracy_by_rank(results, [PAIRS["image-dna"], PAIRS["image-text"]], title="A title")
    image_dna, image_text = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["image to DNA", "image to text"]
    assert heights(image_text) == [(50, 1), (25, 1)] * 2
    assert heights(image_dna) == [
        *((50, 1), (25, 1), (91.2, 0.3), (98, 0.3)),
        *((80.9, 0.3), (84.6, 0.3), (63, 0.3), (50.6, 0.3)),
        *((50, 1), (25, 1), (51.1, 0.3), (12.7, 0.3)),
    ]
    assert sorted(text.get_text() for text in image_text.texts) == ["25", "25", "50", "50"]
    assert [label.get_text() for label in image_dna.get_xticklabels()] == list(RETRIEVED_RANKS)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:3] == [SEEN, UNSEEN, f"{SEEN}, CLIBD (image + DNA + text), published"]


def test_a_model_of_what_was_not_published_has_no_pale_bars() -> None:
    pairs = [PAIRS[name] for name in ("image-text", "text-dna", "joint-dna", "dna-text")]
    figure = accuracy_by_rank([], pairs, title="A title")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [SEEN, UNSEEN]
    # Four panels in rows of three; the last two places stay empty.
    assert [axes.axison for axes in figure.axes] == [True] * 4 + [False] * 2


def made_task(seed: int = 0) -> Task:
    """Five keys, and 24 queries: of seen species in four orders, most of them in one, and some without species."""
    orders = ["A"] * 9 + ["B", "C", "D"]
    records: list[dict[str, str | None]] = [{"order": "A", "species": "A b", "split": "train"}] * 5
    records += [
        {"order": order, "species": None if place == 11 else f"{order} {place}", "split": split}
        for split in ("test", "test_unseen")
        for place, order in enumerate(orders)
    ]
    specimens = Dataset.from_list([{**dict.fromkeys(RETRIEVED_RANKS), **record} for record in records])
    return Task(specimens, RetrievalSettings(seed=seed), {})


def made_found(task: Task) -> dict[str, Retrieved]:
    return {group: Retrieved(rows, rows[:, None] + np.arange(5)) for group, rows in task.queries.items()}


@pytest.mark.parametrize(("wanted", "shares"), [(6, (3, 3)), (5, (3, 2)), (1, (1, 0)), (99, (11, 11))])
def test_chosen_queries_are_of_both_groups(wanted: int, shares: tuple[int, int]) -> None:
    task = made_task()
    chosen = choose_queries(task, made_found(task), wanted)
    assert [found.group for found in chosen] == [SEEN] * shares[0] + [UNSEEN] * shares[1]
    for found in chosen:
        assert found.query in task.queries[found.group] and found.keys.tolist() == [found.query + i for i in range(5)]
        assert task.labels["species"][found.query] >= 0
    assert len({found.query for found in chosen}) == len(chosen)


def test_chosen_queries_are_of_many_orders_and_drawn_by_the_seed() -> None:
    task = made_task()
    chosen = choose_queries(task, made_found(task), 6)
    for group in (SEEN, UNSEEN):
        orders = [task.labels["order"][found.query] for found in chosen if found.group == group]
        assert len(set(orders)) == 3, "the fourth order has no species"
    rows = [found.query for found in chosen]
    assert rows == [found.query for found in choose_queries(task, made_found(task), 6)]
    # What was found plays no part.
    other = {group: Retrieved(queries, keys[:, ::-1]) for group, (queries, keys) in made_found(task).items()}
    assert rows == [found.query for found in choose_queries(task, other, 6)]
    others = made_task(seed=3)
    assert rows != [found.query for found in choose_queries(others, made_found(others), 6)]
    alone = choose_queries(task, {SEEN: made_found(task)[SEEN]}, 5)
    assert len(alone) == 5 and {found.group for found in alone} == {SEEN}


TAXA = [
    ("Aptera", "Bidae", "Cus", "Cus dus"),
    ("Aptera", "Bidae", "Cus", "Cus dus"),
    ("Aptera", "Bidae", "Cus", "Cus longissimusnominatus"),
    ("Aptera", "Bidae", "Eus", None),
    ("Aptera", "Fidae", None, None),
    (None, None, None, None),
]


def made_specimens(**columns: Any) -> Dataset:
    ranks = dict(zip(RETRIEVED_RANKS, map(list, zip(*TAXA, strict=True)), strict=True))
    return Dataset.from_dict({"processid": [f"P{i}" for i in range(6)], **ranks, **columns})


def colour(axes: Axes) -> tuple[float, ...]:
    return to_rgba(axes.spines["left"].get_edgecolor())


def test_frames_say_what_is_right() -> None:
    rows = [Found(SEEN, 0, np.array([1, 2, 3, 4, 5]))]
    figure = retrieved_keys(made_specimens(), rows, title="A title")
    query, gap, *keys = figure.axes
    assert not gap.axison and (query.get_title(), query.get_ylabel()) == ("query", "seen\nspecies")
    assert [colour(axes) for axes in keys] == [to_rgba(name) for name in ("C2", "gold", "C1", "C3", "C3")]
    # The narrowest label, cut if it is long.
    names = [axes.get_xlabel() for axes in (query, *keys)]
    assert names == ["Cus dus", "Cus dus", "Cus longissimusnomina…", "Eus", "Fidae", "no label"]
    # No images are loaded, so there are cards.
    assert [axes.texts[0].get_text() for axes in (query, *keys)] == [f"P{i}" for i in range(6)]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["same species", "same genus", "same family", "another family"]


def test_missing_labels_are_never_right() -> None:
    figure = retrieved_keys(made_specimens(), [Found(UNSEEN, 5, np.array([5, 4, 3, 2, 1]))], title="A title")
    assert {colour(axes) for axes in figure.axes[2:]} == {to_rgba("C3")}


def test_images_where_they_are_and_cards_elsewhere() -> None:
    grey = PillowImage.new("L", (8, 6), 90)
    features = Features({**made_specimens().features, "image": Image()})
    specimens = made_specimens(image=[grey, None, grey, grey, None, grey]).cast(features)
    assert specimens.features["processid"] == Value("string")
    rows = [Found(SEEN, 0, np.array([1, 2, 3, 4, 5])), Found(UNSEEN, 1, np.array([0, 0, 0, 0, 0]))]
    axes = [one for one in retrieved_keys(specimens, rows, title="A title").axes if one.axison]
    assert [len(one.images) for one in axes] == [1, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1]
    assert [text.get_text() for one in axes[:6] for text in one.texts] == ["P1", "P4"]
    # The whole image, with white above and below.
    pixels = np.asarray(axes[0].images[0].get_array())
    assert pixels.shape == (180, 180, 3) and (pixels[[0, -1]] == 255).all() and (pixels[90] == 90).all()
