from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from bioscan_hf import BarcodeBertConfig


def test_vocabulary_follows_from_the_kmer_size() -> None:
    assert BarcodeBertConfig(kmer_size=4).vocab_size == 258
    assert BarcodeBertConfig().vocab_size == 65_538


def test_every_head_is_named_for_the_hub(tmp_path: Path) -> None:
    BarcodeBertConfig(kmer_size=5).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, BarcodeBertConfig) and config.kmer_size == 5
    assert set(config.auto_map or ()) == {"AutoConfig", "AutoModel", "AutoModelForMaskedLM"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kmer_size": 4, "vocab_size": 300}, "vocab_size.*258.*300"),
        ({"hidden_size": 30, "num_attention_heads": 4}, "multiple"),
        ({"kmer_size": 3, "max_nucleotides": 3000}, "max_position_embeddings.*1000"),
        ({"kmer_size": "four"}, "kmer_size"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=f"(?s){message}"):
        BarcodeBertConfig(**arguments)
