from dataclasses import replace

from bioscan_hf.evaluation.benchmarks.pages import table_rows
from bioscan_hf.evaluation.benchmarks.paper import HARMONIC, RETRIEVED_RANKS, SEEN, UNSEEN, retrieval_name
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import PAIRS
from bioscan_hf.evaluation.benchmarks.retrieval_tables import MACRO, main_tables, other_tables
from tests.tiny import RESULT

RESULTS = [
    replace(RESULT, benchmark=retrieval_name(*PAIRS[pair], rank, group), metric=metric, value=value, count=count)
    for pair in ("joint-dna", "image-dna")
    for rank in ("genus", "species")
    for group, value, count in ((SEEN, 0.5, 10), (UNSEEN, 0.25, 20), (HARMONIC, 1 / 3, 30))
    for metric in (MACRO, "accuracy", f"top_3_{MACRO}")
]


def test_the_table_of_the_paper_of_each_pair_that_was_asked() -> None:
    joint, image = main_tables([replace(RESULT, benchmark="another"), *RESULTS])
    assert joint.heading == "joint to DNA: taxon of the nearest key" and image.heading.startswith("image to DNA")
    assert table_rows(RESULTS, joint) == (
        [
            *("", "genus, seen (10)", "genus, unseen (20)", "genus, mean (30)"),
            *("species, seen (10)", "species, unseen (20)", "species, mean (30)"),
        ],
        [["A model", "50.0", "25.0", "33.3", "50.0", "25.0", "33.3"]],
    )
    header, rows = table_rows(RESULTS, image)
    assert header[1] == "order, seen" and len(header) == 1 + 3 * len(RETRIEVED_RANKS), "published at all ranks"
    assert rows[0][1:8] == [*["-"] * 6, "50.0"]
    assert rows[1][0] == "CLIBD (image + DNA + text) (published)" and rows[1][-3:] == ["51.1", "12.7", "20.3"]
    assert rows[2][0] == "CLIBD (not aligned) (published)" and rows[2][-3:] == ["0.0", "0.0", "0.0"]


def test_a_table_of_fewer_ranks() -> None:
    _, image = main_tables(RESULTS, ["species"])
    assert [column.title for column in image.columns] == ["species, seen", "species, unseen", "species, mean"]


def test_tables_by_other_measures() -> None:
    per_query, several = other_tables([PAIRS["image-dna"]])
    assert per_query.heading == "image to DNA: per query" and several.heading == "image to DNA: among several keys"
    assert {column.metric for column in per_query.columns} == {"accuracy"} and len(per_query.columns) == 12
    assert {column.metric for column in several.columns} == {f"top_{depth}_{MACRO}" for depth in (3, 5)}
    header, [row] = table_rows(RESULTS, several)
    assert header[1] == "genus, seen, top 3 (10)" and row == ["A model", "50.0", "25.0", "33.3", "50.0", "25.0", "33.3"]
