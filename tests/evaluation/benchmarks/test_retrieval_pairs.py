import pytest

from bioscan_hf.evaluation.benchmarks.retrieval_pairs import (
    DEFAULT_PAIRS,
    PAIRS,
    RetrievalModel,
    RetrievalSettings,
    parts_of,
)
from tests.evaluation.benchmarks.made_retrieval import ByTaxon, aligned_model


@pytest.mark.parametrize(
    ("name", "title", "modalities"),
    [
        ("image-dna", "image to DNA", ("image", "dna")),
        ("dna-dna", "DNA to DNA", ("dna",)),
        ("text-joint", "text to joint", ("image", "dna", "text")),
        ("dna-all", "DNA to all", ("image", "dna", "text")),
        ("concat-concat", "concat to concat", ("image", "dna")),
    ],
)
def test_pairs_know_their_names_and_what_they_need(name: str, title: str, modalities: tuple[str, ...]) -> None:
    pair = PAIRS[name]
    assert (pair.name, pair.title, pair.modalities) == (name, title, modalities)


def test_kinds_are_made_of_modalities() -> None:
    assert parts_of("dna") == ("dna",) and parts_of("joint") == ("image", "dna")
    assert parts_of("all") == ("image", "dna", "text")


def test_settings() -> None:
    by_default = RetrievalSettings()
    assert [pair.name for pair in by_default.asked] == list(DEFAULT_PAIRS)
    assert by_default.groups == {"seen species": "test", "unseen species": "test_unseen"}
    settings = RetrievalSettings(queries="val", pairs=("text-all", "dna-dna", "text-all"))
    assert [pair.name for pair in settings.asked] == ["text-all", "dna-dna"], "each once"
    assert list(settings.groups.values()) == ["val", "val_unseen"]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got 'image-DNA'\. Possible are: image-image, image-dna, .*, concat-concat"):
        RetrievalSettings(pairs=("dna-dna", "image-DNA"))
    with pytest.raises(ValueError, match="got 'concat-dna'"):
        RetrievalSettings(pairs=("concat-dna",))
    with pytest.raises(ValueError, match="at least one pair, such as dna-dna; got none"):
        RetrievalSettings(pairs=())
    with pytest.raises(ValueError, match="'test' or 'val'; got 'train'"):
        RetrievalSettings(queries="train")  # type: ignore[arg-type]


def test_a_model_embeds_pairs_of_its_modalities() -> None:
    one = RetrievalModel("one", {"dna": ByTaxon("a")})
    assert [name for name in PAIRS if one.embeds(PAIRS[name])] == ["dna-dna"] and one.revision is None
    assert all(aligned_model().embeds(pair) for pair in PAIRS.values()) and aligned_model().revision == "0123"
    two = RetrievalModel("two", {"dna": ByTaxon("a", revision="1"), "image": ByTaxon("b", revision="2")})
    assert two.revision == "1 + 2" and two.embeds(PAIRS["joint-dna"])
    for encoders in ({}, {"sound": ByTaxon("a")}):
        with pytest.raises(ValueError, match=r"any of \['image', 'dna', 'text'\]; 'none' has"):
            RetrievalModel("none", encoders)
