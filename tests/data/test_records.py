from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from bioscan_hf.data.features import COLUMN_NAMES
from bioscan_hf.data.records import Names, RecordChecker

GOOD = {"processid": b"A1", "dna_barcode": b"ACGT", "split": b"train"}


def table(*records: Mapping[str, bytes | None]) -> pa.Table:
    columns = [pa.array([record.get(name) for record in records], pa.binary()) for name in COLUMN_NAMES]
    return pa.table(columns, names=list(COLUMN_NAMES))


NAMES = st.none() | st.builds(
    lambda i, length: b"%d" % i + b"L" * length, st.integers(0, 9), st.sampled_from([0, 1, 50])
)


@given(batches=st.lists(st.lists(NAMES, max_size=12), max_size=12))
def test_repeated_names_are_those_that_a_set_finds(batches: list[list[bytes | None]]) -> None:
    names = Names()
    seen: set[bytes] = set()
    for batch in batches:
        expected = []
        for i, name in enumerate(batch):
            if name in seen:
                expected.append(i)
            if name is not None:
                seen.add(name)
        assert names.repeated(batch) == expected


def test_a_long_name_does_not_make_room_for_all() -> None:
    names = Names()
    names.repeated([b"%d" % i for i in range(1_000)] + [b"L" * 100_000])
    assert sum(known.nbytes for known in names._sorted) <= 1_001 * 32


def test_the_id_of_a_bad_record_is_not_taken() -> None:
    checker = RecordChecker()
    good, bad = checker.check(table({**GOOD, "coord-lat": b"x"}, GOOD), np.array([0, 1]))
    assert good["row"].to_pylist() == [1] and [record.row for record in bad] == [0]
    _, bad = checker.check(table(GOOD), np.array([2]))
    assert bad[0].reason == "the process id occurs more than once." and checker.count == 1


def test_what_a_record_may_lack() -> None:
    bare = table({"processid": b"A1"})
    _, bad = RecordChecker().check(bare, np.array([0]))
    assert "barcode is empty" in bad[0].reason
    good, bad = RecordChecker(optional=["split", "dna_barcode"]).check(bare, np.array([0]))
    assert not bad and good["split"][0].as_py() is None and good["dna_barcode"][0].as_py() is None


def test_a_protein_is_called_one() -> None:
    records = [GOOD, {**GOOD, "processid": b"A2", "dna_barcode": b"mfinrwlfstnhkdig"}]
    good, (bad,) = RecordChecker().check(table(*records), np.array([7, 8]))
    assert good["row"].to_pylist() == [7] and (bad.row, bad.processid) == (8, "A2")
    assert bad.reason == (
        "the barcode looks like a protein: it has 'F' at position 2, and 'I', 'L'; expected nucleotides "
        "(ACGTNRYSWKMBDHV)."
    )


def test_a_chunk_cannot_lead_elsewhere() -> None:
    _, bad = RecordChecker().check(table({**GOOD, "chunk": b"../.."}), np.array([0]))
    assert bad[0].reason == "`chunk` must be one or two hexadecimal digits; got '../..'."


def test_slices_of_larger_arrays_are_checked_by_their_own_letters() -> None:
    whole = table({**GOOD, "processid": b"A0", "dna_barcode": b"AC-GT"}, GOOD, {**GOOD, "processid": b"A2"})
    good, bad = RecordChecker().check(whole.slice(1), np.array([1, 2]))
    assert not bad and good["dna_barcode"].to_pylist() == ["ACGT", "ACGT"]
