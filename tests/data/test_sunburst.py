from dataclasses import replace

import pytest
from datasets import Dataset

from bioscan_hf.data.statistics import compute_statistics
from bioscan_hf.data.sunburst import OTHER_COLOUR, Sector, sectors, taxonomy_sunburst

TAXA = [
    ("Insecta", "Diptera", "Culicidae", 500),
    ("Insecta", "Diptera", None, 200),
    ("Insecta", None, None, 100),
    ("Arachnida", "Araneae", "Araneidae", 190),
    ("Insecta", "Diptera", "Tipulidae", 4),
    ("Insecta", "Diptera", "Muscidae", 3),
    ("Insecta", "Odonata", "Aeshnidae", 2),
    (None, None, None, 1),
]
BLUE = (0.0, 0.0, 1.0)


def test_angles_are_shares_and_small_taxa_are_drawn_together() -> None:
    drawn = sectors(TAXA, [{}, {"Diptera": BLUE}])
    places = [(sector.level, sector.name, round(1000 * sector.start), round(1000 * sector.stop)) for sector in drawn]
    assert places == [
        (0, "Insecta", 0, 809),
        (1, "Diptera", 0, 707),
        (2, "Culicidae", 0, 500),
        (2, "2 others", 500, 507),
        (1, "Odonata", 707, 709),
        (0, "Arachnida", 809, 999),
        (1, "Araneae", 809, 999),
        (2, "Araneidae", 809, 999),
    ]
    colours = {sector.name: sector.colour for sector in drawn}
    assert colours["Diptera"] == BLUE and colours["Araneae"] == OTHER_COLOUR
    assert colours["Culicidae"][2] == 1.0 and 0 < colours["Culicidae"][0] < 1  # a tint of its order's


def test_sectors_nest_and_do_not_overlap(sample: Dataset) -> None:
    drawn = sectors(compute_statistics(sample).taxa, [{}, {}])
    parents: dict[int, Sector] = {}
    last = [0.0, 0.0, 0.0]
    for sector in drawn:
        assert last[sector.level] <= sector.start + 1e-9 < sector.stop + 1e-9 <= 1 + 2e-9
        if sector.level:
            parent = parents[sector.level - 1]
            assert parent.start <= sector.start + 1e-9 and sector.stop <= parent.stop + 1e-9
        parents[sector.level], last[sector.level] = sector, sector.stop
    assert {sector.level for sector in drawn} == {0, 1, 2}


@pytest.mark.parametrize("taxa", [TAXA, [("Insecta", None, None, 3)]])
def test_names_of_large_taxa_and_the_total_are_written(sample: Dataset, taxa: list) -> None:
    statistics = replace(compute_statistics(sample.select(range(10))), taxa=taxa, specimens=1000)
    figure = taxonomy_sunburst(statistics)
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"1,000", "specimens", "Insecta"} <= texts
    assert ("Culicidae" in texts) == (len(taxa) > 1) and "Odonata" not in texts
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[0] == ("Insecta  80.9%" if len(taxa) > 1 else "Insecta  0.3%")
