from collections import Counter
from pathlib import Path

import pytest
import yaml

from bioscan_hf.data.features import RANKS
from bioscan_hf.evaluation.benchmarks.barcode_classification import ClassificationSettings, shown_columns
from bioscan_hf.evaluation.benchmarks.paper import (
    HARMONIC,
    PUBLISHED,
    RETRIEVED_RANKS,
    SEEN,
    TASK_IDS,
    TASK_RESULTS,
    UNSEEN,
    clustering_name,
    retrieval_name,
)
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import PAIRS
from bioscan_hf.evaluation.benchmarks.zero_shot_clustering import DNA, IMAGES, METRICS, TARGETS

ROOT = Path(__file__).parents[3]


def test_published_numbers_answer_questions_of_the_tables() -> None:
    shown = {(question, "accuracy") for _, question in shown_columns(ClassificationSettings())}
    shown |= {(clustering_name(modality, rank), "ami_true_entropy") for modality in (DNA, IMAGES) for rank in TARGETS}
    shown |= {
        (retrieval_name(*PAIRS[pair], rank, group), "macro_accuracy")
        for pair in ("dna-dna", "image-image", "image-dna")
        for rank in RETRIEVED_RANKS
        for group in (SEEN, UNSEEN, HARMONIC)
    }
    assert {(p.benchmark, p.metric) for p in PUBLISHED} <= shown
    assert {metric for _, metric in shown} <= {"accuracy", "macro_accuracy", *METRICS}


def test_published_numbers_are_shares_and_stand_once() -> None:
    # Retrieval across modalities that were not aligned finds nothing.
    assert all(0 < p.value <= 1 or "not aligned" in p.model for p in PUBLISHED)
    assert all(p.value >= 0 and p.model and p.source for p in PUBLISHED)
    assert Counter((p.model, p.benchmark, p.metric) for p in PUBLISHED).most_common(1)[0][1] == 1


# Table 3 of the paper, and the ends of the curves in the figure of its repository.
@pytest.mark.parametrize(
    ("model", "question", "value"),
    [
        ("BarcodeBERT 8-4-4", "species, seen species (full fine-tuning)", 0.9928),
        ("BarcodeBERT 8-4-4", "species, seen species (linear probe)", 0.9447),
        ("BarcodeBERT 8-4-4", "1-NN genus, unseen species", 0.4703),
        ("BLAST", "1-NN genus, unseen species", 0.5874),
        ("HyenaDNA", "zero-shot clustering of DNA, class", 0.926),
        ("HyenaDNA", "zero-shot clustering of DNA, dna_bin", 0.729),
        ("ViT-B/16 DINO", "zero-shot clustering of images, species", 0.215),
        ("CLIBD (image + DNA + text)", "DNA to DNA retrieval, order, seen species", 1),
        ("CLIBD (image + DNA + text)", "DNA to DNA retrieval, species, unseen species", 0.959),
        ("CLIBD (image + DNA + text)", "image to image retrieval, genus, seen species", 0.839),
        ("CLIBD (image + DNA + text)", "image to DNA retrieval, species, seen species", 0.511),
        ("CLIBD (image + DNA + text)", "image to DNA retrieval, species, unseen species", 0.127),
        ("CLIBD (image + DNA + text)", "image to DNA retrieval, species, harmonic mean", 0.2034),
        ("CLIBD (not aligned)", "image to DNA retrieval, species, harmonic mean", 0),
    ],
)
def test_published_numbers_stand_at_their_question(model: str, question: str, value: float) -> None:
    assert [p.value for p in PUBLISHED if (p.model, p.benchmark) == (model, question)] == [value]


def test_what_was_not_published_is_left_out() -> None:
    blast = {p.benchmark for p in PUBLISHED if p.model == "BLAST"}
    assert blast == {"species, seen species (full fine-tuning)", "1-NN genus, unseen species"}
    assert len(RANKS[1:]) + 1 == len([p for p in PUBLISHED if p.model == "DNABERT-S" and "clustering" in p.benchmark])


def test_tasks_are_those_of_the_dataset() -> None:
    tasks = {task["id"] for task in yaml.safe_load((ROOT / "dataset_script" / "eval.yaml").read_text())["tasks"]}
    assert set(TASK_IDS.values()) == tasks and len(set(TASK_IDS.values())) == len(TASK_IDS)
    questions = {question for _, question in shown_columns(ClassificationSettings())}
    questions |= {clustering_name(modality, "species") for modality in (DNA, IMAGES)}
    questions |= {retrieval_name("image", "dna", "species", group) for group in (SEEN, UNSEEN)}
    assert set(TASK_IDS) <= questions


def test_each_task_has_the_one_metric_that_the_dataset_says() -> None:
    described = yaml.safe_load((ROOT / "dataset_script" / "eval.yaml").read_text())["description"]
    names = {"accuracy": "accuracy of the", "ami_arithmetic": "adjusted mutual information"}
    names["macro_accuracy"] = "macro top-1 accuracy of the species"
    assert {question for question, _ in TASK_RESULTS} == set(TASK_IDS) and len(TASK_RESULTS) == len(TASK_IDS)
    for question, metric in TASK_RESULTS:
        sentence = described.split(f"{TASK_IDS[question]}: ")[1].split(".")[0]
        assert sentence.startswith(names[metric]) or sentence == "the same for species that are not in train"
