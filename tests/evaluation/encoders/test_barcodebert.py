import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bioscan_hf import BarcodeBertConfig, BarcodeBertForMaskedLM, BarcodeBertModel, KmerEncoder, build_tokenizer
from bioscan_hf.evaluation.encoders.barcodebert import BarcodeBertEncoder, check_tokenizer
from bioscan_hf.tokenization.kmer import tokenizer_for

BARCODES = ["ACGTACGTACGTAC", "TTTGGGCCCAAA", "ACG", "ACGNACGTT", "ACGTACGTACGTAA"]
SIZES: dict[str, Any] = {
    "kmer_size": 3,
    "max_nucleotides": 30,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"pooling": "mean"},
    {"pooling": "mean", "attend_to_padding": True, "vocabulary": "acgt_2023"},
    {"pooling": "cls", "cls_token_id": 0},
    {"vocabulary": "acgnt"},
]


def random_model(**options: Any) -> BarcodeBertModel:
    torch.manual_seed(0)
    return BarcodeBertModel(BarcodeBertConfig(**SIZES, **options)).eval()


@torch.no_grad()
def one_by_one(model: BarcodeBertModel, barcode: str) -> np.ndarray:
    ids, mask = map(torch.from_numpy, KmerEncoder.from_config(model.config)([barcode]))
    return model(ids, attention_mask=mask).pooler_output[0].numpy()


@pytest.mark.parametrize("options", VARIANTS)
def test_equals_the_model_one_by_one(options: dict[str, Any]) -> None:
    model = random_model(**options)
    vectors = BarcodeBertEncoder(model, batch_size=2).encode([*BARCODES, "ACGTTT" * 10])
    for barcode, vector in zip([*BARCODES, "ACGTTT" * 5], vectors, strict=True):
        np.testing.assert_allclose(vector, one_by_one(model, barcode), atol=1e-6)


def test_a_mask_that_hides_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model, masks = random_model(), []
    forward = model.forward

    def spied(input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> Any:
        masks.append(attention_mask)
        return forward(input_ids, attention_mask=attention_mask)

    monkeypatch.setattr(model, "forward", spied)
    BarcodeBertEncoder(model, batch_size=2).encode(["ACGTAC", "ACGTACG", "ACG", "ACGTACGTA"])
    assert [mask is None for mask in masks] == [False, False]
    BarcodeBertEncoder(model, batch_size=2).encode(["ACGTAC", "ACGTACG", "ACG", "TTTT"])
    assert [mask is None for mask in masks[2:]] == [True, True]


def test_reading_frames_are_averaged_and_those_without_kmer_left_out() -> None:
    for options in VARIANTS:
        model = random_model(**options)
        vectors = BarcodeBertEncoder(model, reading_frames=3, batch_size=3).encode(BARCODES)
        for barcode, vector in zip(BARCODES, vectors, strict=True):
            frames = [one_by_one(model, barcode[start:]) for start in range(3) if len(barcode) - start >= 3]
            np.testing.assert_allclose(vector, np.mean(frames, axis=0), atol=1e-6)


def test_progress_and_the_mode_of_the_model(masked_lm: BarcodeBertForMaskedLM) -> None:
    done: list[tuple[int, int]] = []
    masked_lm.train()
    encoder = BarcodeBertEncoder(masked_lm, batch_size=2)
    first = encoder.encode(BARCODES, report=lambda *counts: done.append(counts))
    assert done == [(2, 5), (4, 5), (5, 5)]
    assert masked_lm.bert.training, "the mode of the model is given back"
    np.testing.assert_array_equal(encoder.encode(BARCODES), first)  # without dropout
    with pytest.raises(TypeError):
        encoder.encode([*BARCODES, None])  # type: ignore[list-item]
    assert masked_lm.bert.training


def test_nothing_gives_nothing(masked_lm: BarcodeBertForMaskedLM) -> None:
    assert BarcodeBertEncoder(masked_lm).encode([]).shape == (0, 16)


def test_letters_that_count() -> None:
    encoder = BarcodeBertEncoder(random_model(), reading_frames=2)
    assert (encoder.min_letters, encoder.max_letters) == (3, 31)
    barcode = "ACGTTGCA" * 5
    shorter, longest = encoder.encode([barcode[:30], barcode[:31]])
    np.testing.assert_allclose(encoder.encode([barcode])[0], longest, atol=1e-6)
    assert abs(shorter - longest).max() > 1e-3


def test_description_tells_all_that_vectors_depend_on(masked_lm: BarcodeBertForMaskedLM) -> None:
    def described(model: Any, **options: Any) -> str:
        return json.dumps(BarcodeBertEncoder(model, **options).description, sort_keys=True)

    plain = described(masked_lm)
    assert plain == described(masked_lm.bert, batch_size=7)
    others = [described(masked_lm, **options) for options in ({"precision": "bfloat16"}, {"reading_frames": 3})]
    others += [described(random_model(**options)) for options in VARIANTS]
    with torch.no_grad():
        masked_lm.bert.encoder.layer[0].output.dense.bias[3] += 1e-3
    assert len({plain, *others, described(masked_lm)}) == 3 + len(VARIANTS) + 1
    assert json.loads(described(masked_lm, revision="abc", name="ours"))["revision"] == "abc"


@pytest.mark.parametrize("argument", ["reading_frames", "batch_size"])
def test_arguments_out_of_range_are_refused(argument: str, masked_lm: BarcodeBertForMaskedLM) -> None:
    with pytest.raises(ValueError, match=f"`{argument}` must be at least 1; got 0"):
        BarcodeBertEncoder(masked_lm, **{argument: 0})


@pytest.mark.parametrize("options", [*VARIANTS, {"vocabulary": "acgt_then_n"}])
def test_the_tokenizer_of_a_model_fits_and_no_other(options: dict[str, Any], tmp_path: Path) -> None:
    config = BarcodeBertConfig(**SIZES, **options)
    tokenizer_for(config).save_pretrained(tmp_path)
    check_tokenizer(config, tmp_path / "tokenizer.json")
    other: Any = "acgt" if config.vocabulary != "acgt" or config.cls_token_id is not None else "acgt_then_n"
    for wrong in (build_tokenizer(4, vocabulary=config.vocabulary), build_tokenizer(3, vocabulary=other)):
        wrong.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="does not belong to the model: k = 3"):
            check_tokenizer(config, tmp_path / "tokenizer.json")
