import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from safetensors.numpy import load_file

from bioscan_hf.evaluation.benchmarks.barcode_classification import Measured
from bioscan_hf.evaluation.benchmarks.cross_modal_retrieval import METRICS, Embedded, Retrieved, Task, retrieve, score
from bioscan_hf.evaluation.benchmarks.paper import HARMONIC, RETRIEVED_RANKS, SEEN, UNSEEN, retrieval_name
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import PAIRS, RetrievalSettings

PARITY = Path(__file__).parents[1] / "parity"
THEIRS = json.loads((PARITY / "clibd_retrieval.json").read_text())
VECTORS = load_file(PARITY / "clibd_retrieval.safetensors")
PARTS = {"key": "train", "seen": "test", "unseen": "test_unseen"}
KINDS = {
    **{"image": "encoded_image_feature", "dna": "encoded_dna_feature", "text": "encoded_language_feature"},
    **{"joint": "averaged_feature", "concat": "concatenated_feature", "all": "all_key_features"},
}


def made_task(records: Sequence[dict[str, Any]], **present: Sequence[int]) -> Task:
    """A task of specimens with their splits; those that are not named in `present` have all modalities."""
    specimens = Dataset.from_list([{**dict.fromkeys(RETRIEVED_RANKS), **record} for record in records])
    everyone = range(len(specimens))
    rows = {modality: np.array(present.get(modality, everyone), np.int64) for modality in ("image", "dna")}
    return Task(specimens, RetrievalSettings(), rows)


def embedded(vectors: dict[str, np.ndarray]) -> dict[str, Embedded]:
    return {modality: Embedded(np.arange(len(own)), own) for modality, own in vectors.items()}


@pytest.fixture(scope="module")
def of_reference() -> tuple[Task, dict[str, Embedded]]:
    """Keys, then queries of seen and of unseen species, as the reference was given them."""
    task = made_task([{**labels, "split": split} for part, split in PARTS.items() for labels in THEIRS["labels"][part]])
    names = {"image": "image", "dna": "dna", "text": "language"}
    vectors = {ours: np.concatenate([VECTORS[f"{part}.{name}"] for part in PARTS]) for ours, name in names.items()}
    return task, embedded(vectors)


def by_question(measured: Sequence[Measured]) -> dict[tuple[str, str], Measured]:
    found = {(m.benchmark, m.metric): m for m in measured}
    assert len(found) == len(measured)
    return found


@pytest.mark.parametrize("name", PAIRS)
def test_equals_the_numbers_of_the_reference(of_reference: tuple[Task, dict[str, Embedded]], name: str) -> None:
    task, vectors = of_reference
    pair = PAIRS[name]
    assert task.why_not(pair) is None
    found = by_question(list(score(task, pair, retrieve(task, pair, vectors))))
    numbers = THEIRS["acc_dict"][KINDS[pair.query]][KINDS[pair.key]]
    theirs = {SEEN: numbers["seen"], UNSEEN: numbers["unseen"]}
    theirs[HARMONIC] = THEIRS["harmonic_mean"][KINDS[pair.query]][KINDS[pair.key]]
    for group, of_group in theirs.items():
        for kind, metric in (("micro_acc", "accuracy"), ("macro_acc", "macro_accuracy")):
            for depth, of_depth in of_group[kind].items():
                for rank, value in of_depth.items():
                    at_depth = metric if depth == "1" else f"top_{depth}_{metric}"
                    ours = found.pop((retrieval_name(*pair, rank, group), at_depth))
                    assert ours.value == pytest.approx(value, abs=1e-12), (group, at_depth, rank)
                    assert ours.count == {SEEN: 90, UNSEEN: 60, HARMONIC: 150}[group]
                    assert ours.split == {SEEN: "test", UNSEEN: "test_unseen", HARMONIC: "test+test_unseen"}[group]
    assert not found, "we measure nothing else"


def test_all_pairs_of_the_reference_are_there_and_their_mean_is_its_overall_score(
    of_reference: tuple[Task, dict[str, Embedded]],
) -> None:
    asked = {(query, key) for query, keys in THEIRS["harmonic_mean"].items() for key in keys}
    assert asked == {(KINDS[pair.query], KINDS[pair.key]) for pair in PAIRS.values()} and len(PAIRS) == 21
    task, vectors = of_reference
    top_1 = [
        measured.value
        for pair in PAIRS.values()
        for measured in score(task, pair, retrieve(task, pair, vectors))
        if measured.metric in ("accuracy", "macro_accuracy") and not measured.benchmark.endswith(HARMONIC)
    ]
    assert np.mean(top_1) == pytest.approx(THEIRS["overall_acc"], abs=1e-12)


@pytest.mark.parametrize("name", ["image-dna", "image-image", "dna-dna"])
def test_finds_the_keys_of_the_reference(of_reference: tuple[Task, dict[str, Embedded]], name: str) -> None:
    task, vectors = of_reference
    found = retrieve(task, PAIRS[name], vectors)
    for group, part in ((SEEN, "seen"), (UNSEEN, "unseen")):
        place = f"make_prediction.{part}.{name.replace('-', '_to_')}.indices"
        assert (found[group].keys == VECTORS[place]).all()
        assert (found[group].queries == task.queries[group]).all()


def test_missing_labels_written_as_a_taxon_are_counted_as_the_reference_does() -> None:
    theirs = json.loads((PARITY / "clibd_metrics_topk.json").read_text())
    # Five keys for each query, with the labels that were predicted: the reference predicts each rank by itself.
    keys = [
        {**{rank: predicted[rank][place] for rank in RETRIEVED_RANKS}, "split": "train"}
        for predicted in theirs["pred"]
        for place in range(5)
    ]
    queries = [{**labels, "split": "test"} for labels in theirs["gt"]]
    assert any(labels["species"] == "not_classified" for labels in theirs["gt"])
    task = made_task([*keys, *queries])
    rows = Retrieved(np.arange(len(keys), len(keys) + len(queries)), np.arange(len(keys)).reshape(-1, 5))
    found = by_question(list(score(task, PAIRS["image-dna"], {SEEN: rows})))
    for kind, metric in (("micro", "accuracy"), ("macro", "macro_accuracy")):
        for depth, of_depth in theirs[kind].items():
            for rank, value in of_depth.items():
                name = metric if depth == "1" else f"top_{depth}_{metric}"
                ours = found[retrieval_name("image", "dna", rank, SEEN), name]
                assert ours.value == pytest.approx(value, abs=1e-12) and ours.count == len(queries)


def taxa(species: str | None, genus: str | None, split: str, order: str = "Aptera") -> dict[str, Any]:
    return {"order": order, "genus": genus, "species": species, "split": split}


# Six keys, of which the last has no species, two queries of seen species, and two of an unseen one.
RECORDS = [
    *(taxa("Aus bus", "Aus", "train") for _ in range(3)),
    *(taxa("Cus dus", "Cus", "key_unseen") for _ in range(2)),
    taxa(None, "Cus", "train"),
    taxa("Aus bus", "Aus", "test"),
    taxa(None, "Aus", "test"),
    taxa("Cus dus", "Cus", "test_unseen"),
    taxa("Cus dus", "Cus", "test_unseen"),
]


def test_hand_worked_case_with_missing_labels() -> None:
    task = made_task(RECORDS)
    found = {
        SEEN: Retrieved(np.array([6, 7]), np.array([[3, 0, 4, 1, 2], [0, 1, 2, 3, 4]])),
        UNSEEN: Retrieved(np.array([8, 9]), np.array([[5, 0, 1, 2, 3], [5, 0, 1, 2, 4]])),
    }
    pair = PAIRS["dna-dna"]
    measured = by_question(list(score(task, pair, found)))

    def value(rank: str, group: str, metric: str) -> tuple[float, int]:
        one = measured[retrieval_name("dna", "dna", rank, group), metric]
        return one.value, one.count

    # The query without species is left out, and the key without one is never right.
    assert value("species", SEEN, "accuracy") == (0, 1) and value("species", SEEN, "top_3_accuracy") == (1, 1)
    assert value("species", UNSEEN, "top_3_macro_accuracy") == (0, 2)
    assert value("species", UNSEEN, "top_5_accuracy") == (1, 2)
    assert value("species", HARMONIC, "top_5_accuracy") == (1, 3) and value("species", HARMONIC, "accuracy") == (0, 3)
    # At the genus both have labels.
    assert value("genus", SEEN, "accuracy") == (0.5, 2) and value("genus", UNSEEN, "accuracy") == (1, 2)
    mean, count = value("genus", HARMONIC, "accuracy")
    assert mean == pytest.approx(2 / 3) and count == 4
    # Nobody has a family.
    assert not any("family" in question for question, _ in measured)
    assert {metric for _, metric in measured} == set(METRICS)


def test_specimens_take_part_where_they_have_what_is_needed() -> None:
    records = [*RECORDS, {"split": "train"}]
    task = made_task(records, image=[0, 1, 2, 6, 8, 9], dna=[0, 1, 3, 4, 5, 6, 7, 8, 10])
    keys, queries = task.keys, task.queries[UNSEEN]
    assert keys.tolist() == [0, 1, 2, 3, 4, 5, 10] and queries.tolist() == [8, 9]
    assert task.having("image", keys).tolist() == [0, 1, 2]
    assert task.having("dna", keys).tolist() == [0, 1, 3, 4, 5, 10]
    assert task.having("text", keys).tolist() == [0, 1, 2, 3, 4, 5], "the last has no label"
    assert task.having("joint", keys).tolist() == task.having("concat", keys).tolist() == [0, 1]
    assert task.having("all", keys).tolist() == keys.tolist()
    # Only what the pairs need is embedded.
    pairs = [PAIRS["image-dna"]]
    assert task.needed("image", pairs).tolist() == [6, 8, 9]
    assert task.needed("dna", pairs).tolist() == [0, 1, 3, 4, 5, 10]
    assert task.needed("text", pairs).tolist() == []
    assert task.needed("dna", [PAIRS["joint-text"], *pairs]).tolist() == [0, 1, 3, 4, 5, 6, 8, 10]
    assert task.needed("text", [PAIRS["image-all"]]).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_key_of_several_modalities_is_found_by_each() -> None:
    task = made_task(RECORDS, image=[0, 6, 7, 8, 9])
    vectors = np.eye(10, dtype=np.float32)
    # The query has the image of key 0, and the barcode of key 3.
    vectors[6] = (vectors[0] * 3 + vectors[3] * 2) / np.sqrt(13)
    images = Embedded(np.array([0, 6, 7, 8, 9]), vectors[[0, 6, 7, 8, 9]])
    other = Embedded(np.arange(10), np.where(np.arange(10)[:, None] == 0, 0, vectors).astype(np.float32))
    found = retrieve(task, PAIRS["image-all"], {"image": images, "dna": other, "text": other})
    assert found[SEEN].keys[0, :3].tolist() == [0, 3, 3]
    # Where nobody has an image, keys are barcodes and texts.
    task = made_task(RECORDS, image=[])
    assert task.needed("image", [PAIRS["dna-all"]]).tolist() == []
    found = retrieve(task, PAIRS["dna-all"], embedded({"dna": vectors, "text": vectors}))
    assert found[SEEN].keys[0, :4].tolist() == [0, 0, 3, 3]


@pytest.mark.parametrize(
    ("name", "present", "reason"),
    [
        ("dna-image", {"image": [0, 1, 6]}, "5 keys are needed, and 2 have image"),
        ("joint-dna", {"image": [*range(8)]}, "none of the 2 queries of unseen species has image and barcode"),
        ("dna-dna", {"dna": [*range(6), 8, 9]}, "none of the 2 queries of seen species has barcode"),
        ("dna-all", {"image": [], "dna": [6, 8]}, None),
    ],
)
def test_why_a_pair_cannot_be_asked(name: str, present: dict[str, list[int]], reason: str | None) -> None:
    assert made_task(RECORDS, **present).why_not(PAIRS[name]) == reason


def test_ranks_at_which_keys_have_no_label_of_the_queries_are_left_out() -> None:
    records = [dict(record) for record in RECORDS]
    for record in records[3:5]:
        record["species"] = None
    task = made_task(records)
    pair = PAIRS["dna-dna"]
    assert task.groups(pair, "species") == [SEEN] and task.groups(pair, "genus") == [SEEN, UNSEEN]
    vectors = {"dna": np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)}
    questions = {m.benchmark for m in score(task, pair, retrieve(task, pair, embedded(vectors)))}
    assert retrieval_name("dna", "dna", "species", SEEN) in questions
    assert not {retrieval_name("dna", "dna", "species", group) for group in (UNSEEN, HARMONIC)} & questions
    for record in records:
        record.update(order=None, genus=None, species=None)
    assert made_task(records).why_not(pair) == (
        "no query has a label (order, family, genus, species) that one of its keys has, too"
    )


def test_keys_and_queries_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0 keys and 4 queries"):
        made_task(RECORDS[6:])
    with pytest.raises(ValueError, match="queries in 'test' and 'test_unseen'; got 6 keys and 0 queries"):
        made_task(RECORDS[:6])
    specimens = Dataset.from_list([{"family": None, **record} for record in RECORDS])
    with pytest.raises(ValueError, match=r"other splits than queries, .* find themselves; got 'train\+test'"):
        Task(specimens, RetrievalSettings(keys="train+test"), {})


def test_vectors_that_cannot_be_compared_are_refused() -> None:
    task = made_task(RECORDS)
    vectors = embedded({"image": np.eye(10, 3, dtype=np.float32), "dna": np.eye(10, 4, dtype=np.float32)})
    for name in ("image-dna", "joint-joint"):
        with pytest.raises(ValueError, match="embeddings of one width, in one space; got 3 of image, 4 of dna"):
            retrieve(task, PAIRS[name], vectors)
    assert retrieve(task, PAIRS["concat-concat"], vectors)[SEEN].keys.shape == (2, 5)
    bad = np.eye(10, 4, dtype=np.float32)
    bad[2, 1] = np.nan
    with pytest.raises(ValueError, match="Expected finite keys; 1 of 6 are not"):
        retrieve(task, PAIRS["dna-dna"], embedded({"dna": bad}))
