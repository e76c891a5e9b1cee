import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioscan_hf.data import json_records as module
from bioscan_hf.data.json_records import json_records

VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2)
RECORDS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=8)


@given(records=RECORDS, indent=st.sampled_from([None, 0, 2]), in_graph=st.booleans(), size=st.integers(40, 90))
def test_any_list_is_read_whatever_the_pieces(
    records: list[dict[str, Any]], indent: int | None, in_graph: bool, size: int
) -> None:
    text = json.dumps({"@context": {"name": "x"}, "@graph": records} if in_graph else records, indent=indent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_CHARACTERS", size + 30)
        assert list(json_records(io.StringIO(text), "x")) == records


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x is not a list of records"),
        ('{"a": []}', "x is not a list of records"),
        ('[{"a": 1}, {"a"', r"x, record 2: broken off or not JSON"),
        ('[{"a": 1}', r"x, record 2: broken off or not JSON"),
        ("[1]", "x, record 1: expected an object; got '1'"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(json_records(io.StringIO(text), "x"))


def test_a_record_without_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_RECORD", 1000)
    monkeypatch.setattr(module, "CHUNK_CHARACTERS", 100)
    file = io.StringIO('[{"a": "' + "x" * 100_000)
    with pytest.raises(ValueError, match="record 1: broken off"):
        list(json_records(file, "x"))
    assert file.tell() < 3000
