"""Models with random weights in the layouts of those on the Hub."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import FixedLength
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    EsmConfig,
    EsmForMaskedLM,
    EsmTokenizer,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from bioscan_hf.evaluation.embeddings import embed
from bioscan_hf.evaluation.encoders.hub import HubEncoder
from bioscan_hf.evaluation.encoders.loading import load_encoder

BARCODES = ["AACATTATATTTACGT", "ACGTACGTAGTTNNACACGTACGATTAGAGCCGA" * 2, "AACATT", "TTACGTACGTACNNA"]
SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def fast_tokenizer(model: WordLevel | BPE) -> PreTrainedTokenizerFast:
    """Adds [CLS] and [SEP], as GROVER's."""
    tokenizer = Tokenizer(model)
    if isinstance(model, WordLevel):
        tokenizer.pre_tokenizer = FixedLength(2)
    special = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=24, **names)


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def save_nucleotide_transformer(folder: Path) -> None:
    """ESM with absolute positions and 6-mers; what is left over is single letters."""
    kmers = map("".join, itertools.product("AT", repeat=6))
    vocabulary = ["<unk>", "<pad>", "<mask>", "<cls>", "AACATT", "ACGTAC", *kmers, *"ATCGN"]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    EsmTokenizer(
        folder / "vocab.txt",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token="<mask>",
        cls_token="<cls>",
        eos_token=None,
        model_max_length=20,
    ).save_pretrained(folder)
    config = EsmConfig(
        **SIZES,
        vocab_size=len(vocabulary) + 3,
        max_position_embeddings=22,
        position_embedding_type="absolute",
        token_dropout=True,
        pad_token_id=1,
        mask_token_id=2,
    )
    EsmForMaskedLM(config).save_pretrained(folder)


def save_grover(folder: Path) -> None:
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *"ACGTN", "AA", "AC", "GT", "TA"])}
    merges = [("A", "A"), ("A", "C"), ("G", "T"), ("T", "A")]
    fast_tokenizer(BPE(vocabulary, merges, unk_token="[UNK]")).save_pretrained(folder)
    BertForMaskedLM(BertConfig(**SIZES, vocab_size=16, max_position_embeddings=30)).save_pretrained(folder)


def save_moderngena(folder: Path) -> None:
    pairs = map("".join, itertools.product("ACGTN", repeat=2))
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *pairs])}
    fast_tokenizer(WordLevel(vocabulary, "[UNK]")).save_pretrained(folder)
    ids: dict[str, Any] = {
        "pad_token_id": 0,
        "bos_token_id": 2,
        "cls_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
    }
    ModernBertModel(ModernBertConfig(**SIZES, **ids, vocab_size=32)).save_pretrained(folder)


LAYOUTS = {
    "nucleotide-transformer": save_nucleotide_transformer,
    "grover": save_grover,
    "moderngena": save_moderngena,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    for name, save in LAYOUTS.items():
        save(root / name)
    return {name: root / name for name in LAYOUTS}


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_equals_the_model_one_by_one(layout: str, folders: dict[str, Path]) -> None:
    folder = folders[layout]
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    encoder = load_encoder(folder, batch_size=2, device="cpu")
    assert isinstance(encoder, HubEncoder)
    assert (encoder.name, encoder.dimension, encoder.min_letters) == (layout, 16, 1)
    vectors = encoder.encode(BARCODES)
    widths = set()
    for barcode, vector in zip(BARCODES, vectors, strict=True):
        inputs = tokenizer(barcode, truncation=True, max_length=encoder.max_tokens, return_tensors="pt")
        widths.add(inputs["input_ids"].shape[1])
        np.testing.assert_allclose(vector, model(**inputs).last_hidden_state[0].mean(dim=0), atol=2e-6)
    assert len(widths) > 2 and max(widths) == encoder.max_tokens, "batches are padded and cut"


def test_positions_of_the_padding_do_not_count(folders: dict[str, Path]) -> None:
    positions = {name: load_encoder(folders[name]).max_tokens for name in LAYOUTS}  # type: ignore[attr-defined]
    assert positions == {"nucleotide-transformer": 20, "grover": 24, "moderngena": 24}
    tokenizer = AutoTokenizer.from_pretrained(folders["nucleotide-transformer"], model_max_length=10**30)
    model = AutoModel.from_pretrained(folders["nucleotide-transformer"])
    assert HubEncoder(model, tokenizer).max_tokens == 20
    HubEncoder(model, tokenizer).encode(["C" * 300])


def test_reading_frames_and_precision(folders: dict[str, Path]) -> None:
    plain = load_encoder(folders["grover"])
    framed = load_encoder(folders["grover"], reading_frames=2)
    specimens = Dataset.from_dict({"processid": ["a", "b"], "dna_barcode": ["ACGTA", "CGTA"]})
    first, second = embed(plain, specimens, normalise=False).vectors
    np.testing.assert_allclose(framed.embed(specimens)[0], (first + second) / 2, atol=1e-6)
    for precision in ("bfloat16", "int8"):
        vectors = load_encoder(folders["grover"], precision=precision).embed(specimens)
        cosines = (vectors * [first, second]).sum(axis=1) / np.linalg.norm(vectors, axis=1)
        assert (cosines / np.linalg.norm([first, second], axis=1) > 0.999).all()


class WithoutMask(nn.Module):
    """Like a state space model: reads padding as if it were DNA, and does not name its output."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.inner, self.config, self.name_or_path = model, model.config, "without-mask"
        self.device, self.dtype, self.embeddings = model.device, model.dtype, model.embeddings

    def get_input_embeddings(self) -> nn.Module:
        return self.inner.get_input_embeddings()

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.inner(input_ids).last_hidden_state,)


def test_without_attention_mask_vectors_do_not_depend_on_the_batch(folders: dict[str, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folders["grover"])
    encoder = HubEncoder(WithoutMask(AutoModel.from_pretrained(folders["grover"])), tokenizer)
    together = encoder.encode(BARCODES)
    alone = np.concatenate([encoder.encode([barcode]) for barcode in BARCODES])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def dnabert2(folder: Path, source: Path, *, auto_map: bool) -> Path:
    """The layout of DNABERT-2: the type says BERT, the weights are others."""
    folder.mkdir()
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    model = BertModel(BertConfig(**SIZES, vocab_size=16))
    state = {f"bert.{key}": value for key, value in model.state_dict().items()}
    for i in range(SIZES["num_hidden_layers"]):
        attention = f"bert.encoder.layer.{i}.attention.self."
        for part in ("weight", "bias"):
            state[f"{attention}Wqkv.{part}"] = torch.cat(
                [state.pop(f"{attention}{name}.{part}") for name in ("query", "key", "value")]
            )
    model.save_pretrained(folder, state_dict=state)
    config = json.loads((folder / "config.json").read_text())
    if auto_map:
        config["auto_map"] = {"AutoModel": "bert_layers.BertModel"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_weights_of_other_code_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    trap = dnabert2(tmp_path / "vendored", folders["grover"], auto_map=False)
    with pytest.raises(
        ValueError, match=r"12 \(encoder.layer.0.attention.self.key.bias.* missing, 4 \(.*Wqkv"
    ) as error:
        load_encoder(trap)
    assert "give the file" in str(error.value)
    original = dnabert2(tmp_path / "original", folders["grover"], auto_map=True)
    with pytest.raises(ValueError, match=r"needs code of its own \(bert_layers.BertModel\).*trust_remote_code=True"):
        load_encoder(original)


def test_surplus_layers_are_refused_but_heads_and_old_buffers_are_not(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "grover"
    model = BertForMaskedLM(BertConfig(**SIZES, vocab_size=16, max_position_embeddings=30))
    AutoTokenizer.from_pretrained(folders["grover"]).save_pretrained(folder)
    old = {**model.state_dict(), "bert.embeddings.position_ids": torch.arange(30)[None]}
    model.save_pretrained(folder, state_dict=old)
    assert "bert.embeddings.position_ids" in load_file(folder / "model.safetensors")
    assert load_encoder(folder).embed(Dataset.from_dict({"processid": ["a"], "dna_barcode": ["ACGT"]})).shape == (1, 16)

    config = json.loads((folder / "config.json").read_text()) | {"num_hidden_layers": 1}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"none missing, 16 \(.*encoder.layer.1"):
        load_encoder(folder)
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 31, "num_hidden_layers": 2}))
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_encoder(folder)


def test_a_tokenizer_that_does_not_fit_is_refused(folders: dict[str, Path]) -> None:
    model = AutoModel.from_pretrained(folders["grover"])
    tokenizer = AutoTokenizer.from_pretrained(folders["moderngena"])
    with pytest.raises(ValueError, match="tokenizer has 30 tokens and the model 16"):
        HubEncoder(model, tokenizer)
    letters = fast_tokenizer(WordLevel({token: i for i, token in enumerate([*SPECIAL, "xy"])}, "[UNK]"))
    with pytest.raises(ValueError, match="does not know DNA"):
        HubEncoder(model, letters)
    tokenizer = AutoTokenizer.from_pretrained(folders["grover"])
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="no padding token"):
        HubEncoder(model, tokenizer)


class OneVector(WithoutMask):
    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.inner(input_ids).pooler_output,)


def test_a_model_without_hidden_states_is_refused(folders: dict[str, Path]) -> None:
    model = OneVector(AutoModel.from_pretrained(folders["grover"]))
    with pytest.raises(ValueError, match="no hidden state per token"):
        HubEncoder(model, AutoTokenizer.from_pretrained(folders["grover"]))
