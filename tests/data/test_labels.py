import numpy as np
import pyarrow as pa
import pytest

from bioscan_hf.data.labels import LABEL_COLUMNS, Labels

LABELS = Labels({"order": ["Coleoptera", "Diptera", "Lepidoptera"], "genus": ["Aus"]})


def test_names_become_indices_and_back() -> None:
    assert LABELS.label2index("order", "Diptera") == 1
    assert LABELS.label2index("order", None) == LABELS.label2index("order", "") == -1
    names = ["Lepidoptera", None, "", "Coleoptera"]
    indices = LABELS.label2index("order", names)
    assert isinstance(indices, np.ndarray) and indices.tolist() == [2, -1, -1, 0]
    assert LABELS.index2label("order", indices) == ["Lepidoptera", None, None, "Coleoptera"]
    assert LABELS.index2label("order", -1) is None and LABELS.index2label("genus", 0) == "Aus"


def test_columns_are_encoded_chunk_by_chunk() -> None:
    column = pa.chunked_array([["Diptera", None], [], ["Coleoptera"]], pa.string())
    encoded = LABELS.encode("order", column)
    assert encoded.dtype == np.int64 and encoded.tolist() == [1, -1, 0]


def test_what_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="'Dipters' is not in the vocabulary of order"):
        LABELS.label2index("order", ["Diptera", "Dipters"])
    with pytest.raises(ValueError, match=r"labels for \['order', 'genus'\]; got 'clade'"):
        LABELS.label2index("clade", "x")
    for index in (3, -2, [0, 3]):
        with pytest.raises(ValueError, match="indices 0 to 2, and -1 for none"):
            LABELS.index2label("order", index)
    with pytest.raises(ValueError, match=r"must be an integer; got 'Diptera'\. `label2index`"):
        LABELS.index2label("order", "Diptera")  # type: ignore[arg-type]


def test_every_rank_and_the_bin_have_labels() -> None:
    assert LABEL_COLUMNS == ("phylum", "class", "order", "family", "subfamily", "genus", "species", "dna_bin")
