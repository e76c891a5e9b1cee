import random

import numpy as np
import pytest
from datasets import Dataset

from bioscan_hf.data.selection import select_split
from bioscan_hf.identification import profile as module
from bioscan_hf.identification.letters import UNKNOWN, as_codes, reverse_complement
from bioscan_hf.identification.profile import Placed, Profile
from tests.identification.made_gene import LENGTH, made_barcodes, made_others

BARCODES = made_barcodes(200)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return Profile.learn(BARCODES)


def naive_place(profile: Profile, barcode: str) -> tuple[list[int], float]:
    """Letters in the columns at the best of all offsets, and their score."""
    best: tuple[list[int], float] = ([UNKNOWN] * len(profile.log_odds), -np.inf)
    codes = as_codes([barcode])[0].tolist()
    for offset in range(1 - len(barcode), len(profile.log_odds)):
        columns = [UNKNOWN] * len(profile.log_odds)
        for place, code in enumerate(codes):
            if 0 <= place + offset < len(columns):
                columns[place + offset] = code
        score = sum(float(profile.log_odds[i, code]) for i, code in enumerate(columns) if code != UNKNOWN)
        if score > best[1]:
            best = columns, score
    return best


def assert_equal(found: Placed, expected: Placed) -> None:
    for name in Placed._fields:
        own, other = (np.asarray(getattr(placed, name), float) for placed in (found, expected))
        np.testing.assert_allclose(own, other, rtol=1e-4, err_msg=name)


def cut(barcode: str, draw: random.Random) -> str:
    """A part of a barcode, with something before and behind, or not, and with letters that are not known."""
    first, last = draw.randrange(0, 120), draw.randrange(180, LENGTH)
    first, last = draw.choice([(first, last), (0, last), (first, LENGTH), (0, LENGTH)])
    before, after = ("".join(draw.choices("ACGT", k=draw.choice([0, 0, 7, 200]))) for _ in range(2))
    part = list(barcode[first:last])
    for place in draw.sample(range(len(part)), 5):
        part[place] = draw.choice("NRYSWKMBDHV")
    return before * (first == 0) + "".join(part) + after * (last == LENGTH)


def test_barcodes_are_placed_at_the_best_offset(profile: Profile) -> None:
    draw = random.Random(0)
    barcodes = [cut(barcode, draw) for barcode in made_barcodes(15, seed=1)]
    placed = profile.place(barcodes)
    assert placed.fits.all() and not placed.gapped.any() and not placed.reversed.any() and not placed.stops.any()
    for row, barcode in enumerate(barcodes):
        columns, score = naive_place(profile, barcode)
        assert placed.columns[row].tolist() == columns
        assert placed.scores[row] == pytest.approx(score, rel=1e-4)


def test_the_result_does_not_depend_on_the_others(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(2)
    barcodes = [cut(barcode, draw) for barcode in made_barcodes(12, seed=3)]
    barcodes += [reverse_complement(barcodes[0]), barcodes[1][:70] + barcodes[1][73:], "", "A", *made_others(3)]
    together = profile.place(barcodes)
    one_by_one = Placed(*map(np.concatenate, zip(*(profile.place([one]) for one in barcodes), strict=True)))
    assert_equal(together, one_by_one)
    monkeypatch.setattr(module, "_BATCH", 5)
    assert_equal(profile.place(barcodes), together)


def test_the_other_strand_is_turned(profile: Profile) -> None:
    draw = random.Random(4)
    forward = [cut(barcode, draw) for barcode in made_barcodes(10, seed=5)]
    backward = [reverse_complement(barcode) for barcode in forward]
    placed, turned = profile.place(forward), profile.place(backward)
    assert turned.reversed.all() and turned.fits.all()
    assert (turned.columns == placed.columns).all()
    assert turned.turned(backward) == forward and placed.turned(forward) == forward
    assert not profile.place(backward, both_strands=False).fits.any()


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize(("place", "inserted", "deleted"), [(150, "G", 0), (100, "", 2), (60, "", 1), (240, "ACC", 0)])
def test_insertions_and_deletions(profile: Profile, turn: bool, place: int, inserted: str, deleted: int) -> None:
    whole = made_barcodes(10, seed=6)
    changed = [barcode[:place] + inserted + barcode[place + deleted :] for barcode in whole]
    placed = profile.place([reverse_complement(barcode) for barcode in changed] if turn else changed)
    assert placed.fits.all() and placed.gapped.all() and (placed.reversed == turn).all()
    equal = placed.columns == as_codes(whole)
    assert equal.mean() > 0.97
    assert equal[:, : place - 30].all() and equal[:, place + deleted + 30 :].all()


def test_many_insertions_and_deletions(profile: Profile) -> None:
    draw = random.Random(7)
    changed = []
    for barcode in made_barcodes(20, seed=8):
        letters = list(barcode)
        for place in sorted(draw.sample(range(LENGTH), 8), reverse=True):
            letters[place : place + 1] = draw.choice([[], [letters[place], draw.choice("ACGT")]])
        changed.append("".join(letters))
    assert profile.place(changed).fits.mean() > 0.9


def test_what_is_not_of_the_gene_does_not_fit(profile: Profile) -> None:
    draw = random.Random(9)
    others = made_others(200)
    others += ["".join(draw.choices("ACGT", k=draw.randrange(30, 1000))) for _ in range(100)]
    others += ["".join(draw.choices("ACGT", [45, 5, 5, 45], k=600)) for _ in range(100)]  # hardly any G and C
    others += ["A" * 300, "AT" * 500, "N" * 300, "A", "", "RYKM" * 50, BARCODES[0][:15]]
    placed = profile.place(others)
    assert not placed.fits.any()
    assert (placed.columns == UNKNOWN).all()
    assert not (placed.stops | placed.reversed | placed.gapped).any()


def test_no_barcodes(profile: Profile) -> None:
    placed = profile.place([])
    assert placed.columns.shape == (0, LENGTH) and all(len(part) == 0 for part in placed)
    assert profile.place([""]).fits.tolist() == [False]


def test_letters_of_simulated_barcodes_in_another_order_do_not_fit(sample: Dataset) -> None:
    draw = random.Random(10)
    barcodes = sorted(set(select_split(sample, "train")["dna_barcode"]))[:200]
    learnt = Profile.learn(barcodes)
    others = ["".join(draw.sample(barcode, len(barcode))) for barcode in barcodes]
    assert learnt.place(barcodes).fits.all() and not learnt.place(others).fits.any()


def test_letters_as_frequent_as_in_the_gene_are_not_enough() -> None:
    shares = np.array([0.45, 0.05, 0.05, 0.45])
    any_order = Profile(np.tile(np.log(4 * shares), (LENGTH, 1)).astype(np.float32))
    draw = random.Random(14)
    placed = any_order.place(["".join(draw.choices("ACGT", shares.tolist(), k=LENGTH)) for _ in range(20)])
    assert not placed.fits.any()
    assert placed.scores.min() > 60  # as much as of barcodes that fit


def test_the_other_strand_with_many_insertions_has_no_stop_codon(profile: Profile) -> None:
    whole = made_barcodes(10, seed=15)
    longer = ["ACC".join(barcode[first : first + 45] for first in range(0, LENGTH, 45)) for barcode in whole]
    placed = profile.place([reverse_complement(barcode) for barcode in longer])
    assert placed.fits.all() and placed.gapped.all() and placed.reversed.all() and not placed.stops.any()
    assert (placed.columns == as_codes(whole)).mean() > 0.95


@pytest.mark.parametrize("turn", [False, True])
def test_stop_codons(profile: Profile, turn: bool) -> None:
    whole = made_barcodes(6, seed=11)
    stopped = [barcode[:150] + "TAA" + barcode[153:] for barcode in whole]
    in_no_frame = [barcode[:151] + "TAA" + barcode[154:] for barcode in whole]
    shifted = [barcode[:99] + "A" + barcode[99:] for barcode in stopped]  # the frame is another behind it
    codon_more = [barcode[:99] + "ACC" + barcode[99:] for barcode in whole]
    barcodes = [*whole, *stopped, *in_no_frame, *shifted, *codon_more]
    if turn:
        barcodes = [reverse_complement(barcode) for barcode in barcodes]
    placed = profile.place(barcodes)
    stops = placed.stops.reshape(5, 6)
    assert placed.fits.all()
    assert placed.gapped.reshape(5, 6).all(axis=1).tolist() == [False, False, False, True, True]
    assert stops.all(axis=1).tolist() == [False, True, False, True, False]
    assert not stops[[0, 2, 4]].any()


def test_parts_in_and_beyond_the_gene_are_read_in_its_frame(profile: Profile) -> None:
    whole = made_barcodes(1, seed=12)[0]
    beyond = "TAATAATAA"  # not in the gene, so no matter
    assert not profile.place([whole[7:], beyond + whole, whole[4:] + beyond]).stops.any()
    stopped = whole[:150] + "TAG" + whole[153:]
    assert profile.place([stopped[7:], beyond + stopped, stopped[100:]]).stops.all()


def test_learnt_columns_are_the_shares_of_letters(profile: Profile) -> None:
    assert profile.log_odds.shape == (LENGTH, 4) and profile.usual == (0,) and profile.frame == 0
    counts = np.stack([(as_codes(BARCODES) == base).sum(axis=0) for base in range(4)], axis=1) + 2.01
    np.testing.assert_allclose(profile.log_odds, np.log(4 * counts / counts.sum(axis=1, keepdims=True)), atol=1e-5)
    expected = np.mean([(np.exp(row) / 4 * row).sum() for row in profile.log_odds.astype(float)])
    assert profile.expected == pytest.approx(expected, rel=1e-5)


def test_learnt_from_barcodes_that_begin_anywhere() -> None:
    draw = random.Random(13)
    barcodes = [barcode[draw.choice([0, 0, 0, 6, 30]) : draw.choice([LENGTH, LENGTH, 250])] for barcode in BARCODES]
    barcodes[:5] = [reverse_complement(barcode) for barcode in barcodes[:5]]
    learnt = Profile.learn(barcodes)
    assert set(learnt.usual) == {0, 6, 30} and learnt.usual[0] == 0
    assert len(learnt.log_odds) == LENGTH and learnt.frame == 0
    placed = learnt.place(barcodes)
    assert placed.fits.all() and placed.reversed.tolist() == [True] * 5 + [False] * 195


def test_learning_does_not_depend_on_order_or_repetition() -> None:
    learnt = Profile.learn(BARCODES)
    again = Profile.learn([*BARCODES[::-1], *BARCODES[:50]])
    assert (again.log_odds == learnt.log_odds).all() and (again.usual, again.frame) == (learnt.usual, learnt.frame)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_learnt_from_few(count: int) -> None:
    learnt = Profile.learn(BARCODES[:count])
    assert learnt.place(BARCODES[:20]).fits.all()
    assert not learnt.place(made_others(20)).fits.any()


def test_learnt_from_short_barcodes_here_and_there() -> None:
    whole = made_barcodes(1, length=1500)[0]
    barcodes = [whole, *(whole[first : first + 90] for first in range(0, 1400, 100))]
    learnt = Profile.learn(barcodes)
    assert learnt.place(barcodes).fits.all()


def test_other_barcodes_among_them_are_left_out() -> None:
    learnt = Profile.learn([*BARCODES[:60], *made_others(20)])
    assert len(learnt.log_odds) == LENGTH
    assert learnt.place(BARCODES[60:]).fits.all() and not learnt.place(made_others(20)).fits.any()


def test_what_no_profile_can_be_learnt_from() -> None:
    with pytest.raises(ValueError, match="needs barcodes; there are none"):
        Profile.learn([])
    with pytest.raises(ValueError, match=r"Only \d+% of the barcodes fit .* one gene"):
        Profile.learn([*BARCODES[:3], *made_others(30)])
    with pytest.raises(ValueError, match="Only 0% of the barcodes fit"):
        Profile.learn(["ACGTACG", "ACGTTTG"])
