from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from bioscan_hf.data.features import RANKS
from bioscan_hf.evaluation.baselines import blast
from bioscan_hf.evaluation.benchmarks import barcode_classification
from bioscan_hf.evaluation.benchmarks.barcode_classification import (
    LINEAR_DISCRIMINANT,
    ClassificationSettings,
    Measured,
    Task,
    measure_blast,
    measure_cnn,
    measure_embeddings,
    shown_columns,
    train_baseline_cnn,
)
from bioscan_hf.evaluation.benchmarks.paper import FINE_TUNED, LINEAR_PROBE
from bioscan_hf.evaluation.linear import linear_discriminant, linear_probe

ROWS: list[tuple[Any, ...]] = [
    # processid, split, order, genus, species, direction of the embedding in degrees
    ("k1", "train", "Aptera", "Aus", "Aus bus", 0),
    ("k2", "train", "Aptera", "Aus", "Aus bus", 10),
    ("k3", "train", "Aptera", "Cus", "Cus dus", 90),
    ("k4", "train", "Bptera", "Eus", "Eus fus", 180),
    ("k5", "train", "Aptera", "Cus", None, 45),
    # One neighbour: species among k1 to k4, genus and order among all.
    ("q1", "test", "Aptera", "Aus", "Aus bus", 4),  # k1: right at all ranks
    ("q2", "test", "Aptera", "Cus", "Cus dus", 52),  # k3: right; k5: right
    ("q3", "test", "Aptera", "Cus", "Cus dus", 30),  # k2: wrong; k5: right
    ("q4", "test", "Bptera", "Gus", "Gus hus", 170),  # no key has this species or genus; k4: the order is right
    ("q5", "test", "Aptera", "Aus", None, 3),  # not asked for the species; k1: right
    ("u1", "test_unseen", "Aptera", "Aus", "Aus ius", 14),  # k2: right
    ("u2", "test_unseen", "Bptera", "Eus", "Eus jus", 40),  # k5: wrong
    ("u3", "test_unseen", "Aptera", "Cus", "Cus kus", 100),  # k3: right
    ("u4", "test_unseen", "Bptera", None, None, 175),  # not asked for the genus; k4: right
    ("p1", "pretrain", "Bptera", None, None, 41),  # takes no part
]
SETTINGS = ClassificationSettings(neighbours=3, temperature=1e9)


def made_specimens(rows: list[tuple[Any, ...]]) -> Dataset:
    names = ("processid", "split", "order", "genus", "species")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    barcodes = ["ACGT" * 3 + "ACGT"[i % 4] + "ACGT"[i // 4] for i in range(len(rows))]
    return Dataset.from_dict({**dict.fromkeys(RANKS, [None] * len(rows)), **columns, "dna_barcode": barcodes})


def made_vectors(rows: list[tuple[Any, ...]]) -> np.ndarray:
    """Of different lengths, which do not count."""
    angles = np.radians([row[5] for row in rows])
    return (np.stack([np.cos(angles), np.sin(angles)], 1) * np.arange(1, len(rows) + 1)[:, None]).astype(np.float32)


SPECIMENS, VECTORS = made_specimens(ROWS), made_vectors(ROWS)


def quiet(task: str, done: int, total: int) -> None:
    assert done <= total


def by_question(measured: Iterable[Measured], *metrics: str) -> dict[tuple[str, str], tuple[float, int, str]]:
    listed = list(measured)
    found = {(m.benchmark, m.metric): (m.value, m.count, m.split) for m in listed}
    assert len(found) == len(listed)  # nothing is measured twice
    return {key: value for key, value in found.items() if not metrics or key[1] in metrics}


def test_one_neighbour_by_hand() -> None:
    found = by_question(measure_embeddings(Task(SPECIMENS, SETTINGS), VECTORS, report=quiet))
    one = {key: value for key, value in found.items() if key[0].startswith("1-NN") and "centred" not in key[0]}
    accuracies = {key[0]: value for key, value in one.items() if key[1] == "accuracy"}
    assert accuracies == {
        "1-NN order, seen species": (1.0, 5, "test"),
        "1-NN genus, seen species": (4 / 5, 5, "test"),
        "1-NN species, seen species": (2 / 4, 4, "test"),
        "1-NN order, unseen species": (3 / 4, 4, "test_unseen"),
        "1-NN genus, unseen species": (2 / 3, 3, "test_unseen"),
    }
    # Of Aus bus 1 of 1, of Cus dus 1 of 2, of Gus hus 0 of 1
    assert one["1-NN species, seen species", "macro_accuracy"][0] == pytest.approx((1 + 1 / 2 + 0) / 3)
    # F1 of Aus bus, named twice, 2/3; of Cus dus, named once of two, 2/3; of Eus fus, named wrongly, and Gus hus 0
    assert one["1-NN species, seen species", "macro_f1"][0] == pytest.approx((2 / 3 + 2 / 3) / 4)
    # At 30 degrees the third nearest key is a Cus dus. There are four keys with a species, so no five candidates.
    assert one["1-NN species, seen species", "top_3_accuracy"][0] == 3 / 4
    assert ("1-NN species, seen species", "top_5_accuracy") not in one
    assert one["1-NN genus, unseen species", "top_3_accuracy"][0] == pytest.approx(2 / 3)
    assert one["1-NN genus, unseen species", "top_5_accuracy"][0] == 1


def test_distance_of_wrong_names_by_hand() -> None:
    found = by_question(measure_embeddings(Task(SPECIMENS, SETTINGS), VECTORS, report=quiet), "hierarchical_distance")
    assert found == {
        # q2 and q3 go to k5, which has no species: one rank; q4 shares the order with k4: two ranks.
        ("1-NN, seen species", "hierarchical_distance"): ((0 + 1 + 1 + 2 + 0) / 5, 5, "test"),
        # u2 is of another order than k5: three ranks; u4, of which but the order is known, is right.
        ("1-NN, unseen species", "hierarchical_distance"): ((1 + 3 + 1 + 0) / 4, 4, "test_unseen"),
    }


def test_votes_by_hand() -> None:
    # Of equal votes both Cus dus lose to the two Aus bus; near keys with more votes than far ones win one of them.
    for temperature, species in ((1e9, 1 / 4), (0.02, 2 / 4)):
        task = Task(SPECIMENS, replace(SETTINGS, temperature=temperature))
        found = by_question(measure_embeddings(task, VECTORS, report=quiet), "accuracy")
        assert found["3-NN species, seen species", "accuracy"] == (species, 4, "test")
        assert found["3-NN genus, unseen species", "accuracy"] == (2 / 3, 3, "test_unseen")


def test_a_vote_of_one_is_not_asked_twice() -> None:
    settings = replace(SETTINGS, neighbours=1)
    found = by_question(measure_embeddings(Task(SPECIMENS, settings), VECTORS, report=quiet), "accuracy")
    assert ("1-NN species, seen species", "accuracy") in found
    questions = [question for _, question in shown_columns(settings)]
    assert len(set(questions)) == len(questions) and "1-NN genus, unseen species (centred)" in questions
    titles = [title for title, _ in shown_columns(SETTINGS)]
    assert titles[:7] == ["fine-tuned", "linear probe", "LDA", "1-NN", "3-NN", "1-NN, genus", "3-NN, genus"]


# The mean of the keys that have the label is taken away from all, and the angle between what is left counts.
@pytest.mark.parametrize("neighbours", [1, 3])
def test_centred_neighbours_equal_a_search_one_by_one(neighbours: int) -> None:
    task = Task(SPECIMENS, replace(SETTINGS, neighbours=neighbours))
    # Directions of which little is left when what is common to them is taken away.
    vectors = np.random.default_rng(2).normal([0, 0, 5], size=(15, 3))
    found = by_question(measure_embeddings(task, vectors.astype(np.float32), report=quiet), "accuracy")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for group, rank, column, keys, queries in (
        ("seen species", "species", 4, range(4), range(5, 9)),
        ("unseen species", "genus", 3, range(5), range(10, 13)),
    ):
        left = unit - np.mean([unit[key] for key in keys], axis=0)
        right = 0
        for query in queries:
            cosines = {key: left[key] @ left[query] / np.linalg.norm(left[key]) for key in keys}
            right += ROWS[max(cosines, key=lambda key: cosines[key])][column] == ROWS[query][column]
        expected = (right / len(queries), len(queries), task.splits[group])
        assert found[f"1-NN {rank}, {group} (centred)", "accuracy"] == expected
        assert found[f"1-NN {rank}, {group}", "accuracy"] != expected


def test_linear_classifiers_learn_from_the_keys_with_a_species(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int]] = []
    task = Task(SPECIMENS, replace(SETTINGS, linear_probe=True, seed=4))
    found = by_question(measure_embeddings(task, VECTORS, report=lambda *what: told.append(what)), "accuracy")
    unit = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    keys, labels, truth = unit[:4], np.array([0, 0, 1, 2]), np.array([0, 1, 1, 9])
    for question, classifier in (
        (LINEAR_DISCRIMINANT, linear_discriminant(keys, labels)),
        (LINEAR_PROBE, linear_probe(keys, labels, seed=4)),
    ):
        expected = np.mean(classifier.predict(unit[5:9]) == truth)
        assert found[question, "accuracy"] == (expected, 4, "test")
    assert told[:2] == [("linear discriminant", 0, 1), ("linear discriminant", 1, 1)]
    assert told[-1] == ("linear probe, epochs", 200, 200)
    without = by_question(measure_embeddings(Task(SPECIMENS, SETTINGS), VECTORS, report=quiet))
    assert (LINEAR_DISCRIMINANT, "accuracy") in without and (LINEAR_PROBE, "accuracy") not in without


# One specimen per species is a common library; it must not keep the other questions from being asked.
def test_one_barcode_per_species_teaches_no_discriminant() -> None:
    rows = [row for row in ROWS if row[0] != "k2"]
    settings = replace(SETTINGS, linear_probe=True)
    found = by_question(measure_embeddings(Task(made_specimens(rows), settings), made_vectors(rows), report=quiet))
    questions = {question for question, _ in found}
    assert LINEAR_DISCRIMINANT not in questions and {LINEAR_PROBE, "1-NN species, seen species"} <= questions
    one_species = [row for row in ROWS if row[0] not in ("k3", "k4")]
    task = Task(made_specimens(one_species), replace(settings, neighbours=2))
    questions = {m.benchmark for m in measure_embeddings(task, made_vectors(one_species), report=quiet)}
    assert not questions & {LINEAR_DISCRIMINANT, LINEAR_PROBE} and "1-NN species, seen species" in questions
    assert train_baseline_cnn(task, report=quiet) is None


def test_a_group_without_queries_is_not_asked() -> None:
    rows = [row for row in ROWS if row[1] != "test"]
    task = Task(made_specimens(rows), SETTINGS)
    found = by_question(measure_embeddings(task, made_vectors(rows), report=quiet))
    assert all("seen species" not in question.replace("unseen species", "") for question, _ in found)
    assert found["1-NN genus, unseen species", "accuracy"][0] == pytest.approx(2 / 3)
    assert task.splits == {"unseen species": "test_unseen"} and task.labelled("species", "seen species") is None
    assert train_baseline_cnn(task, report=quiet) is None


def test_best_hits_name_and_no_hit_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def best_hits(keys: list[str], queries: list[str], *, report: Any) -> np.ndarray:
        asked.append((len(keys), len(queries)))
        report(1, 2)
        # Species of k1 to k4 for q1 to q4; then genus of k1 to k5 for u1 to u3.
        return np.array([1, -1, 2, 3] if len(queries) == 4 else [0, 3, -1])

    monkeypatch.setattr(blast, "best_hits", best_hits)
    told: list[tuple[str, int, int]] = []
    measured = measure_blast(Task(SPECIMENS, SETTINGS), report=lambda *what: told.append(what))
    assert by_question(measured, "accuracy") == {
        ("1-NN species, seen species", "accuracy"): (2 / 4, 4, "test"),
        ("1-NN genus, unseen species", "accuracy"): (2 / 3, 3, "test_unseen"),
    }
    assert asked == [(4, 4), (5, 3)] and told == [("BLAST, queries", 1, 2)] * 2


def test_cnn_is_trained_on_the_keys_with_a_species_and_named_by_its_own_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Trained:
        def __init__(self, barcodes: list[str], labels: np.ndarray, *, seed: int, device: str, report: Any) -> None:
            assert barcodes == SPECIMENS["dna_barcode"][:4] and (seed, device) == (6, "cpu")
            report(1, 1)
            self.labels = labels

        def predict(self, barcodes: list[str]) -> np.ndarray:
            assert barcodes == SPECIMENS["dna_barcode"][5:9]
            return self.labels[[0, 2, 2, 2]]

    monkeypatch.setattr(barcode_classification, "train_cnn", Trained)
    task = Task(SPECIMENS, replace(SETTINGS, seed=6))
    trained = train_baseline_cnn(task, device="cpu", report=quiet)
    assert trained is not None
    assert by_question(measure_cnn(task, trained), "accuracy") == {(FINE_TUNED, "accuracy"): (3 / 4, 4, "test")}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keys": "val"}, r"keys in the split 'val' .*; got 0 keys and 9 queries"),
        ({"queries": "val", "queries_unseen": "val_unseen"}, "queries in 'val' and 'val_unseen'; got 5 keys and 0"),
        ({"keys": "pretrain"}, "None of the 1 specimens of the split 'pretrain' has a species"),
        ({"queries": "pretrain"}, "None of the 1 specimens of the split 'pretrain' has a species"),
        ({"queries_unseen": "pretrain"}, "None of the 1 specimens of the split 'pretrain' has a genus"),
        ({"queries": "test_unseen", "queries_unseen": "val"}, "No query of the splits 'test_unseen' and 'val'"),
        ({"neighbours": 5}, "at most as many as keys, 4; got 5 to vote for the species"),
        ({"neighbours": 0}, "at least 1 neighbour and at most as many as keys, 4; got 0"),
        ({"keys": "trian"}, "Did you mean 'train'"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_embedded(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Task(SPECIMENS, replace(SETTINGS, **settings))


def test_wrong_embeddings_are_refused() -> None:
    task = Task(SPECIMENS, SETTINGS)
    with pytest.raises(ValueError, match="each of the 15 specimens; got 14"):
        list(measure_embeddings(task, VECTORS[1:], report=quiet))
    bad = VECTORS.copy()
    bad[6, 0] = np.nan
    with pytest.raises(ValueError, match="finite queries; 1 of 5 are not, the first in row 1"):
        list(measure_embeddings(task, bad, report=quiet))
