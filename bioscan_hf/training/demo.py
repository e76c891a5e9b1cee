"""The demonstration: from specimens to a small pretrained BarcodeBERT with results, pictures and card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from datasets import Dataset

from bioscan_hf import __version__
from bioscan_hf.data.collators import MaskedKmerCollator
from bioscan_hf.data.files import digest
from bioscan_hf.data.selection import select_split
from bioscan_hf.evaluation.embeddings import embed
from bioscan_hf.evaluation.encoders.base import check_barcodes
from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts
from bioscan_hf.evaluation.pictures import embedding_map, loss_curve, save_picture
from bioscan_hf.evaluation.probing import probe_results
from bioscan_hf.evaluation.results import Result, write_results
from bioscan_hf.hub.cards import Training, chance_loss, training_card
from bioscan_hf.hub.push import save_card, save_model
from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.barcodebert.modeling_barcodebert import BarcodeBertForMaskedLM
from bioscan_hf.tokenization.kmer import KmerEncoder, build_tokenizer
from bioscan_hf.training.arguments import TrainingArguments
from bioscan_hf.training.barcode_cards import SIMULATED
from bioscan_hf.training.batches import MapBatches, Place
from bioscan_hf.training.loop import train
from bioscan_hf.training.masked_lm import MaskedBarcodes, distinct_barcodes

Report = Callable[[str, int, int, str], None]
"""Called with the name of a task, what is done, what there is in all, and a remark."""

TITLE = "BarcodeBERT demo"
SUMMARY = (
    "A very small BarcodeBERT, pretrained by `bioscan demo` for less than a minute on two CPU cores, to show the way "
    "from records to a model."
)
LIMITS = (
    "A demonstration: the model is small and barely trained. Do not identify specimens with it, least of all for "
    "regulatory purposes."
)
# What two CPU cores can train in a minute. No dropout: no barcode is seen often enough to be learnt by heart.
SIZES: dict[str, Any] = {
    "kmer_size": 5,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
BATCH_SIZE = 32
LEARNING_RATE = 5e-4
# Without labels, so that the test splits stay unseen; the paper uses pretrain and other_heldout only.
PRETRAINING_SPLITS = "pretrain+train+other_heldout"
EVALUATION_SPLITS = "train+test+test_unseen"


def run_demo(
    specimens: Dataset,
    folder: Path,
    *,
    source: tuple[str, str],
    simulated: bool,
    max_steps: int,
    seed: int,
    command: str,
    model_id: str,
    report: Report,
) -> list[Result]:
    """Pretrain, embed and probe, and write what came out.

    Args:
        specimens: All columns of the schema; `split` decides what is trained on and what is asked.
        folder: Gets `model/` with its card, `results.json`, `embeddings.png` and `loss.png`.
        source: Name and revision of the data.
        simulated: Whether the specimens are, which the card then says.
        max_steps: Training steps of `BATCH_SIZE` barcodes.
        seed: Seed of weights, order and masking.
        command: The command that does this, for results and card.
        model_id: Repository or folder that the example in the card loads.
        report: Told of the progress.

    Returns:
        Accuracy of the model and of 4-mer counts at each probe; a probe without labelled specimens is left out.

    Raises:
        ValueError: If there are fewer distinct barcodes than one batch, or one is too short or too long to be embedded.
        OSError: If `folder` cannot be written.
    """
    # Before the training, not after it.
    check_barcodes(*(specimens[name][:] for name in ("processid", "dna_barcode")), min_letters=SIZES["kmer_size"])
    model, training = _pretrain(specimens, max_steps, seed, report)
    save_model(folder / "model", model, build_tokenizer(model.config.kmer_size))
    curve = loss_curve(
        training.history, chance=chance_loss(model.config.kmer_size), title="Masked language modelling of barcodes"
    )
    save_picture(curve, folder / "loss.png")
    results = _evaluate(model, specimens, folder, source, command, report)
    write_results(results, folder / "results.json")
    card = training_card(
        model.config,
        model.num_parameters(),
        training,
        results,
        head="masked_lm",
        source=source,
        reading_frames=model.config.kmer_size,
        model_id=model_id,
        title=TITLE,
        summary=SUMMARY + (SIMULATED if simulated else ""),
        limits=LIMITS + (SIMULATED if simulated else ""),
        version=__version__,
    )
    save_card(folder / "model", card)
    return results


def _pretrain(specimens: Dataset, max_steps: int, seed: int, report: Report) -> tuple[BarcodeBertForMaskedLM, Training]:
    arguments = TrainingArguments(
        max_steps=max_steps, batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE, seed=seed, logging_steps=1
    )
    examples = distinct_barcodes(select_split(specimens, PRETRAINING_SPLITS))
    set_seed(seed)
    model = BarcodeBertForMaskedLM(BarcodeBertConfig(**SIZES))
    collate = MaskedBarcodes(MaskedKmerCollator(KmerEncoder.from_config(model.config)))
    outcome = train(
        model,
        MapBatches(examples, collate, Place(0, 1, BATCH_SIZE), seed=seed),
        arguments,
        report=lambda step, steps, record: report("pretraining", step, steps, f", {record['loss']:.2f} nats"),
    )
    chosen = ("max_steps", "batch_size", "learning_rate", "lr_scheduler_type", "warmup_ratio", "weight_decay", "seed")
    return model, Training(
        objective="masked language modelling",
        arguments={name: getattr(arguments, name) for name in chosen},
        examples=len(examples),
        example_name="distinct barcodes",
        labels=(),
        history=outcome.state.history,
    )


def _evaluate(
    model: BarcodeBertForMaskedLM,
    specimens: Dataset,
    folder: Path,
    source: tuple[str, str],
    command: str,
    report: Report,
) -> list[Result]:
    chosen = select_split(specimens, EVALUATION_SPLITS)
    if not len(chosen):
        chosen = specimens
    embeddings = embed(
        model.bert,
        chosen,
        reading_frames=model.config.kmer_size,
        report=lambda done, total: report("embedding", done, total, ""),
    )
    title = f"Barcode embeddings by order, {source[0]}"
    save_picture(embedding_map(embeddings.vectors, chosen["order"][:], title=title), folder / "embeddings.png")
    counts = KmerCounts(4)
    compared = (
        (TITLE, digest(folder / "model" / "model.safetensors"), embeddings),
        (counts.name, counts.revision, embed(counts, chosen)),
    )
    return probe_results(compared, chosen, source=source, command=command)
