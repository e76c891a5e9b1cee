from pathlib import Path

import pytest

from bioscan_hf.training.arguments import FinetuningArguments, PretrainingArguments
from bioscan_hf.training.masked_lm import PRETRAINING_SPLITS
from bioscan_hf.training.settings import make_settings

FOLDER = Path(__file__).parents[2] / "examples" / "config"


def settings(path: Path) -> PretrainingArguments | FinetuningArguments:
    flags = {"data": "sample", "output": Path("model")}
    if path.stem.startswith("pretrain"):
        return make_settings(PretrainingArguments, flags, path)
    return make_settings(FinetuningArguments, flags, path)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_settings_make_a_model(path: Path) -> None:
    assert settings(path).config().kmer_size


def test_paper_is_the_recipe_of_the_paper() -> None:
    paper = settings(FOLDER / "pretrain_paper.yaml")
    assert isinstance(paper, PretrainingArguments)
    assert (paper.kmer_size, paper.num_hidden_layers, paper.num_attention_heads) == (8, 4, 4)
    assert (paper.hidden_size, paper.intermediate_size, paper.max_nucleotides) == (768, 3072, 660)
    assert (paper.mlm_probability, paper.label_visible, paper.random_offset) == (0.5, True, True)
    assert (paper.learning_rate, paper.scale_learning_rate, paper.weight_decay) == (1e-4, True, 0)
    assert (paper.lr_scheduler_type, paper.num_train_epochs, paper.max_steps) == ("onecycle", 35, None)
    assert paper.train_split == PRETRAINING_SPLITS
    # Steps and rate are the same whatever the number of GPUs shares the 64 barcodes.
    assert paper.batch_size * 4 == 64
