"""Write a published card of each kind of model into `model_cards/`, and the cards of the packaged models.

    python tools/make_model_cards.py

Needs the package, and half a minute. Run it when the texts of cards change. The cards of trained models are made of
what their runs wrote, that of the library of one built from the embedded sample, and those of converted models of the
architectures that were published: their weights are not at hand.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard
from transformers import AutoConfig, BertConfig, BertModel

from bioscan_hf import Library, load_specimens
from bioscan_hf.data.features import resolve_split
from bioscan_hf.data.specimens import describe_source
from bioscan_hf.evaluation.results import read_results
from bioscan_hf.hub.cards import Head, Training
from bioscan_hf.hub.clibd_cards import clibd_card
from bioscan_hf.hub.clibd_conversion import clibd_card as converted_clibd_card
from bioscan_hf.hub.conversion import Source, conversion_card
from bioscan_hf.hub.library_push import library_card
from bioscan_hf.models.barcodebert import convert_config as barcodebert
from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.barcodebert.convert_barcodebert import Conversion
from bioscan_hf.models.barcodebert.modeling_barcodebert import BarcodeBertForMaskedLM
from bioscan_hf.models.clibd import convert_config as clibd
from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig
from bioscan_hf.models.clibd.convert_clibd import ClibdConversion
from bioscan_hf.models.clibd.modeling_clibd import ClibdModel
from bioscan_hf.models.pretrained import packaged_model
from bioscan_hf.training.alignment_arguments import AlignmentArguments
from bioscan_hf.training.arguments import FinetuningArguments
from bioscan_hf.training.barcode_cards import barcode_card
from bioscan_hf.training.provenance import shown_arguments

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "model_cards"
RUNS = ROOT / "docs" / "results" / "model_cards"
EXAMPLE_TEXT = "Diptera Sciaridae not_classified not_classified"
# What stands in place of what only the file with the weights tells.
UNKNOWN_DIGEST = "written when it is converted"


@dataclass(frozen=True)
class Run:
    """What the files of a training do not tell.

    Attributes:
        folder: With config.json, run.json, history.json and results.json.
        head: What a BarcodeBERT has on top of its encoder.
        objective: What was optimised, in words.
        labels: Ranks whose labels were used.
        examples: Specimens of the training.
        parameters: Of the model; of an adapter, its own.
    """

    folder: Path
    head: Head
    objective: str
    labels: tuple[str, ...]
    examples: int
    parameters: int


SMALL = Run(
    folder=packaged_model("barcodebert-small"),
    head="classifier",
    objective="classification of order, family, genus (from scratch)",
    labels=("order", "family", "genus"),
    examples=10_931,
    parameters=1_319_964,
)
ALIGNED = Run(
    folder=packaged_model("clibd-small"),
    head="none",
    objective="contrastive alignment of image, DNA and text",
    labels=("order", "family", "genus", "species"),
    examples=15_031,
    parameters=2_033_985,
)
ADAPTER = Run(
    folder=RUNS / "lora-adapter",
    head="adapter",
    objective="classification of genus, species (LoRA)",
    labels=("genus", "species"),
    examples=603,
    parameters=56_737,
)


def trained(run: Run, model_id: str, *, at: Path) -> ModelCard:
    """The card of a model that was trained here, as the trainer writes it.

    Args:
        run: Its run.
        model_id: What the example in the card loads.
        at: Folder of the card, for its link to the picture.
    """
    told = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    history = json.loads((run.folder / "history.json").read_text(encoding="utf-8"))
    paths = {name: Path(told["arguments"][name]) for name in ("output", "splits") if told["arguments"][name]}
    kind = AlignmentArguments if run is ALIGNED else FinetuningArguments
    arguments = kind(**{**told["arguments"], **paths})
    training = Training(
        objective=run.objective,
        arguments=shown_arguments(arguments),
        examples=run.examples,
        example_name="specimens",
        labels=run.labels,
        history=history,
        seconds=history[-1]["seconds"],
        processes=told["processes"],
    )
    results = read_results(run.folder / "results.json")
    models = {result.model for result in results}
    for file in filter(None, (arguments.compare or "").split(",")):
        results += [result for result in read_results(ROOT / file) if result.model not in models]
    facts = {
        "source": (told["data"]["name"], told["data"]["revision"]),
        "model_id": model_id,
        "title": run.folder.name,
        "version": told["bioscan_hf"],
        "picture": Path(os.path.relpath(run.folder / "training.png", at)).as_posix(),
        "data_license": arguments.data_credit,
    }
    config = AutoConfig.from_pretrained(run.folder)
    if isinstance(arguments, FinetuningArguments):
        return barcode_card(arguments, run.head, config, run.parameters, training, results, **facts)
    facts |= {"compared": arguments.batch_size, "chance": None, "simulated": True, "example_text": EXAMPLE_TEXT}
    return clibd_card(config, run.parameters, training, results, **facts)


def converted_barcodebert() -> ModelCard:
    """The card of the paper's BarcodeBERT 8-4-4, converted."""
    config = BertConfig(vocab_size=4**8 + 2, num_hidden_layers=4, num_attention_heads=4)
    with torch.device("meta"):
        encoder = BertModel(config, add_pooling_layer=False).state_dict()
    found = barcodebert.describe(
        encoder,
        mlm_head="linear",
        fine_tuned=False,
        bert_config=config.to_dict(),
        arguments={"k_mer": 8, "max_len": 660, "n_layers": 4, "n_heads": 4, "use_unk_token": True},
        given={},
    )
    with torch.device("meta"):
        model = BarcodeBertForMaskedLM(BarcodeBertConfig(**found.fields))
    conversion = Conversion(model, "pretraining model (BertForTokenClassification)", found, [], mae=False)
    source = Source(Path(), "checkpoint_pretraining.pt", UNKNOWN_DIGEST)
    return conversion_card(conversion, source, model_id="my-barcodebert")


def converted_clibd() -> ModelCard:
    """The card of the published CLIBD of BIOSCAN-5M, converted."""
    text = {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 2048}
    with torch.device("meta"):
        shapes = ClibdModel(ClibdConfig(vision_config={}, dna_config={}, text_config=text, projection_dim=768))
    weights = {name: own for name, own in shapes.state_dict().items() if "logit_scale" not in name}
    found = clibd.describe(weights, {})
    with torch.device("meta"):
        model = ClibdModel(clibd.config_of(found))
    left_out = [
        "position_ids, a constant of old versions of transformers",
        "the bias of the k-mer predictions, which CLIBD does not use",
        "BERT's pooler, which CLIBD does not use",
    ]
    layout = "with LoRA in the tower for images alone, where the reference leaves it in full fine-tuning"
    name = "bioscan-ml/clibd@95dd3f9/ckpt/bioscan_clip/ver_1_0/bioscan_5m/image_dna_text_4gpu/best.pth"
    conversion = ClibdConversion(model, layout, found, left_out)
    return converted_clibd_card(conversion, Source(Path(), name, UNKNOWN_DIGEST), model_id="my-clibd")


def library() -> ModelCard:
    """The card of a library of the embedded sample."""
    specimens = load_specimens()
    train, others = ([row in resolve_split(of) for row in specimens["split"]] for of in ("train", CALIBRATION))
    chosen = [specimens.select([i for i, is_in in enumerate(rows) if is_in]) for rows in (train, others)]
    name, revision = describe_source()
    info = {"source": name, "revision": revision, "split": "train", "command": LIBRARY_COMMAND}
    with tempfile.TemporaryDirectory() as folder:
        Library.build(chosen[0], calibration=chosen[1], info=info).save(Path(folder) / "library")
        return library_card(Path(folder) / "library", "me/my-library")


CALIBRATION = "val+val_unseen+other_heldout"
LIBRARY_COMMAND = "bioscan library build sample --output my-library"


def packaged(run: Run) -> str:
    """The card of a packaged model, which loads it by its name."""
    name = run.folder.name
    text = str(trained(run, name, at=OUTPUT)).replace(f'"{name}"', f'packaged_model("{name}")')
    return re.sub(r"^(from transformers import .*)$", r"\1\n\nfrom bioscan_hf import packaged_model", text, flags=re.M)


CARDS: dict[str, Callable[[], Any]] = {
    "barcodebert-small": lambda: packaged(SMALL),
    "clibd-small": lambda: packaged(ALIGNED),
    "converted-barcodebert": converted_barcodebert,
    "converted-clibd": converted_clibd,
    "lora-adapter": lambda: trained(ADAPTER, "my-adapter", at=OUTPUT),
    "library": library,
}
"""What writes each card."""


def main() -> None:
    """Run the tool."""
    for run in (SMALL, ALIGNED):
        (run.folder / "README.md").write_text(str(trained(run, ".", at=run.folder)), encoding="utf-8")
    OUTPUT.mkdir(exist_ok=True)
    for name, write in CARDS.items():
        (OUTPUT / f"{name}.md").write_text(str(write()), encoding="utf-8")


if __name__ == "__main__":
    main()
