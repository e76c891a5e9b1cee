import random
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from datasets import Dataset

from bioscan_hf.evaluation.baselines import cnn
from bioscan_hf.evaluation.baselines.cnn import CnnEncoder, letter_numbers, one_hot, train_cnn


def made_barcodes(count: int = 24, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Barcodes of three species, which differ all over, with some changes each."""
    draw = random.Random(seed)
    kinds = [random.Random(kind).choices("ACGT", k=660) for kind in range(3)]
    barcodes = []
    for i in range(count):
        letters = list(kinds[i % 3])
        for place in draw.sample(range(660), 60):
            letters[place] = draw.choice("ACGT")
        barcodes.append("".join(letters))
    return barcodes, np.array([[40, 7, 90][i % 3] for i in range(count)])


@pytest.fixture(scope="module")
def trained() -> CnnEncoder:
    return train_cnn(*made_barcodes(), epochs=10, batch_size=8, device="cpu")


def test_letters_by_hand() -> None:
    numbers = letter_numbers(["ACGTNR-a", "", "T" * 700, "é✓A"])
    assert numbers.shape == (4, 660) and numbers.dtype == torch.uint8
    assert numbers[0, :9].tolist() == [0, 1, 2, 3, 4, 4, 4, 4, 5]
    assert set(numbers[0, 8:].tolist()) == {5} and set(numbers[1].tolist()) == {5}
    assert set(numbers[2].tolist()) == {3}
    assert numbers[3, :4].tolist() == [4, 4, 0, 5]


def test_zeros_and_ones_by_hand() -> None:
    inputs = one_hot(letter_numbers(["ACGTN", "GG"]))
    assert inputs.shape == (2, 1, 660, 5) and inputs.dtype == torch.float32
    assert inputs[0, 0, :5].tolist() == torch.eye(5).tolist()
    assert inputs[1, 0, :3].tolist() == [[0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert inputs.sum().item() == 7


def test_network_has_the_sizes_that_the_paper_gives() -> None:
    network = cnn._network(11)
    convolutions = [layer for layer in network if isinstance(layer, torch.nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels) for layer in convolutions] == [(1, 64), (64, 32), (32, 16)]
    assert {layer.kernel_size for layer in convolutions} == {(3, 1)}
    # 660 places, a third of which is left three times: 24 of 16 channels and 5 letters.
    assert [layer.in_features for layer in network if isinstance(layer, torch.nn.Linear)] == [24 * 16 * 5, 500]
    assert network.eval()(one_hot(letter_numbers(["ACGT"] * 3))).shape == (3, 11)


def test_it_learns_to_tell_species_apart(trained: CnnEncoder) -> None:
    barcodes, labels = made_barcodes(30, seed=1)
    np.testing.assert_array_equal(trained.predict(barcodes), labels)
    assert trained.predict(barcodes).dtype == labels.dtype


def test_embeddings_are_the_features_before_the_last_layer(
    trained: CnnEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    barcodes, labels = made_barcodes(9, seed=2)
    specimens = Dataset.from_dict({"processid": [f"P{i}" for i in range(10)], "dna_barcode": [*barcodes, barcodes[0]]})
    done: list[tuple[int, int]] = []
    vectors = trained.embed(specimens, report=lambda *counts: done.append(counts))
    assert vectors.shape == (10, 500) and vectors.dtype == np.float32 and trained.dimension == 500
    assert done == [(9, 9)]  # each distinct barcode once
    np.testing.assert_array_equal(vectors[0], vectors[9])
    tanh, last = trained._network[-2], trained._network[-1]
    with torch.inference_mode():
        scores = last(tanh(torch.from_numpy(vectors[:9])))
        expected = trained._network(one_hot(letter_numbers(barcodes)))
    np.testing.assert_allclose(scores.numpy(), expected.numpy(), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(np.array([7, 40, 90])[scores.numpy().argmax(axis=1)], labels)
    assert (trained.name, trained.revision) == ("CNN", None)


def test_barcodes_after_the_660th_letter_and_the_batch_do_not_count(trained: CnnEncoder) -> None:
    barcode = made_barcodes()[0][0]
    many = trained.encode([barcode, barcode + "GGG", *made_barcodes(3)[0]])
    np.testing.assert_array_equal(many[0], many[1])
    np.testing.assert_allclose(trained.encode([barcode])[0], many[0], rtol=1e-3, atol=1e-3)


def test_seed_decides_all_and_chance_of_others_is_left_alone() -> None:
    barcodes, labels = made_barcodes(12)
    train = partial(train_cnn, barcodes, labels, epochs=1, batch_size=4, device="cpu")
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = train().encode(barcodes)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    np.testing.assert_array_equal(train().encode(barcodes), first)
    assert not np.array_equal(train(seed=1).encode(barcodes), first)


def test_a_last_batch_of_one_is_left_out_and_epochs_are_reported() -> None:
    barcodes, labels = made_barcodes(5)
    done: list[tuple[int, int]] = []
    trained = train_cnn(barcodes, labels, epochs=2, batch_size=4, report=lambda *counts: done.append(counts))
    assert done == [(1, 2), (2, 2)]
    assert np.isfinite(trained.encode(barcodes)).all()


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (lambda: train_cnn(["ACGT", "ACGA"], np.array([3, 3])), "at least two classes to learn from; got 1"),
        (lambda: train_cnn([], np.array([], np.int64)), "at least two classes to learn from; got 0"),
        (lambda: train_cnn(["ACGT"] * 3, np.arange(2)), "got 3 barcodes and 2 labels"),
        (lambda: train_cnn(["ACGT"] * 2, np.arange(2), batch_size=1), "`batch_size` must be at least 2; got 1"),
    ],
)
def test_what_cannot_be_trained_is_refused(train: Callable[[], CnnEncoder], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train()
