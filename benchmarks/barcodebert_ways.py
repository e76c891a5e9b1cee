"""The ways that `barcodebert.py` compares, each measured in a process of its own."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import barcodebert_reference as reference
import numpy as np
import torch
from accelerate.state import AcceleratorState
from barcodebert_sizes import COMPARED, Result, Sizes, Way
from barcodes import repeated
from measuring import measured
from numpy.typing import NDArray

from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.barcodebert.modeling_barcodebert import BarcodeBertForMaskedLM, BarcodeBertModel, BarcodeMAE
from bioscan_hf.tokenization.kmer import KmerEncoder, build_tokenizer

Report = Callable[[int, float], None]


def save_model(folder: Path, k: int, sizes: Sizes) -> None:
    """Save a model with random weights, the same for all ways."""
    torch.manual_seed(k)
    BarcodeBertForMaskedLM(BarcodeBertConfig(kmer_size=k, **sizes.config)).save_pretrained(folder)


def _reference_tokens(k: int) -> Callable[[list[str]], Any]:
    tokenizer = reference.Tokenizer(k)
    return lambda barcodes: [tokenizer(barcode) for barcode in barcodes]


def _json_tokens(k: int) -> Callable[[list[str]], Any]:
    tokenizer = build_tokenizer(k)
    return lambda barcodes: tokenizer(barcodes, padding="max_length", truncation=True, return_tensors="np")


def _bound(k: int) -> Callable[[list[str]], Any]:
    table = bytes(max("ACGT".find(chr(byte)), 0) for byte in range(256))
    width = 660 // k * k

    def encode(barcodes: list[str]) -> NDArray[np.int64]:
        text = "".join([barcode[:width].ljust(width, "N") for barcode in barcodes]).encode()
        digits = np.frombuffer(text.translate(table), np.uint8).reshape(len(barcodes), -1, k)
        # Of the ways tried, the smallest type that holds a code is the fastest.
        codes = digits[:, :, 0].astype(np.min_scalar_type(4**k - 1))
        for place in range(1, k):
            codes <<= 2
            codes |= digits[:, :, place]
        return codes + np.int64(2)

    return encode


TOKENIZING = {
    "reference": Way("the reference's way: k-mer by k-mer", _reference_tokens),
    "json": Way("`build_tokenizer(k)`: the JSON tokenizer", _json_tokens, bar=False),
    "ours": Way("**`KmerEncoder(k)`**", KmerEncoder),
    "bound": Way("the plain numpy pass that bounds it", _bound),
}


def tokenize(way: str, k: int, folder: Path, barcodes: list[str], sizes: Sizes) -> Result:
    """Tokenize barcodes again and again for some seconds, with one thread.

    Returns:
        CPU seconds per barcode, and as a fact a checksum of ids and masks (None if the way gives no masks).
    """
    del folder
    torch.set_num_threads(1)
    chosen = barcodes[: sizes.tokenized]
    encode = TOKENIZING[way].open(k)
    encoded = encode(chosen)
    passes, end = 0, time.perf_counter() + sizes.seconds
    with measured() as cost:
        while not passes or time.perf_counter() < end:
            encode(chosen)
            passes += 1
    digest = _digest(encoded, reference.MAX_LETTERS // k)
    return {"costs": {"cpu": cost["cpu"] / passes / len(chosen)}, "facts": {"digest": digest}}


def _digest(encoded: Any, tokens: int) -> str | None:
    """Checksum of ids and masks, padded to some tokens."""
    if isinstance(encoded, np.ndarray):
        return None
    if isinstance(encoded, list):
        encoded = [torch.stack(tensors).numpy() for tensors in zip(*encoded, strict=True)]
    ids, mask = encoded.values() if hasattr(encoded, "values") else encoded
    missing = ((0, 0), (0, tokens - ids.shape[1]))
    padded = np.pad(ids, missing, constant_values=reference.UNKNOWN_ID), np.pad(mask, missing)
    return hashlib.sha256(np.stack(padded).astype(np.int64).tobytes()).hexdigest()


def _reference_vectors(folder: Path, k: int) -> Callable[[list[str]], NDArray[Any]]:
    return reference.embedder(folder, k, classifier=False)


def _card_vectors(folder: Path, k: int) -> Callable[[list[str]], NDArray[Any]]:
    return reference.embedder(folder, k, classifier=True)


def _our_vectors(precision: Literal["float32", "bfloat16", "int8"]) -> Callable[[Path, int], Any]:
    def opened(folder: Path, k: int) -> Callable[[list[str]], NDArray[np.float32]]:
        from datasets import Dataset

        from bioscan_hf.evaluation.encoders.barcodebert import BarcodeBertEncoder

        del k  # the model knows it
        encoder = BarcodeBertEncoder(BarcodeBertModel.from_pretrained(folder), precision=precision, reading_frames=1)
        return lambda barcodes: encoder.embed(
            Dataset.from_dict({"processid": list(map(str, range(len(barcodes)))), "dna_barcode": barcodes})
        )

    return opened


EMBEDDING = {
    "reference": Way("the reference's way, float32", _reference_vectors, slow=True, of_reference=True),
    "card": Way(
        "the reference's way, float32, with logits, as on the Hub's card",
        _card_vectors,
        bar=False,
        slow=True,
        of_reference=True,
    ),
    "float32": Way("`BarcodeBertEncoder`, float32", _our_vectors("float32"), bar=False, slow=True),
    "bfloat16": Way("**`BarcodeBertEncoder`, bfloat16**", _our_vectors("bfloat16")),
    "int8": Way("`BarcodeBertEncoder`, int8", _our_vectors("int8"), bar=False),
}


def embed(way: str, k: int, folder: Path, barcodes: list[str], sizes: Sizes) -> Result:
    """Embed distinct barcodes, and as many specimens as BIOSCAN-5M has for so many, with one thread and with all.

    The vectors of the first barcodes are written to `folder`.

    Returns:
        Seconds per barcode and, with repeats, per specimen; a way of the reference has no repeats, as it computes each.
    """
    what = EMBEDDING[way]
    encode = what.open(folder / f"k{k}", k)
    distinct = barcodes[: COMPARED if what.slow else sizes.embedded]
    data = {"distinct": distinct}
    if not what.of_reference:
        data["repeated"] = repeated(distinct, seed=k)
    result: Result = {"costs": {}, "facts": {}}
    for threads in dict.fromkeys(sizes.threads):
        torch.set_num_threads(threads)
        np.save(folder / f"{way} {k}.npy", encode(distinct[:COMPARED]))
        for name, specimens in data.items():
            with measured() as cost:
                encode(specimens)
            for unit in ("cpu", "wall"):
                result["costs"][f"{name} {threads} {unit}"] = cost[unit] / len(specimens)
    return result


def pretrain(
    model: Any, batches: list[list[str]], report: Report, *, precision: Literal["no", "bf16"], label_visible: bool
) -> None:
    """Pretrain a model of ours on batches of barcodes by our training loop.

    Args:
        model: With a head for k-mers.
        batches: Barcodes of each step.
        report: Called after each step with the number of steps done and the loss.
        precision: Of autocast.
        label_visible: Whether visible k-mers are predicted, too.
    """
    from datasets import Dataset

    from bioscan_hf.data.collators import MaskedKmerCollator
    from bioscan_hf.training.arguments import TrainingArguments
    from bioscan_hf.training.batches import MapBatches, Place
    from bioscan_hf.training.loop import train
    from bioscan_hf.training.masked_lm import MaskedBarcodes

    # Accelerate allows one precision in a process.
    AcceleratorState._reset_state(reset_partial_state=True)
    size, barcodes = len(batches[0]), [barcode for batch in batches for barcode in batch]
    data = Dataset.from_dict({"processid": list(map(str, range(len(barcodes)))), "dna_barcode": barcodes})
    collate = MaskedBarcodes(MaskedKmerCollator(KmerEncoder.from_config(model.config), label_visible=label_visible))
    train(
        model,
        MapBatches(data, collate, Place(0, 1, size), seed=0),
        TrainingArguments(max_steps=len(batches), batch_size=size, mixed_precision=precision, logging_steps=1),
        report=lambda step, steps, record: report(step, record["loss"]),
    )
    AcceleratorState._reset_state(reset_partial_state=True)


def _our_steps(
    precision: Literal["no", "bf16"], model_class: type[Any] = BarcodeBertForMaskedLM, *, label_visible: bool = False
) -> Callable[..., None]:
    def steps(folder: Path, k: int, batches: list[list[str]], report: Report) -> None:
        del k  # the model knows it
        model = model_class.from_pretrained(folder)
        pretrain(model, batches, report, precision=precision, label_visible=label_visible)

    return steps


TRAINING = {
    "reference": Way("the reference's way, float32, loss at all k-mers", reference.pretrain),
    "same objective": Way(
        "`BarcodeBertForMaskedLM`, bfloat16, loss at all k-mers", _our_steps("bf16", label_visible=True), bar=False
    ),
    "float32": Way("`BarcodeBertForMaskedLM`, float32, loss at masked k-mers", _our_steps("no"), bar=False),
    "bfloat16": Way("**`BarcodeBertForMaskedLM`, bfloat16, loss at masked k-mers**", _our_steps("bf16")),
    "mae": Way("`BarcodeMAE`, bfloat16, loss at masked k-mers", _our_steps("bf16", BarcodeMAE), bar=False),
}


def train(way: str, k: int, folder: Path, barcodes: list[str], sizes: Sizes) -> Result:
    """Make some training steps with all threads.

    Returns:
        Seconds of the best step after the first, and the most memory that the process held, in GB.
    """
    batches = [barcodes[step * sizes.batch : (step + 1) * sizes.batch] for step in range(sizes.steps + 1)]
    stamps: list[tuple[float, float]] = []
    torch.manual_seed(0)
    torch.set_num_threads(sizes.threads[-1])
    with measured() as cost:
        TRAINING[way].open(
            folder / f"k{k}", k, batches, lambda step, loss: stamps.append((time.perf_counter(), time.process_time()))
        )
    wall, cpu = np.diff(np.array(stamps), axis=0).min(axis=0).tolist()
    return {"costs": {"wall": wall, "cpu": cpu, "peak": cost["peak"]}, "facts": {}}


PARTS = {"tokenizing": (TOKENIZING, tokenize), "embedding": (EMBEDDING, embed), "training": (TRAINING, train)}
"""Ways of each part, and what measures one."""
