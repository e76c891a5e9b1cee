import itertools
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bioscan_hf.training.arguments import TrainingArguments
from bioscan_hf.training.batches import Batch, Place
from bioscan_hf.training.checkpoints import find_checkpoints, read_tensors, save_tensors, step_of
from bioscan_hf.training.loop import Outcome, total_steps, train
from tests.training.made_runs import forget_processes, masked_batches, tiny_model

STEPS = 12


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget_processes()
    yield
    forget_processes()


def arguments(**fields: Any) -> TrainingArguments:
    given = {"max_steps": STEPS, "batch_size": 8, "learning_rate": 1e-2, "logging_steps": 1, "save_steps": 4}
    return TrainingArguments(**{**given, "eval_strategy": "no", **fields})


def write(folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
    save_tensors(folder / "model.safetensors", weights)


def losses(outcome: Outcome) -> list[float]:
    return [record["loss"] for record in outcome.state.history if "loss" in record]


def same(model: nn.Module, other: nn.Module) -> bool:
    pairs = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def written_out(model: nn.Module, batches: Iterator[Batch], *, steps: int = STEPS, decay: float = 0.0) -> Any:
    """The loop as simply as it can be written; returns losses and the averaged weights."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps + 1, pct_start=0.3)
    found: list[float] = []
    average: dict[str, torch.Tensor] = {}
    for step, batch in enumerate(itertools.islice(batches, steps)):
        loss = model(**batch.inputs).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        found.append(loss.item())
        for name, weight in model.state_dict().items():
            average[name] = weight.clone() if step == 0 else average[name] * decay + weight * (1 - decay)
    return found, average


def test_equals_the_loop_written_out() -> None:
    model, other = tiny_model(), tiny_model()
    seen: list[tuple[int, int]] = []
    outcome = train(model, masked_batches(), arguments(), report=lambda step, steps, _: seen.append((step, steps)))
    expected, _ = written_out(other, masked_batches().start(0))
    assert losses(outcome) == pytest.approx(expected, abs=1e-5)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert (outcome.ended, outcome.state.step, outcome.checkpoint) == ("finished", STEPS, None)
    assert seen == [(step, STEPS) for step in range(1, STEPS + 1)] and not model.training


def test_loss_falls() -> None:
    found = losses(train(tiny_model(), masked_batches(), arguments(max_steps=60)))
    assert sum(found[-5:]) < 0.85 * sum(found[:5])


@pytest.mark.parametrize("accumulation", [2, 8])
def test_accumulation_equals_the_large_batch_though_labels_are_unequal(accumulation: int) -> None:
    """With few k-mers masked, some forward passes have several times the labels of others, and some none."""
    one, many = tiny_model(), tiny_model()
    whole = masked_batches(mlm_probability=0.03, label_visible=False)
    parts = masked_batches(Place(0, 1, 8 // accumulation, accumulation), mlm_probability=0.03, label_visible=False)
    counts = [int((b.inputs["labels"] >= 0).sum()) for b in itertools.islice(parts.start(0), 24)]
    assert max(counts) >= 2 * max(min(counts), 1)
    expected = losses(train(one, whole, arguments()))
    divided = arguments(batch_size=8 // accumulation, gradient_accumulation_steps=accumulation)
    assert losses(train(many, parts, divided)) == pytest.approx(expected, abs=1e-5)


def test_average_equals_the_naive_one_and_is_what_is_evaluated_and_kept(tmp_path: Path) -> None:
    model, other, seen = tiny_model(), tiny_model(), []

    def evaluate(evaluated: nn.Module) -> dict[str, float]:
        assert not evaluated.training
        seen.append({name: weight.clone() for name, weight in evaluated.state_dict().items()})
        return {"loss": 1.0}

    outcome = train(
        model,
        masked_batches(),
        arguments(ema_decay=0.7, eval_strategy="steps", eval_steps=STEPS),
        evaluate=evaluate,
        folder=tmp_path,
        write_model=write,
    )
    _, expected = written_out(other, masked_batches().start(0), decay=0.7)
    assert outcome.average is not None and outcome.checkpoint is not None
    kept = tiny_model(seed=9)
    kept.load_state_dict(read_tensors(outcome.checkpoint / "model.safetensors"))
    for name, weight in expected.items():
        torch.testing.assert_close(outcome.average.state_dict()[name], weight)
        assert torch.equal(seen[-1][name], outcome.average.state_dict()[name])
        assert torch.equal(kept.state_dict()[name], outcome.average.state_dict()[name])
    assert not same(outcome.average, model)


def evaluations(values: list[float]) -> Any:
    """Evaluates to these values, one after another."""
    left = iter(values)
    return lambda model: {"loss": next(left), "accuracy": 0.5}


def test_stops_early_and_ends_with_the_best(tmp_path: Path) -> None:
    outcome = train(
        tiny_model(),
        masked_batches(),
        arguments(
            **{"eval_strategy": "steps", "eval_steps": 2, "metric_for_best_model": "loss", "save_total_limit": 1},
            early_stopping_patience=2,
            save_strategy="no",
        ),
        evaluate=evaluations([3.0, 2.0, 2.5, 2.0, 0.0]),
        folder=tmp_path,
        write_model=write,
    )
    assert (outcome.ended, outcome.state.step, outcome.state.best_step) == ("early", 8, 4)
    assert outcome.checkpoint == tmp_path / "checkpoint-4"
    assert [step_of(path) for path in find_checkpoints(tmp_path)] == [4, 8]


def test_a_run_that_stopped_early_does_not_go_on_when_it_is_resumed(tmp_path: Path) -> None:
    options = {"eval_strategy": "steps", "eval_steps": 2, "metric_for_best_model": "loss"}
    chosen = arguments(**options, early_stopping_patience=1)
    places: dict[str, Any] = {"folder": tmp_path, "write_model": write}
    first = train(tiny_model(), masked_batches(), chosen, evaluate=evaluations([1.0, 2.0]), **places)
    again = train(
        tiny_model(),
        masked_batches(),
        chosen,
        evaluate=evaluations([]),
        resume=tmp_path / f"checkpoint-{first.state.step}",
        **places,
    )
    assert (again.ended, again.state.step, again.checkpoint) == ("early", 4, tmp_path / "checkpoint-2")


def test_more_is_better_of_what_is_no_loss(tmp_path: Path) -> None:
    values = iter([0.1, 0.9, 0.5])
    chosen = arguments(eval_strategy="steps", eval_steps=4, metric_for_best_model="eval_accuracy")
    outcome = train(
        tiny_model(),
        masked_batches(),
        chosen,
        evaluate=lambda model: {"accuracy": next(values)},
        folder=tmp_path,
        write_model=write,
    )
    assert outcome.checkpoint == tmp_path / "checkpoint-8" and outcome.state.best_value == 0.9


def test_unknown_metric_is_told_with_the_known_ones() -> None:
    chosen = arguments(eval_strategy="steps", eval_steps=1, metric_for_best_model="eval_los")
    with pytest.raises(ValueError, match=r"must be one of \['eval_accuracy', 'eval_loss'\]; got 'eval_los'"):
        train(tiny_model(), masked_batches(), chosen, evaluate=evaluations([1.0]))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"eval_strategy": "no"}, []),
        ({"eval_strategy": "steps", "eval_steps": 5}, [5, 10, 12]),
        ({"eval_strategy": "epoch"}, [7, 12]),  # 60 examples are 7 steps of 8
    ],
)
def test_evaluates_when_asked_to_and_at_the_end(fields: dict[str, Any], expected: list[int]) -> None:
    state = train(tiny_model(), masked_batches(), arguments(**fields), evaluate=evaluations([1.0] * 9)).state
    assert [record["step"] for record in state.history if "eval_loss" in record] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"save_strategy": "no"}, [12]),
        ({"save_strategy": "steps", "save_steps": 5}, [5, 10, 12]),
        ({"save_strategy": "epoch"}, [7, 12]),
        ({"save_strategy": "steps", "save_steps": 2, "save_total_limit": 2}, [10, 12]),
    ],
)
def test_saves_when_asked_to_and_at_the_end(fields: dict[str, Any], expected: list[int], tmp_path: Path) -> None:
    told: list[Path] = []
    train(tiny_model(), masked_batches(), arguments(**fields), folder=tmp_path, write_model=write, saved=told.append)
    assert [step_of(path) for path in find_checkpoints(tmp_path)] == expected
    assert told[-1] == tmp_path / "checkpoint-12"
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds == {".safetensors", ".json"}, "nothing is a pickle"


def test_what_a_killed_run_had_not_come_to_delete_is_deleted_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = arguments(save_total_limit=1)
    places: dict[str, Any] = {"folder": tmp_path, "write_model": write}
    with monkeypatch.context() as patch:
        patch.setattr("bioscan_hf.training.checkpoints.prune", lambda *_, **__: None)
        train(tiny_model(), masked_batches(), chosen, **places)
    assert [step_of(path) for path in find_checkpoints(tmp_path)] == [4, 8, 12]
    train(tiny_model(), masked_batches(), chosen, resume=tmp_path / "checkpoint-12", **places)
    assert [step_of(path) for path in find_checkpoints(tmp_path)] == [12]


def test_epochs_are_turned_into_steps() -> None:
    assert total_steps(TrainingArguments(num_train_epochs=2.5), masked_batches()) == 18
    assert total_steps(TrainingArguments(num_train_epochs=0.01), masked_batches()) == 1
    assert total_steps(TrainingArguments(num_train_epochs=9, max_steps=3), masked_batches()) == 3


def test_frozen_part_has_no_dropout() -> None:
    model = tiny_model(dropout=0.5)
    model.bert.requires_grad_(False)
    seen = set()

    def watch(*_: Any) -> None:
        seen.add((model.training, model.bert.training, any(m.training for m in model.bert.modules())))

    chosen = arguments(max_steps=4, eval_strategy="steps", eval_steps=2)
    model.classifier.register_forward_hook(watch)
    train(model, masked_batches(), chosen, frozen=[model.bert], evaluate=evaluations([1.0] * 2))
    assert seen == {(True, False, False)}


@pytest.mark.parametrize("before", [False, True])
def test_determinism_is_asked_for_during_the_run_only(before: bool) -> None:
    seen = []
    torch.use_deterministic_algorithms(before)
    try:
        train(
            tiny_model(),
            masked_batches(),
            arguments(max_steps=1, deterministic=True),
            report=lambda *_: seen.append(torch.are_deterministic_algorithms_enabled()),
        )
        assert seen == [True] and torch.are_deterministic_algorithms_enabled() is before
    finally:
        torch.use_deterministic_algorithms(False)


def test_bf16_trains_float32_weights() -> None:
    seen = set()
    model = tiny_model()
    model.bert.encoder.layer[0].attention.output.dense.register_forward_hook(
        lambda module, inputs, output: seen.add(output.dtype)
    )
    outcome = train(model, masked_batches(), arguments(mixed_precision="bf16"))
    assert seen == {torch.bfloat16} and {p.dtype for p in model.parameters()} == {torch.float32}
    forget_processes()
    exact = losses(train(tiny_model(), masked_batches(), arguments()))
    assert losses(outcome) == pytest.approx(exact, rel=0.05) and losses(outcome) != exact


def test_log_has_rate_norm_speed_and_epoch() -> None:
    state = train(tiny_model(), masked_batches(), arguments(logging_steps=5)).state
    assert [record["step"] for record in state.history] == [5, 10, 12]
    for record in state.history:
        assert record["epoch"] == pytest.approx(record["step"] / 7)
        assert record["grad_norm"] > 0 and record["learning_rate"] > 0 and record["samples_per_second"] > 0
    each = losses(train(tiny_model(), masked_batches(), arguments()))
    means = [sum(each[:5]) / 5, sum(each[5:10]) / 5, sum(each[10:]) / 2]
    assert losses(Outcome("finished", state)) == pytest.approx(means)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signal_writes_a_checkpoint_and_ends(number: signal.Signals, tmp_path: Path) -> None:
    outcome = train(
        tiny_model(),
        masked_batches(),
        arguments(save_strategy="no"),
        folder=tmp_path,
        write_model=write,
        report=lambda step, *_: os.kill(os.getpid(), number) if step == 5 else None,
    )
    assert (outcome.ended, outcome.signal, outcome.state.step) == ("interrupted", number.name, 6)
    assert [path.name for path in find_checkpoints(tmp_path)] == ["checkpoint-6"]
