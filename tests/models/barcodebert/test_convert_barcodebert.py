import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import BertForTokenClassification, BertModel, PreTrainedModel

from bioscan_hf import (
    BarcodeBertForMaskedLM,
    BarcodeBertForSequenceClassification,
    BarcodeBertModel,
    KmerEncoder,
)
from bioscan_hf.models.barcodebert.convert_barcodebert import Conversion, convert_barcodebert
from tests.made_checkpoints import HEADS, K, arguments, bert_config, save_bare, save_training, stock

STOCK = stock()
BARCODES = ["ACGTACGGTTACAGATTACA" * 33, "TTACANNGATTACAGGCA" * 9, "ACGTTGCA"]


def tokens(model: PreTrainedModel, *, padded: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, as the reference makes them if `padded`: all barcodes filled up to 660 letters."""
    ids, mask = map(torch.from_numpy, KmerEncoder.from_config(model.config)(BARCODES))
    assert ids.shape[1] == model.config.max_tokens or not padded
    return ids, mask


@torch.no_grad()
def same_encoder(conversion: Conversion, reference: BertModel) -> None:
    """Hidden states of stock BERT; the pooled ones re-computed as the reference's generation does it."""
    model: Any = conversion.model
    ids, mask = tokens(model, padded=True)
    outputs = getattr(model, "bert", model)(ids, mask)
    pads = conversion.found.generation < 3
    hidden = reference(ids, attention_mask=torch.ones_like(mask) if pads else mask).last_hidden_state
    torch.testing.assert_close(outputs.last_hidden_state, hidden, atol=1e-5, rtol=0)
    weights = torch.ones_like(mask) if pads else mask
    mean = (hidden * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
    torch.testing.assert_close(outputs.pooler_output, mean, atol=1e-5, rtol=0)


@torch.no_grad()
def same_kmer_logits(model: PreTrainedModel, reference: BertForTokenClassification) -> None:
    ids, mask = tokens(model, padded=True)
    torch.testing.assert_close(
        model(ids, mask).logits[..., 2:], reference(ids, attention_mask=mask).logits, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("prefix", ["", "module."])
def test_pretraining_checkpoint_tells_everything(prefix: str, tmp_path: Path) -> None:
    weights = {prefix + name: tensor for name, tensor in STOCK.token_classifier.state_dict().items()}
    conversion = convert_barcodebert(save_training(tmp_path / "c.pt", STOCK.token_classifier, model=weights))
    assert isinstance(conversion.model, BarcodeBertForMaskedLM) and not conversion.model.training
    assert conversion.found.generation == 3 and conversion.model.config.pooling == "masked_mean"
    assert not conversion.found.assumed and not conversion.left_out and not conversion.mae
    assert conversion.found.sources["num_attention_heads"] == "bert_config"
    same_encoder(conversion, STOCK.token_classifier.bert)
    same_kmer_logits(conversion.model, STOCK.token_classifier)


def test_arguments_of_june_2024_mean_generation_2(tmp_path: Path) -> None:
    old = arguments(use_unk_token=True, tokenize_n_nucleotide="absent", max_len=330)
    conversion = convert_barcodebert(save_training(tmp_path / "c.pt", STOCK.token_classifier, config=old))
    config = conversion.model.config
    assert conversion.found.generation == 2 and not conversion.found.assumed
    assert config.attend_to_padding and config.pooling == "mean" and config.max_nucleotides == 330
    same_encoder(conversion, STOCK.token_classifier.bert)


def test_bare_state_dict_is_generation_3_unless_given(tmp_path: Path) -> None:
    save_file(STOCK.token_classifier.state_dict(), tmp_path / "c.safetensors")
    conversion = convert_barcodebert(tmp_path / "c.safetensors", HEADS)
    assert conversion.found.generation == 3
    assert [line.split(":")[0] for line in conversion.found.assumed] == [
        "generation 3",
        "`max_nucleotides` is 660",
        "k-mers do not overlap",
        "activation, layer norm and dropout are BERT's defaults",
    ]
    given: dict[str, Any] = {**HEADS, "generation": 2, "max_nucleotides": 660}
    conversion = convert_barcodebert(tmp_path / "c.safetensors", given)
    assert conversion.found.generation == 2 and len(conversion.found.assumed) == 2
    same_encoder(conversion, STOCK.token_classifier.bert)
    given |= {"generation": 3, "pooling": "cls", "cls_token_id": 0}
    assert convert_barcodebert(tmp_path / "c.safetensors", given).model.config.pooling == "cls"


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("tied", [True, False])
def test_model_of_2023(prefix: str, tied: bool, tmp_path: Path) -> None:
    reference = STOCK.masked_lm
    path = save_bare(tmp_path / "c.pth", reference, prefix, bert__embeddings__position_ids=torch.arange(256)[None])
    if tied:  # as safetensors files are written: a tensor with two names stands there once
        content = torch.load(path)
        content = {name: tensor for name, tensor in content.items() if "predictions.decoder" not in name}
        torch.save(content, path)
    conversion = convert_barcodebert(path, HEADS)
    config = conversion.model.config
    assert conversion.found.generation == 1 and config.vocabulary == "acgt_2023" and config.mlm_head == "transform"
    assert conversion.left_out == ["position_ids, a constant of old versions of transformers"]
    same_encoder(conversion, reference.bert)
    ids, mask = tokens(conversion.model, padded=True)
    with torch.no_grad():
        ours, theirs = conversion.model(ids, mask, labels=ids), reference(ids, labels=ids)
    torch.testing.assert_close(ours.logits, theirs.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.loss, theirs.loss, atol=1e-5, rtol=0)


def test_head_matrix_is_saved_beside_the_token_embeddings(tmp_path: Path) -> None:
    model = convert_barcodebert(save_bare(tmp_path / "c.pth", STOCK.masked_lm), HEADS).model
    model.save_pretrained(tmp_path / "saved")
    again = BarcodeBertForMaskedLM.from_pretrained(tmp_path / "saved")
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("generation", [2, 3])
def test_fine_tuned_model_pools_over_all_positions(generation: int, tmp_path: Path) -> None:
    told = arguments() if generation == 3 else arguments(use_unk_token=True, tokenize_n_nucleotide="absent")
    conversion = convert_barcodebert(save_training(tmp_path / "c.pt", STOCK.classifier, config=told))
    assert isinstance(conversion.model, BarcodeBertForSequenceClassification)
    assert conversion.model.config.pooling == "mean" and conversion.model.config.num_labels == 5
    assert conversion.found.assumed == ["the classes are called LABEL_0, LABEL_1, ...: `id2label` was not given"]
    ids, mask = tokens(conversion.model, padded=True)
    read = mask if generation == 3 else torch.ones_like(mask)
    with torch.no_grad():
        torch.testing.assert_close(conversion.model(ids, mask).logits, STOCK.classifier(ids, read), atol=1e-5, rtol=0)


def test_names_of_classes_can_be_given(tmp_path: Path) -> None:
    path = save_training(tmp_path / "c.pt", STOCK.classifier)
    names = {str(i): f"Aus {i}us" for i in range(5)}
    config: Any = convert_barcodebert(path, {"id2label": names}).model.config
    assert config.id2label[3] == "Aus 3us" and config.label2id["Aus 3us"] == 3
    for wrong in ({"0": "Aus"}, ["a", "b", "c", "d", "e"], {str(i + 1): "a" for i in range(5)}):
        with pytest.raises(ValueError, match='`id2label` must name its 5 classes by their numbers, from "0" on'):
            convert_barcodebert(path, {"id2label": wrong})


def test_encoder_of_a_barcodemae(tmp_path: Path) -> None:
    # The reference saves the encoder alone.
    path = save_training(tmp_path / "c.pt", STOCK.maelm.encoder, config=arguments(arch="maelm"))
    alone = convert_barcodebert(path)
    assert type(alone.model) is BarcodeBertModel and alone.mae
    assert alone.left_out == ["the pooler, which BarcodeBERT does not use"] and not alone.found.assumed
    same_encoder(alone, STOCK.maelm.encoder)

    whole = convert_barcodebert(save_training(tmp_path / "c.pt", STOCK.maelm))
    assert type(whole.model) is BarcodeBertModel and whole.mae
    assert sorted(line.split(",")[0] for line in whole.left_out) == ["the decoder", "the pooler"]
    same_encoder(whole, STOCK.maelm.encoder)


def test_fine_tuned_barcodemae_and_encoder_with_prefix(tmp_path: Path) -> None:
    model = torch.nn.Module()
    model.base_model, model.classifier = STOCK.maelm.encoder, STOCK.classifier.classifier
    conversion = convert_barcodebert(save_training(tmp_path / "c.pt", model))
    assert type(conversion.model) is BarcodeBertForSequenceClassification and conversion.mae
    tensors = {name: tensor for name, tensor in STOCK.token_classifier.state_dict().items() if name.startswith("bert.")}
    save_file(tensors, tmp_path / "c.safetensors")
    conversion = convert_barcodebert(tmp_path / "c.safetensors", HEADS)
    assert type(conversion.model) is BarcodeBertModel
    same_encoder(conversion, STOCK.token_classifier.bert)


@pytest.mark.parametrize("pickled", [True, False])
def test_files_of_the_hub(pickled: bool, tmp_path: Path) -> None:
    for name, reference in (("a", STOCK.token_classifier), ("b", STOCK.masked_lm)):
        reference.save_pretrained(tmp_path / name)
        if pickled:
            (tmp_path / name / "model.safetensors").unlink()
            torch.save(reference.state_dict(), tmp_path / name / "pytorch_model.bin")
        conversion = convert_barcodebert(tmp_path / name)
        assert conversion.found.generation == (3 if name == "a" else 1)
        assert conversion.found.sources["num_attention_heads"] == "bert_config"
        same_encoder(conversion, reference.bert)


def test_model_with_n_in_its_kmers(tmp_path: Path) -> None:
    reference = BertForTokenClassification(bert_config(5**K + 2)).eval()
    told = {"config": arguments(tokenize_n_nucleotide=True), "bert_config": reference.config.to_dict()}
    conversion = convert_barcodebert(save_training(tmp_path / "c.pt", reference, **told))
    assert conversion.model.config.vocabulary == "acgt_then_n" and conversion.found.generation == 3
    same_encoder(conversion, reference.bert)


def test_head_of_a_model_without_unknown_kmers_is_left_out(tmp_path: Path) -> None:
    reference = BertForTokenClassification(bert_config(5**K + 1)).eval()
    conversion = convert_barcodebert(save_bare(tmp_path / "c.pt", reference), HEADS)
    assert type(conversion.model) is BarcodeBertModel and conversion.model.config.vocabulary == "acgnt"
    assert conversion.found.generation == 2 and "which k-mers its outputs mean" in conversion.left_out[0]
    same_encoder(conversion, reference.bert)


@pytest.mark.parametrize("layers", [4, 6, 12])
def test_heads_of_published_sizes_are_as_many_as_layers(layers: int, tmp_path: Path) -> None:
    config = bert_config(hidden_size=768, num_hidden_layers=layers, intermediate_size=8, max_position_embeddings=220)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in BertForTokenClassification(config).state_dict().items()}
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "c.pt")
    conversion = convert_barcodebert(tmp_path / "c.pt")
    assert conversion.model.config.num_attention_heads == layers
    assert f"`num_attention_heads` is {layers}" in " ".join(conversion.found.assumed)


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    path = save_bare(tmp_path / "c.pt", BertForTokenClassification(bert_config()).half())
    assert convert_barcodebert(path, HEADS).model.dtype == torch.float32


def without(*names: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in STOCK.token_classifier.state_dict().items() if name not in names}


WEIGHTS = STOCK.token_classifier.state_dict()
DENSE, WORDS = "bert.encoder.layer.1.output.dense.weight", "bert.embeddings.word_embeddings.weight"


@pytest.mark.parametrize(
    ("content", "given", "message"),
    [
        ({"model": without(DENSE)}, {}, f"tensors are missing in it: {DENSE}"),
        ({"model": without("classifier.bias")}, {}, "tensors are missing in it: classifier.bias"),
        ({"model": without(WORDS)}, {}, "it has no 'embeddings.word_embeddings.weight'"),
        ({"model": {**WEIGHTS, "lora.A": torch.ones(1)}}, {}, "does not have: lora.A"),
        ({"model": {**WEIGHTS, "bert.encoder.layer.0.a": torch.ones(1)}}, {}, "does not have: bert.encoder.layer.0.a"),
        ({"model": {**WEIGHTS, "module.a": torch.ones(1)}}, {}, "does not have: module.a"),
        ({"model": {**WEIGHTS, DENSE: torch.ones(16, 23)}}, {}, r"must have the shape \(16, 24\); got \(16, 23\)"),
        ({"model": {**WEIGHTS, DENSE: torch.ones(16, 24).int()}}, {}, "floating point numbers; got torch.int32"),
        ({"model": {**WEIGHTS, WORDS: torch.ones(30522, 16)}}, {}, "it has 30,522 tokens.* BPE"),
        ({"model": {"a": torch.ones(1), "b": torch.ones(1)}}, {}, "not named as those of a BarcodeBERT: a, b"),
        ({"model": {f"a{i}": torch.ones(1) for i in range(9)}}, {}, "a5 and 3 more"),
        ({"model": {}}, {}, "no state dict"),
        ({"model": {"a": 1}}, {}, "'a' in .* must be a tensor; got int"),
        ({"epoch": 1}, {}, "'epoch' in .* must be a tensor; got int"),
        ({"config": arguments(stride=1)}, {}, "its k-mers overlap .k is 3, stride 1."),
        ({"config": arguments(tokenizer="bpe")}, {}, "its tokenizer is 'bpe'"),
        ({"config": arguments(k_mer=4, stride=3)}, {}, "`kmer_size` is 3 by its tensors, but 4 by arguments"),
        ({"config": arguments(n_heads=2)}, {}, "`num_attention_heads` is 4 by its bert_config, but 2 by arguments"),
        ({"config": arguments(tokenize_n_nucleotide=True)}, {}, "say `tokenize_n_nucleotide`, but .* is 'acgt'"),
        ({"bert_config": {"hidden_size": 32}}, {}, "`hidden_size` is 16 by its tensors, but 32 by bert_config"),
        ({"bert_config": {"model_type": "distilbert"}}, {}, "`model_type` is 'distilbert'"),
        ({"bert_config": {"position_embedding_type": "relative_key"}}, {}, "BarcodeBERT is a BERT with 'absolute'"),
        (
            {"bert_config": {"num_attention_heads": 4, "hidden_act": "none"}},
            {},
            "`hidden_act` is 'none' in its configuration",
        ),
        ({"bert_config": {"is_decoder": True}}, {}, "`is_decoder` is True"),
        ({}, {"num_attention_heads": 8}, "is 4 by its bert_config, but 8 by --config"),
        ({}, {"generation": 1}, "`generation` must be 3 or 2 with the vocabulary 'acgt'; got 1"),
        ({}, {"vocabulary": "acgnt"}, "`vocabulary` is 'acgt' by its tensors, but 'acgnt' by --config"),
        ({}, {"num_atention_heads": 4}, "no field of the configuration; did you mean `num_attention_heads`?"),
        ({}, {"generaton": 3}, "did you mean `generation`?"),
        ({}, {"xyz": 3}, "give `generation` or fields of BarcodeBertConfig"),
        ({}, {"pooling": "max"}, "pooling"),
        ({}, {"pooling": "cls"}, "needs a `cls_token_id`"),
        ({"bert_config": None, "config": None}, {}, r'attention heads; give \{"num_attention_heads": ...\}'),
        ({"bert_config": None, "config": None}, {"num_attention_heads": 3}, "multiple of `num_attention_heads`"),
        ({"bert_config": None, "config": None}, {"num_attention_heads": "4"}, "expected int, got str"),
    ],
)
def test_wrong_checkpoint_or_setting_is_one_clear_line(
    content: dict[str, Any], given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    if list(content) == ["epoch"]:
        torch.save(content, tmp_path / "c.pt")
    else:
        save_training(tmp_path / "c.pt", STOCK.token_classifier, **content)
    with pytest.raises(ValueError, match=message) as error:
        convert_barcodebert(tmp_path / "c.pt", given)
    assert "\n" not in str(error.value)


def test_head_of_2023_with_a_later_vocabulary_needs_a_generation(tmp_path: Path) -> None:
    tensors = {**STOCK.masked_lm.state_dict()}
    for name in (WORDS, "cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "cls.predictions.bias"):
        tensors[name] = tensors[name][:-1].clone()
    torch.save(tensors, tmp_path / "c.pt")
    with pytest.raises(ValueError, match=r'give \{"generation": 2\} or \{"generation": 3\}'):
        convert_barcodebert(tmp_path / "c.pt", HEADS)
    conversion = convert_barcodebert(tmp_path / "c.pt", {**HEADS, "generation": 3})
    assert conversion.model.config.mlm_head == "transform" and conversion.model.config.vocabulary == "acgt"


def test_two_biases_that_should_be_one(tmp_path: Path) -> None:
    tensors = {**STOCK.masked_lm.state_dict(), "cls.predictions.bias": torch.ones(4**K + 3)}
    torch.save(tensors, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="should be one tensor, but differ"):
        convert_barcodebert(tmp_path / "c.pt", HEADS)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no config.json"),
        ({"config.json": "{}"}, "holds no weights: neither model.safetensors nor pytorch_model.bin"),
        ({"config.json": "{"}, "is no JSON file"),
        ({"config.json": "[]"}, "must hold a JSON object"),
        ({"config.json": json.dumps({"model_type": "barcodebert"})}, "needs no conversion"),
    ],
)
def test_wrong_folder(files: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        convert_barcodebert(tmp_path)
