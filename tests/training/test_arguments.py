from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from bioscan_hf.training.arguments import FinetuningArguments, PretrainingArguments, TrainingArguments

DATA: dict[str, Any] = {"data": "sample", "output": Path("o")}
MODEL: dict[str, Any] = {**DATA, "model": "m"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_steps", 0, "at least 1"),
        ("num_train_epochs", 0.0, "above 0"),
        ("batch_size", 0, "at least 1"),
        ("batch_size", 2.0, "a whole number"),
        ("gradient_accumulation_steps", 0, "at least 1"),
        ("learning_rate", 0.0, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("weight_decay", -1.0, "at least 0"),
        ("warmup_ratio", 1.0, "below 1"),
        ("max_grad_norm", 0.0, "above 0"),
        ("ema_decay", 1.0, "below 1"),
        ("mixed_precision", "int4", "one of"),
        ("lr_scheduler_type", "linear", "one of"),
        ("seed", -1, "at least 0"),
        ("save_total_limit", 0, "at least 1"),
    ],
)
def test_value_out_of_range_is_named(name: str, value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be .*{expected}.*; got {value!r}"):
        TrainingArguments(**{"max_steps": 1, name: value})


def test_misspelt_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="learning_rat"):
        TrainingArguments(max_steps=1, learning_rat=1e-3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup_ratio": 0.0}, "`warmup_ratio` must be above 0 with 'onecycle'; use 'cosine'"),
        ({"early_stopping_patience": 2}, "`early_stopping_patience` needs `metric_for_best_model`"),
        ({"metric_for_best_model": "eval_loss", "eval_strategy": "no"}, "`metric_for_best_model` needs evaluations"),
    ],
)
def test_arguments_that_do_not_go_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingArguments(**changes)


def test_no_warm_up_is_right_for_other_schedules() -> None:
    assert TrainingArguments(warmup_ratio=0.0, lr_scheduler_type="cosine").warmup_ratio == 0


@pytest.mark.parametrize(
    ("metric", "given", "expected"),
    [
        ("eval_loss", None, False),
        ("loss", None, False),
        ("eval_accuracy_species", None, True),
        ("eval_loss", True, True),
        ("eval_accuracy_species", False, False),
    ],
)
def test_a_loss_is_better_when_less(metric: str, given: bool | None, expected: bool) -> None:
    arguments = TrainingArguments(metric_for_best_model=metric, greater_is_better=given)
    assert arguments.more_is_better is expected


def test_arguments_are_required_where_nothing_could_be_guessed() -> None:
    for cls in (PretrainingArguments, FinetuningArguments):
        assert {field.name for field in fields(cls) if field.default is MISSING} == {"data", "output"}


def test_sizes_make_the_configuration_of_the_paper() -> None:
    config = PretrainingArguments(**DATA).config()
    assert (config.kmer_size, config.num_hidden_layers, config.num_attention_heads) == (8, 4, 4)
    assert (config.hidden_size, config.intermediate_size, config.max_position_embeddings) == (768, 3072, 512)
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0.1
    longer = PretrainingArguments(**DATA, kmer_size=3, max_nucleotides=3001).config()
    assert longer.max_position_embeddings == 1001


def test_sizes_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="`hidden_size` must be a multiple of `num_attention_heads`"):
        PretrainingArguments(**DATA, hidden_size=10, num_attention_heads=3).config()


def test_visible_kmers_are_not_for_barcodemae() -> None:
    with pytest.raises(ValueError, match="`label_visible` is for 'masked_lm'"):
        PretrainingArguments(**DATA, objective="mae", label_visible=True)


def test_ranks_go_from_broad_to_fine() -> None:
    assert FinetuningArguments(**MODEL).ranks == ["species"]
    assert FinetuningArguments(**MODEL, rank="species, family,genus").ranks == ["family", "genus", "species"]


@pytest.mark.parametrize(("method", "expected"), [("full", 1e-4), ("linear", 1e-4), ("lora", 5e-3)])
def test_adapters_have_a_learning_rate_of_their_own(method: Any, expected: float) -> None:
    assert FinetuningArguments(**MODEL, method=method).learning_rate == expected
    assert FinetuningArguments(**MODEL, method=method, learning_rate=0.5).learning_rate == 0.5
    with pytest.raises(ValueError, match="`learning_rate` must be above 0; got 0"):
        FinetuningArguments(**MODEL, method=method, learning_rate=0)


@pytest.mark.parametrize("rank", ["tribe", "genus,tribe", "genus,genus", ""])
def test_unknown_and_repeated_ranks_are_refused(rank: str) -> None:
    with pytest.raises(ValueError, match=f"`rank` must be some of .*'species'.* got {rank!r}"):
        FinetuningArguments(**MODEL, rank=rank)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"merge_adapter": True}, "`merge_adapter` is for the method 'lora'"),
        ({"streaming": True}, "`streaming` is for pretraining"),
        ({"method": "prefix"}, "`method` must be one of"),
    ],
)
def test_what_fine_tuning_cannot_do(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FinetuningArguments(**MODEL, **changes)
