from pathlib import Path

import pytest

from bioscan_hf import build_tokenizer
from bioscan_hf.evaluation.embeddings import embed
from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts
from bioscan_hf.evaluation.probing import PROBES, Probe, nearest_neighbour_accuracy
from bioscan_hf.hub.push import save_model
from bioscan_hf.training.probes import load_probed, measure_encoder, probe_accuracies
from tests.tiny import tiny_masked_lm
from tests.training.made_runs import made_rows, pretraining, write_table

SEEN, UNSEEN = Probe("seen", "species", "val"), Probe("unseen", "genus", "val_unseen")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = made_rows()
    for row in rows[-3:]:
        row["split"] = "test_unseen"
    return write_table(tmp_path_factory.mktemp("data") / "t.csv", rows)


def test_only_keys_and_queries_are_loaded(table: Path) -> None:
    found = load_probed(pretraining(table, Path("o")), [SEEN])
    assert found is not None and set(found["split"]) == {"train", "val"}
    assert set(found.column_names) == {"processid", "dna_barcode", "split", "species"}
    assert len(found) == sum(row["split"] in ("train", "val") for row in made_rows()[:-3])


def test_data_without_splits_or_without_these_have_no_probes(tmp_path: Path) -> None:
    for name, split in (("none", ""), ("other", "pretrain")):
        path = write_table(tmp_path / f"{name}.csv", [row | {"split": split} for row in made_rows()])
        assert load_probed(pretraining(path, Path("o")), [SEEN]) is None
        assert measure_encoder(pretraining(path, Path("o")), tmp_path, "it") == []


def test_accuracies_are_those_of_nearest_neighbours_and_a_probe_without_queries_has_none(table: Path) -> None:
    specimens = load_probed(pretraining(table, Path("o")), [SEEN, UNSEEN])
    assert specimens is not None
    model = tiny_masked_lm().bert
    expected, _ = nearest_neighbour_accuracy(embed(model, specimens), specimens, SEEN)
    assert probe_accuracies(model, specimens, [SEEN, UNSEEN], 5) == {"seen": expected}


def test_final_results_are_of_the_folder_and_of_4_mer_counts(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(folder, tiny_masked_lm(), build_tokenizer(3))
    arguments = pretraining(table, Path("o"))
    results = measure_encoder(arguments, folder, "a command")
    by_key = {(result.model, result.benchmark): result for result in results}
    assert by_key.keys() == {(model, probe.name) for model in ("model", "4-mer counts") for probe in PROBES}
    specimens = load_probed(arguments, PROBES)
    assert specimens is not None
    for probe in PROBES:
        expected = nearest_neighbour_accuracy(embed(KmerCounts(4), specimens), specimens, probe)
        found = by_key["4-mer counts", probe.name]
        assert (found.value, found.count) == expected
        assert (found.split, found.dataset, found.command) == (probe.queries, "t.csv", "a command")
