import time
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from bioscan_hf import BarcodeBertConfig, KmerEncoder
from tests.tiny import TAXONOMY


@pytest.mark.parametrize("vocabulary", ["acgt", "acgt_2023", "acgt_then_n", "acgnt"])
@pytest.mark.parametrize("cls_token_id", [None, 0])
def test_sizes_and_ids_are_those_of_the_tokens(vocabulary: Any, cls_token_id: int | None) -> None:
    config = BarcodeBertConfig(kmer_size=5, vocabulary=vocabulary, cls_token_id=cls_token_id, max_nucleotides=123)
    encoder = KmerEncoder.from_config(config)
    assert (config.vocab_size, config.num_special_tokens) == (encoder.vocab_size, encoder.first_kmer_id)
    assert (config.unknown_token_id, config.mask_token_id) == (encoder.unknown_id, encoder.mask_id)
    assert config.max_tokens == encoder.max_tokens == encoder(["A" * 999])[0].shape[1]


def test_defaults_are_the_model_of_the_paper() -> None:
    config = BarcodeBertConfig()
    assert (config.vocab_size, config.max_tokens, config.pad_token_id) == (65_538, 82, 0)
    assert (config.num_hidden_layers, config.num_attention_heads, config.hidden_size) == (4, 4, 768)


def test_every_head_is_named_for_the_hub(tmp_path: Path) -> None:
    BarcodeBertConfig(kmer_size=5).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, BarcodeBertConfig) and config.kmer_size == 5
    assert config.auto_map == {
        "AutoConfig": "configuration_barcodebert.BarcodeBertConfig",
        "AutoModel": "modeling_barcodebert.BarcodeBertModel",
        "AutoModelForMaskedLM": "modeling_barcodebert.BarcodeBertForMaskedLM",
        "AutoModelForPreTraining": "modeling_barcodebert.BarcodeMAE",
        "AutoModelForSequenceClassification": "modeling_barcodebert.BarcodeBertForSequenceClassification",
    }
    taxonomic = BarcodeBertConfig(**{**config.to_dict(), **TAXONOMY})
    assert taxonomic.auto_map is not None
    wanted = "modeling_barcodebert.BarcodeBertForTaxonomicClassification"
    assert taxonomic.auto_map["AutoModelForSequenceClassification"] == wanted
    assert taxonomic.architectures == ["BarcodeBertForTaxonomicClassification"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kmer_size": 4, "vocab_size": 300}, "vocab_size.*258.*300"),
        ({"hidden_size": 30, "num_attention_heads": 4}, "multiple"),
        ({"kmer_size": 3, "max_nucleotides": 3000}, "max_position_embeddings.*1000"),
        ({"kmer_size": "four"}, "kmer_size"),
        ({"vocabulary": "acgu"}, "vocabulary"),
        ({"pooling": "cls"}, "cls_token_id"),
        ({"pooling": "max"}, "pooling"),
        ({"cls_token_id": 2}, "first 2 ids.*got 2"),
        ({"vocabulary": "acgnt", "cls_token_id": 1}, "first 1 ids"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=f"(?s){message}"):
        BarcodeBertConfig(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ranks": None}, "belong together"),
        ({"taxa": None}, "belong together"),
        ({"lineages": None}, "belong together"),
        ({"lineages": []}, "belong together"),
        ({"taxa": {"order": ["Aptera", "Bptera"]}}, "belong together"),
        ({"lineages": [[0, 0, 0], [0, 1, 1], [0, 1, 2], [1, -1]]}, "rows of 3"),
        ({"lineages": [[0, 0, 0], [0, 1, 1], [0, 1, 2], [-1, -1, -1]]}, "not all -1"),
        ({"lineages": [*TAXONOMY["lineages"], [0, 1, 2]]}, "different rows"),
        ({"lineages": TAXONOMY["lineages"][:3]}, "Each order.*a row"),
        ({"lineages": [*TAXONOMY["lineages"], [0, 1, 3]]}, "Each species.*no others"),
        ({"lineages": [[0, 0, 0], [0, 1, 1], [1, 0, 2]]}, r"The genus 'Aus' has two lineages.*\['order'\]"),
        ({"lineages": [[0, 0, 0], [0, 1, 1], [0, 1, 2], [1, -1, 2]]}, "The species 'Cus eus' has two lineages"),
        ({"taxa": {**TAXONOMY["taxa"], "genus": ["Aus", "Aus"]}}, "Each genus.*a name of its own"),
    ],
)
def test_taxa_that_contradict_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    BarcodeBertConfig(**TAXONOMY)
    with pytest.raises(Exception, match=f"(?s){message}"):
        BarcodeBertConfig(**{**TAXONOMY, **changes})


def test_thousands_of_species_are_saved_and_loaded(tmp_path: Path) -> None:
    lineages = [[i // 100, i // 5, i] for i in range(5000)]
    ranks = ["order", "genus", "species"]
    taxa = {rank: [f"{rank} {i}" for i in range(lineages[-1][j] + 1)] for j, rank in enumerate(ranks)}
    start = time.perf_counter()
    config = BarcodeBertConfig(ranks=ranks, taxa=taxa, lineages=lineages)
    config.save_pretrained(tmp_path)
    again = BarcodeBertConfig.from_pretrained(tmp_path)
    assert time.perf_counter() - start < 10, "a pass over the rows, nothing quadratic"
    assert (again.ranks, again.taxa, again.lineages) == (ranks, taxa, lineages)
    assert (tmp_path / "config.json").stat().st_size < 1_000_000
