import base64
import io

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba
from matplotlib.patches import Wedge
from PIL import Image

from bioscan_hf.identification.summary_pictures import (
    DPI,
    INCHES,
    KNOWN,
    NEW,
    as_png,
    identity_histogram,
    novelty_histogram,
    sites,
    taxa_rings,
)


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_novelty_from_the_threshold_on_has_another_colour(threshold: float) -> None:
    counts = np.arange(20)
    (axes,) = novelty_histogram(counts, threshold).axes
    bars = axes.patches
    assert [bar.get_height() for bar in bars] == counts.tolist()  # type: ignore[attr-defined]
    assert [round(bar.get_x(), 6) for bar in bars] == [i / 20 for i in range(20)]  # type: ignore[attr-defined]
    colours = [to_hex(bar.get_facecolor()) for bar in bars]
    flagged = round(20 * threshold)
    assert colours == [KNOWN] * flagged + [NEW] * (20 - flagged)


@pytest.mark.parametrize(
    ("counts", "first", "bars", "remark"),
    [
        ({100: 3}, 90, [0] * 10 + [3], None),
        ({40: 1, 95: 2, 99: 7, 100: 10}, 40, [1, *[0] * 54, 2, 0, 0, 0, 7, 10], None),
        ({10: 1, 20: 3, 80: 500, 99: 496}, 80, [504, *[0] * 18, 496, 0], "first bar: below 81"),
    ],
)
def test_few_low_identities_share_a_bar(
    counts: dict[int, int], first: int, bars: list[int], remark: str | None
) -> None:
    (axes,) = identity_histogram(np.bincount(list(counts), list(counts.values()), 101).astype(np.int64)).axes
    assert [bar.get_height() for bar in axes.patches] == bars  # type: ignore[attr-defined]
    centres = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]  # type: ignore[attr-defined]
    assert np.allclose(centres, range(first, 101))
    texts = {text.get_text() for text in axes.texts}
    identical = counts.get(100, 0) / sum(counts.values())
    assert texts == {f"{identical:.0%} identical"} | ({remark} if remark else set())
    assert 100 in axes.get_xticks() and len(axes.get_xticks()) <= 7


def test_rings_have_the_angles_of_the_queries_and_fit_the_picture() -> None:
    taxa = [("Insecta", "Diptera", "Ceratopogonidae", 60), ("Insecta", "Odonata", None, 15), (None, None, None, 25)]
    figure = taxa_rings(taxa, 100)
    (axes,) = figure.axes
    wedges = [patch for patch in axes.patches if isinstance(patch, Wedge)]
    assert [round(wedge.theta2 - wedge.theta1) for wedge in wedges] == [270, 216, 216, 54]
    texts = {text.get_text(): text for text in axes.texts}
    assert {"100", "queries", "Insecta", "Diptera", "Ceratopogonidae"} <= texts.keys()
    box = texts["Ceratopogonidae"].get_window_extent()
    assert min(box.x0, box.y0) >= 0 and max(box.x1, box.y1) <= INCHES * figure.dpi


def test_map_has_a_dot_for_each_cell_and_one_scale() -> None:
    figure = sites([(9.5, -83.5, 20), (46.5, 8.5, 1)])
    (dots,) = figure.axes[0].collections
    assert np.asarray(dots.get_array()).tolist() == [1, 20] and len(figure.axes) == 2


def test_picture_is_a_png_with_text_of_a_readable_size() -> None:
    figure = novelty_histogram(np.ones(20, np.int64), 0.5)
    image = Image.open(io.BytesIO(base64.b64decode(as_png(figure))))
    assert image.format == "PNG" and image.size == (round(5.2 * DPI), 3 * DPI)
    # Shown 330 pixels wide, as on a phone, no text is smaller than 7.
    sizes = [float(text.get_fontsize()) for axes in figure.axes for text in (*axes.texts, *axes.get_xticklabels())]
    assert min(sizes) * 330 / (5.2 * 72) > 7
    assert to_rgba(figure.get_facecolor()) == (1, 1, 1, 1)
