import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData

from bioscan_hf.evaluation.benchmarks.paper import HARMONIC, SEEN, UNSEEN, retrieval_name
from bioscan_hf.evaluation.benchmarks.retrieval_tables import MACRO
from bioscan_hf.evaluation.results import Result
from bioscan_hf.hub.card_texts import NOT_REGULATORY
from bioscan_hf.hub.cards import Training
from bioscan_hf.hub.clibd_cards import clibd_card
from bioscan_hf.hub.push import save_model
from tests.hub_server.fixture import LocalHub
from tests.tiny import RESULT, tiny_clibd, tiny_clibd_config, tiny_clibd_processor

TRAINING = Training(
    "contrastive alignment of image, DNA and text",
    {"max_steps": 3, "loss_type": "info_nce", "resume": None},
    examples=1234,
    example_name="specimens",
    labels=("order", "species"),
    history=[{"step": 1, "loss": 5.0}, {"step": 2, "loss": 3.0, "eval_image_to_dna": 0.25}],
    seconds=61,
    processes=4,
    resumed=2,
)
RESULTS = [
    replace(RESULT, benchmark=retrieval_name("image", "dna", "species", group), metric=MACRO, value=value, model=model)
    for model, add in (("A model", 0.0), ("Another", 0.25))
    for group, value in ((SEEN, 0.5 + add), (UNSEEN, 0.125 + add), (HARMONIC, 0.2 + add))
]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAIRS = [["image", "dna"], ["image", "text"], ["dna", "text"]]


def card(results: list[Result] = RESULTS, training: Training = TRAINING, **options: Any) -> ModelCard:
    fields = options.pop("fields", {})
    told: dict[str, Any] = {
        **{"source": ("some data", "ba9876543210"), "model_id": "me/model", "title": "A model", "version": "1.2.3"},
        **{"compared": 2000, "chance": 7.6, "example_text": "Aptera Afam not_classified", "simulated": False},
    }
    return clibd_card(tiny_clibd_config(**fields), 12345, training, results, **{**told, **options})


def metadata(written: ModelCard) -> ModelCardData:
    data = ModelCard(str(written)).data
    assert isinstance(data, ModelCardData)
    return data


def test_card_tells_what_was_trained_and_measured() -> None:
    text = card(report="retrieval", picture="training.png", data_license="CC BY 3.0").text
    for expected in (
        "# A model\n\nA CLIBD: image, DNA, text in one embedding space of 16 dimensions",
        'AutoModel.from_pretrained("me/model", trust_remote_code=True)',
        "### image to DNA: taxon of the nearest key",
        "| A model |",
        "| Another |",
        "More measures and pictures: [retrieval/README.md](retrieval/README.md).",
        "Measured by `bioscan demo --seed 3`.",
        "Contrastive alignment of image, DNA and text, on 1,234 specimens of some data (revision `ba9876543210`). ",
        "The data, some data: CC BY 3.0.\n\n## Citation",
        f"- {NOT_REGULATORY}",
        "@inproceedings{gong2025clibd,",
        "12,345 parameters; 2,000 specimens were compared with each other at a time",
        "**Labels were used: order and species.**",
        "- Loss over the last steps: 4.00 nats (guessing: 7.60)",
        "- Last evaluation, at step 2: image to dna 0.25",
        "- Duration: 1 min 1 s on 4 processes",
        "- Resumed 2 times",
        "![Training curves](training.png)",
        "| `loss_type` | info_nce |",
        "Texts were written like `Aptera Afam not_classified`",
        '`pipeline("zero-shot-image-classification")`',
        "bioscan_hf 1.2.3",
    ):
        assert expected in text, expected
    for absent in ("{{ ", "{%", "\n\n\n", "simulated", "resume`", "published"):
        assert absent not in text, absent


def test_what_is_not_known_is_not_told() -> None:
    text = card([], replace(TRAINING, labels=(), history=[], seconds=None, resumed=0), chance=None, simulated=True).text
    assert "**The specimens are simulated; nothing can be concluded about real insects.**" in text
    assert "None: the data have no test splits, or no labels in them." in text and "**Labels were not used.**" in text
    for absent in ("guessing", "More measures", "Measured by", "Loss over", "![", "Duration", "{{ ", "{%", "\n\n\n"):
        assert absent not in text, absent
    assert "(guessing" not in card(chance=None).text


def test_metadata_hold_our_own_results() -> None:
    data = metadata(card(source=("bioscan-ml/BIOSCAN-5M", "0123")))
    assert (data.license, data.library_name, data.model_name) == ("mit", "transformers", "A model")
    assert data.datasets == ["bioscan-ml/BIOSCAN-5M"] and data.pipeline_tag == "zero-shot-image-classification"
    assert data.eval_results and [result.metric_value for result in data.eval_results] == [0.5, 0.125, 0.2]
    assert {result.task_type for result in data.eval_results} == {"zero-shot-image-classification"}
    assert all("image to DNA" in str(result.metric_name) for result in data.eval_results)
    data = metadata(card([]))
    assert data.eval_results is None and data.datasets is None


@pytest.mark.parametrize("names", PAIRS)
def test_cards_of_two_modalities_are_about_these(names: list[str]) -> None:
    written = card([], fields={"modalities": names})
    shown = [{"dna": "DNA"}.get(name, name) for name in names]
    assert f"A CLIBD: {', '.join(shown)} in one embedding space" in written.text
    (source,) = BLOCK.findall(written.text)
    assert ("images=" in source, "dna=" in source, "text=" in source) == tuple(
        m in names for m in ("image", "dna", "text")
    )
    assert source.count("print(") == 1
    tagged = metadata(written).pipeline_tag
    assert tagged == ("zero-shot-image-classification" if names == ["image", "text"] else "feature-extraction")
    assert ("Texts were written like" in written.text) == ("text" in names)
    assert "\n\n\n" not in written.text


@pytest.mark.parametrize("names", [["image", "dna", "text"], *PAIRS])
def test_example_of_the_card_runs(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path, tiny_clibd(modalities=names), tiny_clibd_processor())
    (source,) = BLOCK.findall(card(model_id=".", fields={"modalities": names}).text)
    monkeypatch.chdir(tmp_path)
    exec(source, {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(names) * (len(names) - 1) // 2
    for line in lines:
        assert re.fullmatch(r"\w+, \w+: -?[01]\.\d+", line) and -1 <= float(line.split(": ")[1]) <= 1, line


@pytest.mark.slow  # a Python of its own, whose clients ask the local Hub
def test_example_runs_without_the_package(hub: LocalHub, tmp_path: Path) -> None:
    save_model(tmp_path / "model", tiny_clibd(), tiny_clibd_processor())
    hub.api().create_repo("tester/carded-clibd")
    hub.api().upload_folder(repo_id="tester/carded-clibd", folder_path=tmp_path / "model")
    (source,) = BLOCK.findall(card(model_id="tester/carded-clibd").text)
    home = tmp_path / "home"
    home.mkdir()
    shown = hub.run("import sys\nsys.modules['bioscan_hf'] = None\n" + source, home).stdout.splitlines()
    assert [line.split(":")[0] for line in shown] == ["image, dna", "image, text", "dna, text"]


def test_texts_of_the_other_form_are_described() -> None:
    text = card(fields={"text_form": "labelled"}, example_text="Order: Aptera").text
    assert "Texts were written like `Order: Aptera`" in text and "with the ranks from class to species" in text
    assert "`not_classified` in the gaps" not in text
