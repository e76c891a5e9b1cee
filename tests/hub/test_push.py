"""Everything here goes through the real `huggingface_hub` client to the local Hub."""

from pathlib import Path

import pytest

from bioscan_hf import BarcodeBertForMaskedLM, build_tokenizer
from bioscan_hf.hub.push import check_can_push, save_card, save_model
from tests.hub.test_cards import BASELINE, OURS, card
from tests.hub_server.fixture import LocalHub

PUSH = """
import sys
from pathlib import Path
from bioscan_hf.hub.push import check_can_push, push_folder

check_can_push("bioscan-ml/tiny")
print(push_folder(Path(sys.argv[1]), "bioscan-ml/tiny"))
push_folder(Path(sys.argv[1]), "tester/hidden", private=True)
push_folder(Path(sys.argv[1]), "just-a-name")

from datasets import load_dataset
from bioscan_hf import load_specimens, select_split
select_split(load_specimens(image=True), "val").push_to_hub("bioscan-ml/few", split="validation")
"""
READ = """
import sys
sys.modules["bioscan_hf"] = None  # a reader without the package
import torch
from datasets import load_dataset
from huggingface_hub import ModelCard
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("bioscan-ml/tiny", trust_remote_code=True)
model = AutoModel.from_pretrained("bioscan-ml/tiny", trust_remote_code=True)
with torch.no_grad():
    pooled = model(**tokenizer("ACGTACGTAC", return_tensors="pt")).pooler_output
print(" ".join(str(value) for value in pooled[0].tolist()))
print(ModelCard.load("bioscan-ml/tiny").data.eval_results[0].metric_value)

few = load_dataset("bioscan-ml/few", split="validation")
stream = load_dataset("bioscan-ml/few", split="validation", streaming=True)
print(len(few), few[0]["image"].size, next(iter(stream))["processid"] == few[0]["processid"])
"""
REFUSED = """
from huggingface_hub.errors import RepositoryNotFoundError
from transformers import AutoModel
from huggingface_hub import hf_hub_download
try:
    hf_hub_download("tester/hidden", "config.json")
except RepositoryNotFoundError as error:
    print("refused")
try:
    AutoModel.from_pretrained("tester/hidden")
except OSError as error:
    print("refused")
from bioscan_hf.hub.push import check_can_push
try:
    check_can_push("tester/hidden")
except OSError as error:
    print("no token")
"""


@pytest.fixture
def folder(masked_lm: BarcodeBertForMaskedLM, tmp_path: Path) -> Path:
    save_model(tmp_path / "model", masked_lm, build_tokenizer(3))
    save_card(tmp_path / "model", card(masked_lm, [OURS, BASELINE]))
    return tmp_path / "model"


def test_round_trip(hub: LocalHub, masked_lm: BarcodeBertForMaskedLM, folder: Path, tmp_path: Path) -> None:
    computers = [tmp_path / name for name in ("writer", "reader", "stranger")]
    for computer in computers:
        computer.mkdir()
    pushed = hub.run(PUSH, computers[0], str(folder))
    assert f"{hub.url}/bioscan-ml/tiny" in pushed.stdout
    assert hub.api().repo_info("tester/just-a-name").private is False

    embedding, accuracy, few = hub.run(READ, computers[1], token=False).stdout.splitlines()[-3:]
    expected = masked_lm.bert(**build_tokenizer(3)("ACGTACGTAC", return_tensors="pt")).pooler_output[0].tolist()
    assert [float(value) for value in embedding.split()] == pytest.approx(expected, abs=1e-6)
    assert float(accuracy) == OURS.value
    assert few == "34 (96, 96) True"

    refused = hub.run(REFUSED, computers[2], token=False)
    assert refused.stdout.split("\n")[:3] == ["refused", "refused", "no token"]


@pytest.mark.parametrize("repo_id", ["a/b/c", "a b", "-a", ""])
def test_malformed_repository_is_refused_before_anything_is_sent(repo_id: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)repo"):
        check_can_push(repo_id)
