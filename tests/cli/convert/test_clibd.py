import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoProcessor

from tests.cli.test_program import run
from tests.hub_server.fixture import LocalHub
from tests.made_checkpoints import save_training, stock
from tests.made_clibd import HEADS, TEXT, make_text_tokenizer, reference, save_clibd, without

MAIN = "from bioscan_hf.cli import main\nmain()"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a checkpoint, what it does not tell, and a text tokenizer."""
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)
    save_clibd(Path("best.pth"), reference("lora").state)
    Path("heads.json").write_text(json.dumps(HEADS))
    make_text_tokenizer(Path("bert-small"))


WORDS = ("convert", "clibd", "best.pth", "out", "--config", "heads.json", "--text-tokenizer", "bert-small")


def test_checkpoint_becomes_a_folder(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, *WORDS) == 0
    shown = capsys.readouterr().out
    assert "Found: CLIBD, image + dna + text, with LoRA in its towers (image, dna, text)" in shown
    assert "ClibdModel, 61,751 parameters, 18 dimensions" in shown
    assert (
        "Tower for dna: BERT, 5-mers of the first 660 letters; 2 layers, 2 heads, hidden size 20; pooling head_"
        in shown
    )
    assert "Assumed: `dna_pooling` is head_softmax_mean: as in all published checkpoints" in shown
    assert "Left out: BERT's pooler, which CLIBD does not use" in shown and "Written to out/" in shown
    inputs = AutoProcessor.from_pretrained("out")(text=["Diptera"], dna=["ACGT" * 30])
    outputs = AutoModel.from_pretrained("out")(**inputs)
    assert outputs.text_embeds.shape == outputs.dna_embeds.shape == (1, 18)


def test_settings_and_adapter(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("heads.json").write_text(json.dumps({**HEADS, "dna_pooling": "head_mean"}))
    assert run(monkeypatch, *WORDS, "--adapter", "--json") == 0
    out, err = capsys.readouterr()
    assert "pooling head_mean" in err
    assert json.loads(out).items() >= {"folder": "out", "model": "ClibdModel", "parameters": 61_751}.items()
    assert AutoModel.from_pretrained("out").config.dna_pooling == "head_mean"
    assert Path("out/adapter/adapter_model.safetensors").is_file()


def test_model_without_text_needs_no_text_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    save_clibd(Path("best.pth"), without(reference("full").state, TEXT))
    Path("heads.json").write_text(json.dumps({key: own for key, own in HEADS.items() if key != "text_config"}))
    assert run(monkeypatch, *WORDS[:-2]) == 0
    assert list(AutoModel.from_pretrained("out").config.modalities) == ["image", "dna"]


def test_model_of_the_hub_is_converted_and_pushed(hub: LocalHub, tmp_path: Path) -> None:
    for repo, path in (("bioscan-ml/all-clibds", "ckpt/5m/best.pth"), ("bioscan-ml/bert-small", "vocab.txt")):
        hub.api().create_repo(repo)
        if path.endswith(".pth"):
            hub.api().upload_file(repo_id=repo, path_or_fileobj="best.pth", path_in_repo=path)
        else:
            hub.api().upload_folder(repo_id=repo, folder_path="bert-small")
    words = ["bioscan-ml/all-clibds:ckpt/5m/best.pth", "out", "--config", "heads.json", "--adapter"]
    words += ["--text-tokenizer", "bioscan-ml/bert-small", "--push-to-hub", "bioscan-ml/my-clibd", "--private"]
    assert "Pushed: " in hub.run(MAIN, tmp_path, "convert", "clibd", *words).stdout
    info = hub.api().model_info("bioscan-ml/my-clibd")
    names = {file.rfilename for file in info.siblings or []}
    assert info.private and names >= {
        *("model.safetensors", "README.md", "tokenizer.json", "dna_tokenizer/tokenizer.json", "modeling_clibd.py"),
        *("processor_config.json", "adapter/adapter_model.safetensors", "adapter/adapter_config.json"),
    }
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'AutoModel.from_pretrained("bioscan-ml/my-clibd", trust_remote_code=True)' in card
    assert "| source | `bioscan-ml/all-clibds@" in card


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "Missing argument"),
        (["best.pth"], 2, "Missing argument"),
        (["best.pth", "out", "--private"], 2, "--push-to-hub REPO, which was not given"),
        (["best.pth", "out", "--config", "no.json"], 1, "No such file"),
        (["best.pth", "out", "--config", "broken.json"], 1, "'broken.json' is no JSON file"),
        (["best.pth", "out", "--config", "list.json"], 1, "'list.json' must hold a JSON object"),
        (["best.pth", "out", "--config", "typo.json"], 1, "did you mean `num_attention_heads`?"),
        (["best.pth", "out", "--config", "heads.json"], 1, "text tokenizer 'prajjwal1/bert-small' cannot be loaded"),
        (["best.pth", "out", "--push-to-hub", "a/b/c"], 1, "a/b/c"),
        (["best.pth", "out"], 1, 'give {"vision_config": {"num_attention_heads": ...}} in a JSON file by --config'),
        (["best.pth", "."], 1, "'.' is there and not empty"),
        (["no.pth", "out"], 1, "'no.pth' is no file; give a file, or REPO:PATH/IN/REPO"),
        (["bert-small", "out"], 1, "'bert-small' is no file; give a file"),
        (["me/clibd:best.pth", "out"], 1, "'me/clibd:best.pth' is no file or folder, and the Hub does not give it"),
        (["a/b/c:best.pth", "out"], 1, "'a/b/c:best.pth' is no file or folder"),
        (["barcodebert.pt", "out"], 1, "it seems to be a BarcodeBERT; `bioscan convert barcodebert` converts"),
        (["evil.pth", "out"], 1, "it asks for builtins.print, which the tensors of a model do not need"),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    typo = {"vision_config": {"num_heads_attention": 3}}
    for name, text in {"broken": "{", "list": "[]", "typo": json.dumps(typo)}.items():
        Path(f"{name}.json").write_text(text)
    save_training(Path("barcodebert.pt"), stock().token_classifier)
    torch.save({"model": print}, "evil.pth")
    assert run(monkeypatch, "convert", "clibd", *words) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("bioscan: ") and message in error and "\n" not in error
    assert not Path("out").exists()
