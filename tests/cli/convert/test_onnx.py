import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from bioscan_hf import BarcodeBertForMaskedLM, KmerEncoder, build_tokenizer
from bioscan_hf.hub.push import save_model
from tests.cli.test_program import run

onnxruntime = pytest.importorskip("onnxruntime", reason="needs bioscan-hf[onnx]")


def test_file_gives_the_embeddings_of_the_folder(
    masked_lm: BarcodeBertForMaskedLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    save_model(tmp_path / "model", masked_lm, build_tokenizer(3))
    file = tmp_path / "new" / "model.onnx"
    assert run(monkeypatch, "convert", "onnx", str(tmp_path / "model"), str(file), "--json") == 0
    out, err = capsys.readouterr()
    assert f"Written to {file}" in err
    assert json.loads(out) == {"file": str(file), "bytes": file.stat().st_size, "tolerance": 1e-4}
    ids, mask = KmerEncoder(3)(["ACGTTT", "ACG"])
    (found,) = onnxruntime.InferenceSession(file).run(["pooler_output"], {"input_ids": ids, "attention_mask": mask})
    with torch.no_grad():
        expected = masked_lm.bert(torch.from_numpy(ids), torch.from_numpy(mask)).pooler_output
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_wrong_use_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "bert"
    save_model(
        other,
        BertModel(BertConfig(vocab_size=66, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)),
        build_tokenizer(3),
    )
    for words, code, message in [
        ((str(other), "model.txt"), 2, "'model.txt' must end with .onnx"),
        ((str(other), str(tmp_path / "model.onnx")), 1, "is no BarcodeBERT"),
        ((str(tmp_path / "absent"), str(tmp_path / "model.onnx")), 1, "absent"),
    ]:
        assert run(monkeypatch, "convert", "onnx", *words) == code
        error = capsys.readouterr().err
        assert message in error and error.strip().splitlines()[-1].startswith("bioscan: ")
    assert not (tmp_path / "model.onnx").exists()
