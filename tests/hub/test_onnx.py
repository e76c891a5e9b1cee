import copy
import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import BertConfig, BertModel, PreTrainedModel

from bioscan_hf import BarcodeBertConfig, BarcodeBertForMaskedLM, BarcodeBertModel, KmerEncoder
from bioscan_hf.hub import onnx as onnx_module
from bioscan_hf.hub.onnx import INPUTS, METADATA, OUTPUTS, export_onnx
from tests.tiny import tiny_config

onnx = pytest.importorskip("onnx", reason="needs bioscan-hf[onnx]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs bioscan-hf[onnx]")

CASES: list[Any] = [
    {"attn_implementation": "eager"},
    pytest.param({"pooling": "mean"}, marks=pytest.mark.slow),  # each part of it is in another case
    {"pooling": "mean", "attend_to_padding": True, "vocabulary": "acgt_2023"},
    {"pooling": "cls", "cls_token_id": 0},
]


def model_of(**fields: Any) -> BarcodeBertModel:
    torch.manual_seed(0)
    # As large as trained weights, so that a wrong mask shows.
    return BarcodeBertModel(tiny_config(initializer_range=0.5, **fields)).eval()


def run(path: Path, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    return onnxruntime.InferenceSession(path).run(OUTPUTS, dict(zip(INPUTS, (ids, mask), strict=True)))


def outputs(model: PreTrainedModel, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    with torch.no_grad():
        found = model(torch.from_numpy(ids), torch.from_numpy(mask))
    return [found[name].numpy() for name in OUTPUTS]


@pytest.fixture(scope="module", params=CASES, ids=str)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BarcodeBertModel]:
    path, model = tmp_path_factory.mktemp("onnx") / "new" / "model.onnx", model_of(**request.param)
    export_onnx(model, path)
    return path, model


def test_file_computes_what_the_model_does(exported: tuple[Path, BarcodeBertModel]) -> None:
    path, model = exported
    encoder = KmerEncoder.from_config(model.config)
    letters = np.random.default_rng(0)
    # One k-mer alone, the longest alone, and unequal lengths.
    for lengths in ([3], [660], [3, 660, 100], [50] * 7, [12, 9]):
        barcodes = ["".join(letters.choice(list("ACGTN"), length)) for length in lengths]
        batch = encoder(barcodes)
        for ours, theirs in zip(outputs(model, *batch), run(path, *batch), strict=True):
            np.testing.assert_allclose(theirs, ours, atol=2e-5)


def test_metadata_tell_how_barcodes_become_ids(exported: tuple[Path, BarcodeBertModel]) -> None:
    path, model = exported
    metadata = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert set(metadata) == {*METADATA, "tokens"}
    fields = {name: json.loads(metadata[name]) for name in METADATA}
    assert fields == {name: getattr(model.config, name) for name in METADATA}

    # By the text of `tokens` alone, without code of ours.
    def ids(barcode: str) -> list[int]:
        k = fields["kmer_size"]
        barcode = barcode[: fields["max_nucleotides"]]
        kmers = [barcode[i : i + k] for i in range(0, len(barcode) - k + 1, k)]
        return [
            fields["num_special_tokens"] + int("".join(str("ACGT".index(letter)) for letter in kmer), 4)
            if set(kmer) <= set("ACGT")
            else fields["unknown_token_id"]
            for kmer in kmers
        ]

    barcode = "TTTACGNNNACGT" * 60
    (expected,), _ = KmerEncoder.from_config(model.config)([barcode])
    before = [] if fields["cls_token_id"] is None else [fields["cls_token_id"]]
    assert before + ids(barcode) == expected.tolist()


def test_file_is_complete_and_tells_nothing_of_this_machine(exported: tuple[Path, BarcodeBertModel]) -> None:
    path, _ = exported
    assert [other.name for other in path.parent.iterdir()] == ["model.onnx"]  # the weights are in it
    content = onnx.load(path)
    onnx.checker.check_model(content)
    assert [(opset.domain, opset.version) for opset in content.opset_import] == [("", 18)]
    text = path.read_bytes()
    assert str(Path(onnx_module.__file__).parent).encode() not in text and b".py" not in text


def test_export_is_quiet_whatever_the_head_precision_mode_and_attention(
    masked_lm: BarcodeBertForMaskedLM,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = masked_lm.bfloat16().train()
    model.set_attn_implementation("flex_attention")  # not for ONNX
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_onnx(model, tmp_path / "model.onnx")
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert logging.getLogger("torch.onnx").level == logging.NOTSET
    assert model.training and model.dtype == torch.bfloat16
    assert model.config._attn_implementation == "flex_attention"
    model.set_attn_implementation("sdpa")
    batch = KmerEncoder(3)(["ACGTTT", "ACG"])
    expected = outputs(model.bert.float().eval(), *batch)
    np.testing.assert_allclose(run(tmp_path / "model.onnx", *batch)[1], expected[1], atol=2e-5)


def test_file_that_differs_is_not_left(
    exported: tuple[Path, BarcodeBertModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = exported
    monkeypatch.setattr(onnx_module, "_exported", lambda *_: path.read_bytes())
    target = tmp_path / "model.onnx"
    target.write_text("what was there")
    export_onnx(model, target)
    assert target.read_bytes() == path.read_bytes()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.encoder.layer[0].output.dense.bias += 0.001 * torch.arange(16)
    target.write_text("what was there")
    with pytest.raises(RuntimeError, match=r"`last_hidden_state` differs .* no file was written"):
        export_onnx(other, target)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("model.onnx", "what was there")]


def test_not_a_number_is_a_difference(
    exported: tuple[Path, BarcodeBertModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = exported
    monkeypatch.setattr(onnx_module, "_exported", lambda *_: path.read_bytes())
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.embeddings.LayerNorm.bias[0] = torch.nan
    with pytest.raises(RuntimeError, match="by nan"):
        export_onnx(broken, tmp_path / "model.onnx")


def test_other_and_too_large_models_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bert = BertModel(BertConfig(vocab_size=66, hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
    with pytest.raises(ValueError, match="Expected a BarcodeBERT; got BertModel"):
        export_onnx(bert, tmp_path / "model.onnx")
    with torch.device("meta"):
        large = BarcodeBertModel(BarcodeBertConfig(kmer_size=10))
    with pytest.raises(ValueError, match=r"3\.1 GiB do not fit .* k = 10"):
        export_onnx(large, tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"needs onnxscript: `pip install 'bioscan-hf\[onnx\]'`"):
        export_onnx(model_of(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
