import pytest

from bioscan_hf.hub.card_texts import bibtex, bullets, data_licence, published_results


def test_entries_stand_apart_and_are_whole() -> None:
    text = bibtex("CLIBD", "BarcodeMAE", "BarcodeBERT", "BIOSCAN-5M")
    assert text.count("\n\n@") == 3 and text.startswith("@inproceedings{gong2025clibd,")
    assert text.count("{") == text.count("}")
    with pytest.raises(KeyError):
        bibtex("BOLD")


def test_licence_is_that_of_the_data() -> None:
    told = {
        ("mine.csv", "CC0.", False): "The data, mine.csv: CC0.",
        ("bioscan_hf sample (simulated specimens)", None, True): "part of the package and have the same licence",
        ("bioscan-ml/BIOSCAN-5M", None, False): "CC BY 3.0: copyright 2021 CBG Photography Group",
        ("mine.csv", None, False): "is that of their source",
    }
    for (dataset, credit, simulated), text in told.items():
        assert text in data_licence(dataset, credit, simulated=simulated)


def test_published_results_are_those_of_the_model_and_not_computed_ones() -> None:
    rows = published_results("BarcodeBERT 8-4-4")
    assert [value for _, value, _ in rows] == ["99.3", "94.5", "47.0"]
    assert all("table 3 of arXiv 2406.12723" in where for _, _, where in rows)
    rows = published_results("CLIBD (image + DNA + text)", "species,")
    assert len(rows) == 6 and not any("harmonic" in cell for row in rows for cell in row)
    assert published_results("BarcodeBERT 4-12-12") == []


def test_bullets() -> None:
    assert bullets("One.", "Two.") == "- One.\n- Two."
