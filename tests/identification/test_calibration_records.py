import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, Value
from numpy.typing import NDArray

from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.calibration import LEAST
from bioscan_hf.identification.calibration_records import ABSENT, UNLABELLED, Calibration, known_labels
from bioscan_hf.identification.novelty import novelty_features
from bioscan_hf.identification.safe import safe_thresholds
from bioscan_hf.identification.votes import FEATURES, Evidence, Neighbours

COLUMNS = Features({name: Value("string") for name in ("processid", *RANKS)})
TAXA = {rank: [f"{rank}{number}" for number in range(5)] for rank in RANKS}


def made(count: int, *, seed: int = 0) -> tuple[Dataset, Neighbours, Evidence]:
    """Specimens with labels, some absent from the library; what the nearest keys say is right the nearer they are."""
    draw = np.random.default_rng(seed)
    near = draw.uniform(0, 1, count)
    novel = draw.random(count) < 0.3
    near[novel] *= 0.5
    truth = draw.integers(0, 5, count)
    names = np.tile(np.where(draw.random(count) < near, truth, (truth + 1) % 5)[:, None], len(RANKS))
    features = np.tile(near[:, None, None], (len(RANKS), len(FEATURES))).astype(np.float32)
    rows = [{rank: f"{rank}{number}" for rank in RANKS} for number in truth]
    for row, is_novel in zip(rows, novel, strict=True):
        row["species"] = "Novum novum" if is_novel else row["species"]
    specimens: list[dict[str, Any]] = [{"processid": f"P{number}", **row} for number, row in enumerate(rows)]
    similarities = near[:, None].astype(np.float32)
    neighbours = Neighbours(truth[:, None], similarities, similarities)
    return Dataset.from_list(specimens, features=COLUMNS), neighbours, Evidence(names, features)


def without(specimens: Dataset, rank: str, count: int) -> Dataset:
    """All but so many have no label at a rank."""
    names = specimens[rank][:count] + [None, ""] * (len(specimens) - count)
    columns = {name: specimens[name][:] for name in specimens.column_names}
    return Dataset.from_dict(columns | {rank: names[: len(specimens)]}, features=COLUMNS)


def assert_equal(found: Calibration, expected: Calibration) -> None:
    assert (found.ranks, found.novelty, found.processids) == (expected.ranks, expected.novelty, expected.processids)
    for name in ("probabilities", "right", "novel"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == np.float32


def test_labels_by_their_places() -> None:
    rows = [
        {"processid": "a", "genus": "genus3", "species": "Novum novum"},
        {"processid": "b", "genus": "", "order": "order0"},
    ]
    specimens = Dataset.from_list([{name: row.get(name) for name in COLUMNS} for row in rows], features=COLUMNS)
    expected: NDArray[np.int64] = np.full((2, len(RANKS)), UNLABELLED)
    expected[0, RANKS.index("genus")], expected[0, RANKS.index("species")] = 3, ABSENT
    expected[1, RANKS.index("order")] = 0
    assert (known_labels(specimens, TAXA) == expected).all()


def test_names_are_compared_with_labels() -> None:
    specimens, neighbours, evidence = made(400)
    evidence.names[7] = -1
    found = Calibration.fit(without(specimens, "family", 300), neighbours, evidence, TAXA)
    for row in range(400):
        for place, rank in enumerate(RANKS):
            label, name = specimens[row][rank], evidence.names[row, place]
            unknown = row == 7 or (rank == "family" and row >= 300)
            assert np.isnan(found.right[row, place]) == unknown
            if not unknown:
                assert found.right[row, place] == (label == TAXA[rank][name])
        assert found.novel[row] == (specimens[row]["species"] == "Novum novum")
    assert found.processids == specimens["processid"][:]


def test_probabilities_and_novelty_are_calibrated() -> None:
    specimens, neighbours, evidence = made(4000)
    fitted = Calibration.fit(specimens, neighbours, evidence, TAXA)
    _, others, fresh = made(4000, seed=1)
    again = Calibration.fit(*made(4000, seed=1), TAXA)
    assert fitted.novelty is not None and fitted.ranks[0] is not None
    for probabilities, happened in (
        (fitted.ranks[0](fresh.features[:, 0]), again.right[:, 0]),
        (fitted.novelty(novelty_features(others, fresh)), again.novel),
    ):
        for low in np.arange(0, 1, 0.25):
            inside = (probabilities >= low) & (probabilities < low + 0.25)
            assert inside.sum() < 50 or happened[inside].mean() == pytest.approx(probabilities[inside].mean(), abs=0.08)
    assert (np.diff(fitted.probabilities, axis=1) <= 0).all()
    assert (fitted.thresholds(0.1) == safe_thresholds(fitted.probabilities, fitted.right, fitted.novel, 0.1)).all()


@pytest.mark.parametrize(("labelled", "fitted"), [(LEAST - 1, False), (LEAST, True)])
def test_too_few_labels_of_a_rank_tell_nothing(labelled: int, fitted: bool) -> None:
    specimens, neighbours, evidence = made(200)
    found = Calibration.fit(without(specimens, "species", labelled), neighbours, evidence, TAXA)
    assert [model is not None for model in found.ranks] == [True] * 6 + [fitted]
    assert (found.novelty is not None) == fitted
    assert np.isnan(found.probabilities[:, -1]).all() != fitted
    assert np.isnan(found.novel).sum() == 200 - labelled


def test_without_new_species_there_is_no_novelty() -> None:
    specimens, neighbours, evidence = made(200)
    known = np.flatnonzero([name != "Novum novum" for name in specimens["species"]])
    some = Evidence(evidence.names[known], evidence.features[known])
    found = Calibration.fit(specimens.select(known), neighbours.at(known), some, TAXA)
    assert found.novelty is None and found.ranks[-1] is not None


@pytest.mark.parametrize("count", [0, 10, 300])
def test_written_and_read(tmp_path: Path, count: int) -> None:
    specimens, neighbours, evidence = made(300)
    some = Evidence(evidence.names[:count], evidence.features[:count])
    chosen = without(specimens, "genus", 200).select(range(count))
    found = Calibration.fit(chosen, neighbours.at(np.arange(count)), some, TAXA)
    pq.write_table(found.to_table(), tmp_path / "table.parquet")
    models = json.loads(json.dumps(found.to_json()))
    assert_equal(Calibration.load(models, pq.read_table(tmp_path / "table.parquet")), found)
    assert (found.ranks[0] is None) == (count < LEAST)
