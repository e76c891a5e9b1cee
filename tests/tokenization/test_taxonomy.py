import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioscan_hf.data.features import RANKS
from bioscan_hf.tokenization.taxonomy import RANKS_OF_FORM, Form, taxonomy_text, taxonomy_texts

ANT = {
    "phylum": "Arthropoda",
    "class": "Insecta",
    "order": "Hymenoptera",
    "family": "Formicidae",
    "subfamily": "Ectatomminae",
    "genus": "Gnamptogenys",
    "species": "Gnamptogenys sulcata",
}


def test_the_text_is_that_of_bioscan_5m() -> None:
    assert taxonomy_text(ANT) == (
        "Class: Insecta, Order: Hymenoptera, Family: Formicidae, Subfamily: Ectatomminae, Genus: Gnamptogenys, "
        "Species: Gnamptogenys sulcata"
    )


def test_the_text_of_clibd_has_names_alone_and_fills_gaps() -> None:
    assert taxonomy_text(ANT, form="clibd") == "Hymenoptera Formicidae Gnamptogenys Gnamptogenys sulcata"
    assert taxonomy_text({**ANT, "genus": "", "species": None}, form="clibd") == (
        "Hymenoptera Formicidae not_classified not_classified"
    )
    assert taxonomy_texts({"order": ["Diptera"]}, form="clibd") == ["Diptera" + 3 * " not_classified"]


def test_ranks_are_chosen_and_ordered() -> None:
    assert taxonomy_text(ANT, ranks=("species", "phylum")) == "Species: Gnamptogenys sulcata, Phylum: Arthropoda"


def test_gaps_are_left_out() -> None:
    assert taxonomy_text({"class": "Insecta", "order": None, "family": "", "genus": "Aus"}) == (
        "Class: Insecta, Genus: Aus"
    )
    assert taxonomy_text({"class": None}) == ""
    assert taxonomy_texts({"class": []}) == []


names = st.none() | st.text(max_size=5)


@given(
    rows=st.lists(st.fixed_dictionaries({rank: names for rank in RANKS}), min_size=1, max_size=5),
    missing=st.sets(st.sampled_from(RANKS), max_size=3),
    form=st.sampled_from(sorted(RANKS_OF_FORM)),
    ranks=st.none() | st.permutations(RANKS),
)
def test_texts_of_a_batch_are_those_of_its_rows(
    rows: list[dict[str, str | None]], missing: set[str], form: Form, ranks: list[str] | None
) -> None:
    rows = [{rank: name for rank, name in row.items() if rank not in missing} for row in rows]
    columns = {rank: [row[rank] for row in rows] for rank in rows[0]}
    expected = [taxonomy_text(row, ranks=ranks, form=form) for row in rows]
    assert taxonomy_texts(columns, ranks=ranks, form=form) == expected


def test_other_ranks_and_forms_are_refused() -> None:
    with pytest.raises(ValueError, match=r"some of the ranks \['Class'\]; got \['class'\]"):
        taxonomy_text({"class": "Insecta"}, ranks=["Class"])
    with pytest.raises(ValueError, match="some of the ranks"):
        taxonomy_texts({"dna_bin": ["x"]})
    with pytest.raises(ValueError, match=r"`form` must be one of .*; got 'bioclip'"):
        taxonomy_text(ANT, form="bioclip")  # type: ignore[arg-type]


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        taxonomy_texts({"class": ["Insecta"], "order": []})
