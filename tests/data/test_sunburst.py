import pytest
from datasets import Dataset
from matplotlib.figure import Figure

from bioscan_hf.data.statistics import compute_statistics
from bioscan_hf.data.sunburst import OTHER_COLOUR, RINGS, Sector, draw_rings, legend, sectors, taxonomy_sunburst

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
def test_names_of_large_taxa_and_the_total_are_written(taxa: list) -> None:
    figure = taxonomy_sunburst(taxa, 1000)
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"1,000", "specimens", "Insecta"} <= texts
    assert ("Culicidae" in texts) == (len(taxa) > 1) and "Odonata" not in texts
    number = next(text for text in figure.axes[0].texts if text.get_text() == "1,000")
    assert number.get_fontsize() == 17
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[0] == ("Insecta  80.9%" if len(taxa) > 1 else "Insecta  0.3%")


@pytest.mark.parametrize("total", [7, 20_000, 5_150_850, 1_234_567_890])
def test_number_in_a_small_picture_stays_in_the_hole(total: int) -> None:
    figure = Figure(figsize=(5, 5))
    draw_rings(figure.add_axes((0, 0, 1, 1)), TAXA, total, unit="queries", inches=5, extent=1.6)
    (axes,) = figure.axes
    text = next(text for text in axes.texts if text.get_text() == f"{total:,}")
    box = text.get_window_extent().transformed(axes.transData.inverted())
    assert box.width < 2 * RINGS[0][0] and "queries" in {text.get_text() for text in axes.texts}


def test_legend_gives_shares_and_puts_the_rest_together() -> None:
    assert [(name, share) for name, share, _ in legend(TAXA, 0, 1000)] == [("Insecta", "80.9%"), ("Arachnida", "19.0%")]
    many = [("Insecta", f"order {i}", None, 100 - i) for i in range(12)] + [("Insecta", "tiny", None, 1)]
    entries = legend(many, 1, 2000)
    assert [entry[0] for entry in entries] == [*(f"order {i}" for i in range(9)), "4 others"]
    assert entries[-1][1] == f"{(91 + 90 + 89 + 1) / 2000:.1%}" and entries[-1][2] == OTHER_COLOUR
    assert legend([("Insecta", "tiny", None, 1), ("Insecta", "large", None, 2000)], 1, 2001)[1][1:] == (
        "< 0.1%",
        OTHER_COLOUR,
    )
