import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from tests.cli.test_program import run
from tests.hub_server.fixture import LocalHub
from tests.made_checkpoints import HEADS, save_bare, save_training, stock

STOCK = stock()
MAIN = "from bioscan_hf.cli import main\nmain()"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


def test_checkpoint_becomes_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_training(tmp_path / "c.pt", STOCK.token_classifier)
    assert run(monkeypatch, "convert", "barcodebert", str(path), str(tmp_path / "out")) == 0
    shown = capsys.readouterr().out
    assert "Found: pretraining model (BertForTokenClassification), generation 3 of the reference code" in shown
    assert "BarcodeBertForMaskedLM, " in shown and "kmer_size 3, vocabulary acgt" in shown
    assert "Assumed" not in shown and f"Written to {tmp_path}/out/" in shown
    inputs = AutoTokenizer.from_pretrained(tmp_path / "out")("ACGTACGTACGT", return_tensors="pt")
    assert AutoModel.from_pretrained(tmp_path / "out")(**inputs).pooler_output.shape == (1, 16)


def test_what_nothing_tells_is_asked_for_and_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_bare(tmp_path / "c.pth", STOCK.masked_lm, "module.")
    words = ["convert", "barcodebert", str(path), str(tmp_path / "out")]
    assert run(monkeypatch, *words) == 1
    assert 'give {"num_attention_heads": ...} in a JSON file by --config' in capsys.readouterr().err
    (tmp_path / "given.json").write_text(json.dumps({**HEADS, "cls_token_id": 0}))
    assert run(monkeypatch, *words, "--config", str(tmp_path / "given.json")) == 0
    shown = capsys.readouterr().out
    assert "generation 1 of the reference code" in shown and "cls_token_id 0" in shown
    assert "Assumed: `max_nucleotides` is 660: as in all scripts of the reference" in shown
    assert AutoModel.from_pretrained(tmp_path / "out").config.cls_token_id == 0


def test_left_out_tensors_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_training(tmp_path / "c.pt", STOCK.maelm)
    assert run(monkeypatch, "convert", "barcodebert", str(path), str(tmp_path / "out"), "--json") == 0
    out, err = capsys.readouterr()
    assert "Left out: the decoder, which BarcodeMAE drops after pretraining" in err
    found = json.loads(out)
    assert found["folder"] == str(tmp_path / "out") and found["pushed"] is None and not found["assumed"]
    assert any("the decoder" in line for line in found["left_out"]) and found["parameters"] > 1000


def test_converted_model_is_pushed(hub: LocalHub, tmp_path: Path) -> None:
    save_training(tmp_path / "c.pt", STOCK.token_classifier)
    words = ("convert", "barcodebert", "c.pt", "out", "--push-to-hub", "bioscan-ml/converted", "--private")
    result = hub.run(MAIN, tmp_path, *words)
    assert "Pushed: " in result.stdout
    info = hub.api().model_info("bioscan-ml/converted")
    names = {file.rfilename for file in info.siblings or []}
    assert info.private and names >= {"model.safetensors", "config.json", "README.md", "tokenizer.json"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'AutoModel.from_pretrained("bioscan-ml/converted", trust_remote_code=True)' in card


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "Missing argument"),
        (["c.pt"], 2, "Missing argument"),
        (["c.pt", "out", "--private"], 2, "--push-to-hub REPO, which was not given"),
        (["c.pt", "out", "--config", "no.json"], 1, "No such file"),
        (["c.pt", "out", "--config", "broken.json"], 1, "'broken.json' is no JSON file"),
        (["c.pt", "out", "--config", "list.json"], 1, "'list.json' must hold a JSON object"),
        (["c.pt", "out", "--config", "typo.json"], 1, "did you mean `num_attention_heads`?"),
        (["c.pt", "out", "--push-to-hub", "a/b/c"], 1, "a/b/c"),
        (["c.pt", "."], 1, "'.' is there and not empty"),
        (["no.pt", "out"], 1, "'no.pt' is no file or folder, and the Hub does not give it"),
        (["a/b/no.pt", "out"], 1, "'a/b/no.pt' is no file or folder"),
        (["empty", "out"], 1, "'empty' holds no weights"),
        (["list.json", "out"], 1, "'list.json' is"),
        (["evil.pt", "out"], 1, "it asks for builtins.print, which the tensors of a model do not need"),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name, text in {"broken": "{", "list": "[]", "typo": '{"num_heads_attention": 4}'}.items():
        Path(f"{name}.json").write_text(text)
    Path("empty").mkdir()
    save_training(Path("c.pt"), STOCK.token_classifier)
    torch.save({"model": print}, "evil.pt")
    assert run(monkeypatch, "convert", "barcodebert", *words) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("bioscan: ") and message in error and "\n" not in error
    assert not Path("out").exists()
