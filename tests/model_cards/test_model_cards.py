"""The published cards: made again they are the same, and the Hub can read all that they say of themselves."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, ModelCard, constants

from bioscan_hf import load_classifier
from bioscan_hf.hub.card_texts import NOT_REGULATORY
from tests.hub_server.fixture import LocalHub
from tests.made_clibd import HEADS, reference, save_clibd
from tests.model_cards.folders import make_adapter

ROOT = Path(__file__).parents[2]
CARDS = sorted(path for path in (ROOT / "model_cards").glob("*.md") if path.name != "README.md")
PACKAGED = sorted((ROOT / "bioscan_hf" / "models" / "pretrained").glob("*/README.md"))
DATASET = ROOT / "dataset_script" / "README.md"
# Of the Hub's own lists: licences and tasks that ours may name.
LICENCES = {"mit", "cc-by-3.0", "unknown"}
TASKS = {"feature-extraction", "text-classification", "zero-shot-image-classification"}
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@pytest.fixture(scope="module")
def tool() -> Any:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import make_model_cards
    finally:
        sys.path.pop(0)
    return make_model_cards


def test_there_is_a_card_of_each_kind(tool: Any) -> None:
    assert {path.stem for path in CARDS} == set(tool.CARDS)
    overview = (ROOT / "model_cards" / "README.md").read_text(encoding="utf-8")
    assert all(f"]({path.name})" in overview for path in CARDS)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_made_again_it_is_the_same(path: Path, tool: Any) -> None:
    assert str(tool.CARDS[path.stem]()) == path.read_text(encoding="utf-8")


def test_cards_of_the_packaged_models_are_made_of_their_runs(tool: Any) -> None:
    assert {run.folder / "README.md" for run in (tool.SMALL, tool.ALIGNED)} == set(PACKAGED)
    for run in (tool.SMALL, tool.ALIGNED):
        assert str(tool.trained(run, ".", at=run.folder)) == (run.folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [*CARDS, *PACKAGED, DATASET], ids=lambda path: str(path.relative_to(ROOT)))
def test_metadata_are_valid(path: Path, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    kind = DatasetCard if path == DATASET else ModelCard
    card = kind.load(path)
    card.validate()
    data = card.data.to_dict()
    assert data["license"] in LICENCES and data["language"] == "en" and data["tags"]
    assert all(HUB_ID.fullmatch(name) for name in data.get("datasets", []))
    if path != DATASET:
        assert data["pipeline_tag"] in TASKS
        assert data["library_name"] in {"transformers", "peft", "bioscan_hf"}
        assert HUB_ID.fullmatch(data.get("base_model", "a/b"))


@pytest.mark.parametrize("path", [*CARDS, *PACKAGED, DATASET], ids=lambda path: str(path.relative_to(ROOT)))
def test_it_tells_how_to_load_its_limits_licence_and_how_to_cite(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for heading in ("Limits", "Licence and attribution", "Citation"):
        assert text.count(f"\n## {heading}\n") == 1
    limits = text.partition("\n## Limits\n")[2].partition("\n## ")[0]
    assert NOT_REGULATORY in limits and "abel" in limits and "place" in limits.lower()
    assert "```python\n" in text
    entries = re.findall(r"^```bibtex\n(.*?)^```", text + "\n", flags=re.MULTILINE | re.DOTALL)
    assert entries and all(entry.count("{") == entry.count("}") for entry in entries)
    for absent in ("{{", "{%", "\n\n\n", "/work/", "/tmp/", "None", "nan "):
        assert absent not in text.replace("{{BarcodeBERT}", "").replace("{{BIOSCAN-5M}", "").replace("{{CLIBD}", "")


def test_links_lead_somewhere() -> None:
    for path in [*CARDS, ROOT / "model_cards" / "README.md"]:
        for target in re.findall(r"\]\(((?!http)[^)#]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_published_numbers_are_called_so() -> None:
    for name, value in (("converted-barcodebert", "47.0"), ("converted-clibd", "51.1")):
        results = (ROOT / "model_cards" / f"{name}.md").read_text(encoding="utf-8").partition("\n## Results\n")[2]
        assert value in results.partition("\n## ")[0] and "**Published**" in results
        assert "model-index" not in (ROOT / "model_cards" / f"{name}.md").read_text(encoding="utf-8")


def test_what_the_tool_says_of_a_converted_clibd_is_what_a_conversion_finds(tool: Any, tmp_path: Path) -> None:
    from bioscan_hf.models.clibd.convert_clibd import convert_clibd

    found = convert_clibd(save_clibd(tmp_path / "best.pth", reference("full").state), HEADS)
    text = str(tool.converted_clibd())
    assert all(f"- {line}\n" in text for line in found.left_out) and found.layout in text


def test_an_adapter_of_a_packaged_model_names_it_and_loads_anywhere(tmp_path: Path) -> None:
    make_adapter(tmp_path)
    told = json.loads((tmp_path / "my-adapter" / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == "barcodebert-small", "not a folder of this machine"
    model = load_classifier(tmp_path / "my-adapter")
    assert model.config.ranks == ["genus", "species"]


def test_sizes_of_a_new_model_are_not_shown_for_one_that_was_given() -> None:
    text = (ROOT / "model_cards" / "lora-adapter.md").read_text(encoding="utf-8")
    assert "| `lora_r` | 4 |" in text and "`kmer_size`" not in text and "`hidden_size`" not in text
    assert "| `kmer_size` | 6 |" in (ROOT / "model_cards" / "barcodebert-small.md").read_text(encoding="utf-8")
