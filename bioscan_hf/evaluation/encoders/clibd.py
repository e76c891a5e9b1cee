"""Embeddings by a CLIBD: one encoder per modality, all into one space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.evaluation.encoders.base import Encoder, Report, column
from bioscan_hf.evaluation.encoders.image_inputs import Preprocessing, read_preprocessing
from bioscan_hf.evaluation.encoders.images import ImageEncoder
from bioscan_hf.evaluation.encoders.model import ModelEncoder, weights_digest
from bioscan_hf.evaluation.encoders.model_files import ModelFiles, find_model, load_weights
from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig
from bioscan_hf.models.clibd.modeling_clibd import ClibdModel
from bioscan_hf.models.clibd.processing_clibd import ClibdProcessor
from bioscan_hf.models.pretrained import SMALL_CLIBD, find_packaged
from bioscan_hf.tokenization.kmer import KmerEncoder
from bioscan_hf.tokenization.taxonomy import RANKS_OF_FORM, taxonomy_texts

_EXPECTED = f"'{SMALL_CLIBD}', which comes with the package, or the folder or Hub repository of a CLIBD"


class ClibdBarcodeEncoder(ModelEncoder):
    """Computes the embedding of barcodes by a `ClibdModel`."""

    def __init__(self, model: ClibdModel, **options: Any) -> None:
        """Prepare a model.

        Args:
            model: Has a tower for DNA.
            **options: As `ModelEncoder`.
        """
        config: Any = model.config.dna_config
        if options.get("reading_frames") is None:
            options["reading_frames"] = config.reading_frames
        super().__init__(model, **options)
        self._tokens = KmerEncoder.from_config(config)
        self.dimension = model.config.projection_dim
        self.min_letters = config.kmer_size
        self.max_letters = config.max_nucleotides + self.reading_frames - 1

    def _pooled(self, barcodes: list[str]) -> torch.Tensor:
        ids, mask = self._tokens(barcodes)
        model: Any = self.model
        attention_mask = None if mask.all() else self._on_device(mask)
        features: torch.Tensor = model.get_dna_features(self._on_device(ids), attention_mask).pooler_output
        return features


class ClibdTextEncoder:
    """Computes the embedding of the taxonomy of specimens, written as the texts of the model's training.

    Attributes:
        name: How tables and cards call it.
        revision: Digest or commit of its weights.
        dimension: D.
        model: What computes.
        batch_size: Texts in a forward pass.
    """

    def __init__(
        self,
        model: ClibdModel,
        tokenizer: Any,
        *,
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        name: str | None = None,
        revision: str | None = None,
    ) -> None:
        """Prepare a model.

        Args:
            model: Has a tower for text.
            tokenizer: Of that tower.
            batch_size: Texts in a forward pass; by default 64 on a CPU, else 1,024.
            device: Where to compute; by default where the model is.
            name: How tables and cards call it; by default where the model was loaded from, or its type.
            revision: Digest or commit of its weights.
        """
        self.model = model.to(device or model.device)
        self.tokenizer = tokenizer
        self.dimension = model.config.projection_dim
        self.batch_size = batch_size or (64 if self.model.device.type == "cpu" else 1024)
        self.name = name or model.name_or_path or model.config.model_type
        self.revision = revision

    @property
    def description(self) -> dict[str, Any]:
        """See `ImageEncoder.description`."""
        return {
            "encoder": type(self).__name__,
            "model": self.name,
            "revision": self.revision or weights_digest(self.model),
            "text_form": self.model.config.text_form,
        }

    def encode(self, texts: Sequence[str], *, report: Report | None = None) -> NDArray[np.float32]:
        """Compute one vector per text.

        Args:
            texts: N texts, none of them empty.
            report: Called after each batch with the number of texts done and of all.

        Returns:
            (N, D), in the order of `texts`, of any length.
        """
        vectors = np.empty((len(texts), self.dimension), np.float32)
        training = self.model.training
        self.model.eval()
        try:
            for start in range(0, len(texts), self.batch_size):
                rows = slice(start, start + self.batch_size)
                vectors[rows] = self._features(list(texts[rows])).cpu().numpy()
                if report:
                    report(min(rows.stop, len(texts)), len(texts))
        finally:
            self.model.train(training)
        return vectors

    def embed(self, specimens: Dataset, *, report: Report | None = None) -> NDArray[np.float32]:
        """Compute one vector per specimen, and each distinct text once.

        Args:
            specimens: N specimens with the columns of the ranks.
            report: As in `encode`.

        Returns:
            (N, D), in the order of `specimens`, of any length.

        Raises:
            ValueError: If a specimen has no name at any rank; the message has its process id.
        """
        form = self.model.config.text_form
        labels = {rank: column(specimens, rank) for rank in RANKS_OF_FORM[form]}
        nameless = [row for row, names in enumerate(zip(*labels.values(), strict=True)) if not any(names)]
        if nameless:
            raise ValueError(
                f"The specimen {column(specimens, 'processid')[nameless[0]]!r} has no name at any of the ranks "
                f"{list(labels)}, so that there is no text ({len(nameless):,} such); leave them out."
            )
        texts = taxonomy_texts(labels, form=form)
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        vectors = self.encode(list(places), report=report)
        return vectors[[places[text] for text in texts]]

    @torch.inference_mode()
    def _features(self, texts: list[str]) -> torch.Tensor:
        inputs = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self.model.device)
        features = self.model.get_text_features(inputs["input_ids"], inputs["attention_mask"]).pooler_output
        return features.float()


def clibd_encoders(model: ClibdModel, processor: ClibdProcessor, **options: Any) -> dict[str, Encoder]:
    """The encoders of a model.

    Args:
        model: A CLIBD.
        processor: Its processor.
        **options: `batch_size`, `device`, `name` and `revision`, as of `ImageEncoder`.

    Returns:
        By modality, those of its towers: `image`, `dna`, `text`.
    """
    found: dict[str, Encoder] = {}
    if "image" in model.config.modalities:
        found["image"] = ImageEncoder(model, clibd_preprocessing(processor, model.config), **options)
    if "dna" in model.config.modalities:
        found["dna"] = ClibdBarcodeEncoder(model, **options)
    if "text" in model.config.modalities:
        found["text"] = ClibdTextEncoder(model, processor.tokenizer, **options)
    return found


def clibd_preprocessing(processor: ClibdProcessor, config: ClibdConfig) -> Preprocessing:
    """What the model's image processor does: scale the shorter side, crop the centre, normalise."""
    settings = processor.image_processor.to_dict()
    size = dict(settings.get("size") or {})
    return read_preprocessing(
        settings, config.vision_config, source="processor_config.json", shorter_side=size.get("shortest_edge")
    )


def read_clibd(source: ModelFiles, **options: Any) -> tuple[ClibdModel, ClibdProcessor]:
    """Load model and processor, with the code of this package.

    Args:
        source: Where they lie.
        **options: For `from_pretrained`, such as `attn_implementation`.

    Raises:
        ValueError: If weights are missing or surplus, or configuration or processor make no sense.
    """
    model: Any = load_weights(ClibdModel, source, heads=True, unused=("taxa_embeds",), **options)
    try:
        processor: Any = ClibdProcessor.from_pretrained(
            source.place, revision=source.commit or "main", trust_remote_code=False
        )
    except OSError:
        raise
    # What its classes do with files that are none of theirs is not foreseeable.
    except Exception as error:
        raise ValueError(f"The processor of '{source.place}' cannot be loaded: {error}") from error
    return model, processor


def load_clibd(
    spec: str | Path,
    *,
    batch_size: int | None = None,
    device: str | torch.device | None = None,
    revision: str | None = None,
) -> dict[str, Encoder]:
    """Load a CLIBD as encoders.

    Args:
        spec: Folder, Hub repository, or `clibd-small`, which comes with the package.
        batch_size: Specimens in a forward pass.
        device: Where to compute; by default a GPU if there is one.
        revision: Branch, tag or commit on the Hub.

    Returns:
        By modality, `image`, `dna` and `text`, those of its towers.

    Raises:
        FileNotFoundError: If there is no such folder.
        OSError: If there is no such repository, or the Hub does not answer.
        ValueError: If it is no CLIBD, or weights are missing or surplus.
    """
    source = find_model(spec, Path(find_packaged(str(spec))).expanduser(), revision, expected=_EXPECTED)
    if source.config.get("model_type") != ClibdConfig.model_type:
        raise ValueError(
            f"'{spec}' is no CLIBD, but of the type {source.config.get('model_type')!r}; expected {_EXPECTED}."
        )
    model, processor = read_clibd(source)
    return clibd_encoders(
        model,
        processor,
        batch_size=batch_size,
        device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
        name=source.name,
        revision=source.revision,
    )
