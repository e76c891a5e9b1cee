import re
from functools import cache

import numpy as np
import pytest

from bioscan_hf.app.lookup import Found, find_specimens
from bioscan_hf.app.pictures import Pictures
from bioscan_hf.app.served import Served
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.library import Library
from tests.app.made_app import served
from tests.identification.made_library import library, specimens, with_column

TRAIN = specimens("train")


def rows(found: Found) -> list[int]:
    """Specimens whose keys were found."""
    return np.flatnonzero(found.keys[library().keys.of_specimen]).tolist()


def where(rank: str, name: str) -> list[int]:
    return [row for row, value in enumerate(TRAIN[rank]) if value == name]


@cache
def bin_of_row(row: int) -> str:
    return str(TRAIN[row]["dna_bin"])


@pytest.mark.parametrize("row", [0, 17, 602])
def test_a_process_id_in_any_letters(row: int) -> None:
    name = TRAIN[row]["processid"]
    for text in (name, name.lower(), f"  {name} "):
        found = find_specimens(served(), text)
        assert found.row == row and row in rows(found) and found.message == f"Process id {name}: 1 specimen."


def test_a_bin() -> None:
    found = find_specimens(served(), bin_of_row(5).lower())
    naive = where("dna_bin", bin_of_row(5))
    assert found.row == naive[0] and set(naive) <= set(rows(found)) and f"BIN {bin_of_row(5)}: " in found.message


@pytest.mark.parametrize("rank", ["class", "order", "family", "genus", "species"])
def test_a_taxon_at_any_rank(rank: str) -> None:
    name = TRAIN[40][rank]
    found = find_specimens(served(), name.upper())
    naive = where(rank, name)
    assert (found.row, rows(found)) == (naive[0], naive)
    number = "1 specimen" if len(naive) == 1 else f"{len(naive):,} specimens, of which you see the first"
    assert found.message == f"{name} ({rank}): {number}."


def test_parts_of_names() -> None:
    genus, epithet = TRAIN[0]["species"].split()
    begins = [row for row, name in enumerate(TRAIN["species"]) if name and name.startswith(f"{genus} ")]
    assert rows(find_specimens(served(), f"{genus}  ".lower() + "")) == where("genus", genus)
    assert rows(find_specimens(served(), f"{genus} {epithet[0]}".lower()))[0] in begins
    holds = [row for row, name in enumerate(TRAIN["species"]) if name and epithet[2:] in name]
    found = find_specimens(served(), epithet[2:])
    assert rows(found) == holds and found.message.startswith(TRAIN[0]["species"])


def test_several_taxa_are_said_to_be_several() -> None:
    begins = {name for name in library().taxa["species"] if name.lower().startswith("nul")}
    found = find_specimens(served(), "Nul")
    assert len(begins) > 1 and f" and {len(begins) - 1} others of its rank: " in found.message
    assert {TRAIN[row]["species"] for row in rows(found)} == begins


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_nothing_was_typed(text: str) -> None:
    with pytest.raises(ValueError, match="Type the name of a taxon"):
        find_specimens(served(), text)


def test_nothing_is_found() -> None:
    with pytest.raises(ValueError, match=re.escape("no taxon, process id or BIN like “.*(”")):
        find_specimens(served(), ".*(")
    with pytest.raises(ValueError, match=r"“x{60}”"):
        find_specimens(served(), "x" * 1000)


def test_a_library_without_bins() -> None:
    library = Library.build(with_column(specimens("train", 4), "dna_bin", [None] * 4))
    bare = Served(Identifier(library), "bare", False, Pictures())
    assert find_specimens(bare, TRAIN[1]["processid"]).row == 1
