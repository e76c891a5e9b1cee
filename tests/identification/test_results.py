import numpy as np
import pyarrow as pa
import pytest

from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.results import names_of, nearest_prefix, numbers, results_schema


@pytest.mark.parametrize("nearest", [1, 3])
def test_columns(nearest: int) -> None:
    schema = results_schema(nearest)
    parts = ("processid", "taxon", "dna_bin", "similarity", "identity")
    prefixes = ["nearest_", "nearest_2_", "nearest_3_"][:nearest]
    expected = ["processid", *RANKS, *(f"{rank}_probability" for rank in RANKS)]
    expected += ["safe_rank", "safe_taxon", "novelty", "novel"]
    expected += [prefix + part for prefix in prefixes for part in parts]
    assert schema.names == [*expected, "evidence", "notes", "coord-lat", "coord-lon"]
    assert [nearest_prefix(place) for place in range(nearest)] == prefixes


def test_names_and_numbers() -> None:
    assert names_of(np.array([1, -1, 0]), ["a", "b"]).to_pylist() == ["b", None, "a"]
    assert names_of(np.array([-1, -1]), []).to_pylist() == [None, None]
    assert names_of(np.array([], np.int64), []).type == pa.string()
    assert numbers(np.array([0.5, np.nan], np.float32)).to_pylist() == [0.5, None]
    assert numbers(np.array([0.1]), pa.float64()).to_pylist() == [0.1]
