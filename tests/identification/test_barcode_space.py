from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bioscan_hf.evaluation.encoders.base import BarcodeEncoder
from bioscan_hf.identification import barcode_space as module
from bioscan_hf.identification.barcode_space import FITS, REVERSED, STOP, BarcodeSpace, Seen
from bioscan_hf.identification.letters import UNKNOWN, reverse_complement
from bioscan_hf.identification.metric import Metric
from bioscan_hf.identification.packed import known_letters, pack
from bioscan_hf.identification.profile import Profile
from bioscan_hf.identification.search import ExactIndex
from tests.identification.made_gene import LENGTH, made_barcodes, made_others

KEYS = made_barcodes(150)
PROFILE = Profile.learn(KEYS)
COLUMNS = PROFILE.place(KEYS).columns


class Shares(BarcodeEncoder):
    """Shares of pairs of letters, and a note of what was encoded."""

    name, dimension, min_letters = "shares", 16, 100

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, barcodes: Sequence[str], **_: Any) -> NDArray[np.float32]:
        self.seen += barcodes
        pairs = [a + b for a in "ACGT" for b in "ACGT"]
        return np.array([[barcode.count(pair) for pair in pairs] for barcode in barcodes], np.float32)


@pytest.fixture(scope="module")
def aligned() -> BarcodeSpace:
    return BarcodeSpace(PROFILE, Metric.learn(COLUMNS, np.full(150, -1)))


@pytest.fixture(scope="module")
def encoded() -> BarcodeSpace:
    return BarcodeSpace(PROFILE, None, Shares())


def queries() -> list[str]:
    whole = made_barcodes(8, seed=1)
    stopped = whole[1][:150] + "TAA" + whole[1][153:]
    turned = [reverse_complement(each) for each in (whole[2], stopped)]
    return [*whole, stopped, *turned, whole[3][60:240], whole[4][:80], "", "A", *made_others(2)]


@pytest.mark.parametrize("space", ["aligned", "encoded"])
def test_flags_letters_and_vectors(space: str, request: pytest.FixtureRequest) -> None:
    seen = request.getfixturevalue(space).see(queries())
    fit, both = FITS, FITS | REVERSED
    assert seen.flags.tolist() == [*[fit] * 8, fit | STOP, both, both | STOP, fit, fit, 0, 0, 0, 0]
    assert seen.has(STOP).nonzero()[0].tolist() == [8, 10] and seen.has(REVERSED).nonzero()[0].tolist() == [9, 10]
    assert known_letters(seen.letters).tolist() == [*[LENGTH] * 11, 180, 80, 0, 0, 0, 0]
    too_short = space == "encoded"  # for the encoder, not for the columns
    lengths = np.linalg.norm(seen.vectors, axis=1)
    np.testing.assert_allclose(lengths, [1] * 12 + [0 if too_short else 1] + [0] * 4, atol=1e-5)
    # The other strand is as the one.
    assert (seen.letters[9] == seen.letters[2]).all() and (seen.letters[10] == seen.letters[8]).all()
    np.testing.assert_allclose(seen.vectors[9:11], seen.vectors[[2, 8]], atol=1e-6)


def test_an_encoder_sees_what_fits_only_and_turned() -> None:
    encoder = Shares()
    BarcodeSpace(PROFILE, None, encoder).see(queries())
    whole = queries()
    assert encoder.seen == [*whole[:9], whole[2], whole[8], whole[11]]


@pytest.mark.parametrize("space", ["aligned", "encoded"])
def test_batches_and_reports(space: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: BarcodeSpace = request.getfixturevalue(space)
    whole = chosen.see(queries())
    monkeypatch.setattr(module, "_BATCH", 7)
    reports: list[tuple[int, int]] = []
    parts = chosen.see_blocks(
        [queries()[:5], [], queries()[5:]], len(queries()), report=lambda *report: reports.append(report)
    )
    assert reports == [(5, 17), (12, 17), (17, 17)]
    assert (parts.letters == whole.letters).all() and (parts.flags == whole.flags).all()
    np.testing.assert_allclose(parts.vectors, whole.vectors, atol=1e-5)


@pytest.mark.parametrize("space", ["aligned", "encoded"])
def test_no_barcodes(space: str, request: pytest.FixtureRequest) -> None:
    chosen: BarcodeSpace = request.getfixturevalue(space)
    seen, some = chosen.see([]), chosen.see(KEYS[:1])
    assert [part.shape for part in seen] == [(0, *part.shape[1:]) for part in some]
    neighbours = chosen.neighbours(seen, ExactIndex(torch.from_numpy(some.vectors)), some.letters, k=1)
    assert neighbours.keys.shape == (0, 1)
    assert chosen.see(["", ""]).flags.tolist() == [0, 0]


def naive_identities(queries: NDArray[np.uint8], keys: NDArray[np.uint8]) -> NDArray[np.float64]:
    both = (queries[:, None] != UNKNOWN) & (keys != UNKNOWN)
    same = ((queries[:, None] == keys) & both).sum(axis=2)
    return np.where(both.sum(axis=2) >= 50, same / np.maximum(both.sum(axis=2), 1), 0)


def test_neighbours_by_the_metric(aligned: BarcodeSpace) -> None:
    keys, seen = aligned.see(KEYS), aligned.see(queries()[:13])
    found = aligned.neighbours(seen, ExactIndex(torch.from_numpy(keys.vectors)), keys.letters, k=6)
    shares = np.array([*[1] * 11, 180 / LENGTH, 80 / LENGTH])
    similarities = seen.vectors.astype(float) @ keys.vectors.T.astype(float) / np.sqrt(shares)[:, None]
    expected = -np.sort(-similarities, axis=1)[:, :6]
    np.testing.assert_allclose(found.similarities, expected, atol=1e-4)
    columns = PROFILE.place(queries()[:13]).columns
    assert found.identities is not None
    identities = np.take_along_axis(naive_identities(columns, COLUMNS), found.keys, axis=1)
    np.testing.assert_allclose(found.identities, identities, atol=1e-6)


def test_a_part_of_a_barcode_is_as_similar_as_the_whole(aligned: BarcodeSpace) -> None:
    keys = aligned.see(KEYS)
    index = ExactIndex(torch.from_numpy(keys.vectors))
    similarity = {}
    for letters in (300, 200, 120):
        found = aligned.neighbours(aligned.see([barcode[:letters] for barcode in KEYS]), index, keys.letters, k=1)
        assert (found.keys[:, 0] == np.arange(150)).mean() > 0.95
        similarity[letters] = found.similarities.mean()
    assert similarity[300] == pytest.approx(1, abs=1e-4)
    assert similarity[120] == pytest.approx(1, abs=0.15)


def test_neighbours_by_an_encoder_are_ranked_by_identity_and_cosine(
    encoded: BarcodeSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CANDIDATES", 30)
    keys, seen = encoded.see(KEYS), encoded.see(queries()[:12])
    found = encoded.neighbours(seen, ExactIndex(torch.from_numpy(keys.vectors)), keys.letters, k=5)
    assert found.identities is not None
    cosines = (seen.vectors.astype(float) @ keys.vectors.T.astype(float)).round(5)
    identities = naive_identities(PROFILE.place(queries()[:12]).columns, COLUMNS)
    for row in range(12):
        candidates = np.argsort(-cosines[row], kind="stable")[:30]
        ranked = (identities[row] + 0.1 * cosines[row]) / 1.1
        best = sorted(candidates.tolist(), key=lambda key: -ranked[key])[:5]
        assert found.keys[row].tolist() == best
        np.testing.assert_allclose(found.similarities[row], ranked[best], atol=1e-5)
        np.testing.assert_allclose(found.identities[row], identities[row][best], atol=1e-6)


def test_what_fits_nothing_is_similar_to_nothing(aligned: BarcodeSpace, encoded: BarcodeSpace) -> None:
    for space in (aligned, encoded):
        keys = space.see(KEYS)
        seen = space.see(made_others(3))
        found = space.neighbours(seen, ExactIndex(torch.from_numpy(keys.vectors)), keys.letters, k=3)
        assert (found.similarities == 0).all() and found.identities is not None and (found.identities == 0).all()


def test_either_a_metric_or_an_encoder(aligned: BarcodeSpace) -> None:
    for metric, encoder in ((None, None), (aligned.metric, Shares())):
        with pytest.raises(ValueError, match="either a metric or an encoder"):
            BarcodeSpace(PROFILE, metric, encoder)


def test_flags_are_bits() -> None:
    nothing = pack(np.empty((0, LENGTH), np.uint8))
    seen = Seen(nothing, np.empty((0, 1), np.float32), np.arange(8, dtype=np.uint8))
    for flag in (FITS, REVERSED, STOP):
        assert seen.has(flag).tolist() == [bool(number & flag) for number in range(8)]
