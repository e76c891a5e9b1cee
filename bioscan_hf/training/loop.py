"""The training loop: it knows batches and losses, not biology."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, send_to_device
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bioscan_hf.data.whole_files import write_json
from bioscan_hf.training import checkpoints
from bioscan_hf.training.arguments import TrainingArguments
from bioscan_hf.training.batches import Batch, Batches, mix
from bioscan_hf.training.interrupts import Interrupts, watched_signals
from bioscan_hf.training.schedule import GroupOf, make_optimizer, make_scheduler
from bioscan_hf.training.state import TrainingState

Report = Callable[[int, int, Mapping[str, float]], None]
"""Called after each step with the steps done, the steps in all, and the last record of the log."""
Evaluate = Callable[[nn.Module], Mapping[str, float]]
"""Called by all processes; returns the value of each metric, for example `loss`."""
WriteModel = Callable[[Path, Mapping[str, torch.Tensor]], None]
"""Called by the main process with a folder, and the weights to be written there."""

_SCHEDULE, _SCALER, _EMA = "schedule.json", "scaler.json", "ema.safetensors"
_MIX_DROPOUT = 1  # sets the seeds of dropout apart from those of the data


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        ended: `finished`, `early` (no better evaluations), or `interrupted` (a signal came; a checkpoint is written).
        state: Counters and records.
        checkpoint: The best one if `metric_for_best_model` says which that is, else the last; None without `folder`.
        average: The averaged model, with `ema_decay`.
        signal: Name of the signal that interrupted the run.
    """

    ended: Literal["finished", "early", "interrupted"]
    state: TrainingState
    checkpoint: Path | None = None
    average: nn.Module | None = None
    signal: str | None = None


def total_steps(arguments: TrainingArguments, batches: Batches) -> int:
    """Optimiser steps of a run.

    Raises:
        ValueError: If epochs are asked for of data whose size is not known.
    """
    if arguments.max_steps is not None:
        return arguments.max_steps
    if batches.steps_per_epoch is None:
        raise ValueError("A stream has no known end: say how long to train by `max_steps`.")
    return max(round(arguments.num_train_epochs * batches.steps_per_epoch), 1)


def train(
    model: nn.Module,
    batches: Batches,
    arguments: TrainingArguments,
    *,
    accelerator: Accelerator | None = None,
    frozen: Sequence[nn.Module] = (),
    group_of: GroupOf = lambda name, parameter: {},
    evaluate: Evaluate | None = None,
    folder: Path | None = None,
    write_model: WriteModel | None = None,
    resume: Path | None = None,
    report: Report | None = None,
    saved: Callable[[Path], None] | None = None,
) -> Outcome:
    """Train a model in place.

    Every step draws its chance from its own seed, and a checkpoint holds all else, so that a resumed run gives, on the
    same machine, the same weights as one that was never interrupted. The gradient of a step is that of the mean loss
    over all labels of the step, over processes and forward passes.

    Args:
        model: Called with a batch as keyword arguments; returns an output with a scalar `loss`, the mean over the
            labels of the batch (`labels`, negative ones do not count) or, without such, over its examples.
        batches: What to train on.
        arguments: Length, optimiser, precision, when to evaluate and save.
        accelerator: Devices and processes; made of `arguments` if not given.
        frozen: Parts of the model that compute as in evaluation, without dropout.
        group_of: Learning rate and weight decay of parameters that have their own (see `make_optimizer`).
        evaluate: Computes metrics; by default there are none.
        folder: Where `checkpoint-N` go; without it, none are written.
        write_model: Writes a loadable model; needed with `folder`.
        resume: Checkpoint to go on from.
        report: Told of the progress.
        saved: Called by the main process with each checkpoint that was written.

    Returns:
        How it ended, with the records.

    Raises:
        ValueError: If the arguments do not fit the data or each other.
        RuntimeError: If the loss or the gradient is not a number; the process ids of the batch are in `folder`.
        NoSpaceError: If a checkpoint cannot be written.
    """
    accelerator = accelerator or Accelerator(mixed_precision=arguments.mixed_precision)
    loop = _Loop(model, batches, arguments, accelerator)
    loop.frozen, loop.evaluate, loop.folder, loop.write_model = frozen, evaluate, folder, write_model
    loop.report, loop.saved, loop.group_of = report, saved, group_of
    with ExitStack() as stack:
        if arguments.deterministic:
            before = torch.are_deterministic_algorithms_enabled()
            torch.use_deterministic_algorithms(True)
            stack.callback(torch.use_deterministic_algorithms, before)
        interrupts = stack.enter_context(watched_signals())
        return loop.run(resume, interrupts)


class _Loop:
    frozen: Sequence[nn.Module]
    evaluate: Evaluate | None
    folder: Path | None
    write_model: WriteModel | None
    report: Report | None
    saved: Callable[[Path], None] | None
    group_of: GroupOf

    def __init__(
        self, model: nn.Module, batches: Batches, arguments: TrainingArguments, accelerator: Accelerator
    ) -> None:
        self.bare, self.batches, self.arguments, self.accelerator = model, batches, arguments, accelerator
        self.steps = total_steps(arguments, batches)
        self.state = TrainingState()
        self.average: AveragedModel | None = None

    def run(self, resume: Path | None, interrupts: Interrupts) -> Outcome:
        """Train from the start, or from a checkpoint."""
        self._prepare(resume)
        batches = self.batches.start(self.state.step)
        # A run that is resumed may have ended by this before, and been killed while it was measured.
        ended: Literal["finished", "early", "interrupted"] = "early" if self._has_no_patience() else "finished"
        self._clock = time.perf_counter()
        while ended == "finished" and self.state.step < self.steps:
            stop = self._step(batches, bool(interrupts))
            improved = self._evaluate_if_due()
            if self._has_no_patience():
                ended = "early"
            elif stop and self.state.step < self.steps:
                ended = "interrupted"
            self._tick()
            if self._save_is_due(improved) or ended != "finished":
                self._save()
        self.bare.eval()
        checkpoint = None
        if self.folder is not None:
            checkpoint = self.folder / f"checkpoint-{self.state.best_step or self.state.step}"
        average = None if self.average is None else self.average.module
        return Outcome(ended, self.state, checkpoint, average, interrupts.name)

    def _prepare(self, resume: Path | None) -> None:
        arguments, accelerator = self.arguments, self.accelerator
        if resume is not None:
            checkpoints.load_weights(resume, self.bare)
            self.state = checkpoints.load_state(resume)
            self.state.starts += 1
            self._prune()  # a run that was killed may have come to save, and not to delete
        if arguments.ema_decay is not None:
            if accelerator.distributed_type == DistributedType.FSDP:
                raise ValueError("`ema_decay` is not for FSDP; use DDP.")
            self.average = AveragedModel(
                self.bare, device=accelerator.device, multi_avg_fn=get_ema_multi_avg_fn(arguments.ema_decay)
            )
            if resume is not None:
                self.average.load_state_dict(checkpoints.read_tensors(resume / _EMA))
        optimizer = make_optimizer(self.bare, arguments, batch=self.batches.place.examples, group_of=self.group_of)
        self.model, self.optimizer = accelerator.prepare(self.bare, optimizer)
        # Not prepared: Accelerate would step it once for every process.
        self.schedule = make_scheduler(self.optimizer, arguments, steps=self.steps)
        if resume is not None:
            checkpoints.load_optimizer(resume, self.model, self.optimizer.optimizer)
            self.schedule.load_state_dict(checkpoints.read_json(resume / _SCHEDULE))
            if accelerator.scaler is not None:
                accelerator.scaler.load_state_dict(checkpoints.read_json(resume / _SCALER))
        self._train_mode()

    def _train_mode(self) -> None:
        self.model.train()
        for part in self.frozen:
            part.eval()

    def _step(self, batches: Iterator[Batch], asked_to_stop: bool) -> bool:
        """Take one optimiser step; returns whether any process was asked to stop."""
        place, accelerator = self.batches.place, self.accelerator
        micro = [next(batches) for _ in range(place.accumulation)]
        counts = [_labels(batch) for batch in micro]
        total = self._sum(float(sum(counts)))[0]
        loss_sum = torch.zeros((), device=accelerator.device)
        for i, (batch, count) in enumerate(zip(micro, counts, strict=True)):
            torch.manual_seed(mix(_MIX_DROPOUT, self.arguments.seed, self.state.step, i, place.rank))
            last = i == len(micro) - 1
            with nullcontext() if last else accelerator.no_sync(self.model):
                loss = self.model(**send_to_device(batch.inputs, accelerator.device, non_blocking=True)).loss
                part = loss * (count / max(total, 1))
                # Gradients are averaged over the processes, and are to be summed.
                accelerator.backward(part * place.processes)
            loss_sum += part.detach()
        norm = accelerator.clip_grad_norm_(self.model.parameters(), self.arguments.max_grad_norm)
        mean, stops = self._sum(loss_sum, float(asked_to_stop))
        self._check(mean, float(norm), loss_sum, micro)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if not accelerator.optimizer_step_was_skipped:
            self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.bare)
        self.state.step += 1
        self.state.losses.append(mean)
        self._norm = float(norm)
        return stops > 0

    def _sum(self, *values: float | torch.Tensor) -> list[float]:
        """Sums over the processes."""
        local = torch.stack([torch.as_tensor(value, device=self.accelerator.device) for value in values])
        return [float(value) for value in self.accelerator.reduce(local, reduction="sum").tolist()]

    def _check(self, loss: float, norm: float, own: torch.Tensor, micro: list[Batch]) -> None:
        """Stop if loss or gradient is not a number, before it gets into the weights."""
        # With fp16, a gradient that overflows is a sign to scale it otherwise, and that step is skipped.
        if math.isfinite(loss) and (math.isfinite(norm) or self.accelerator.scaler is not None):
            return
        processids = [processid for batch in micro for processid in batch.processids]
        where = ""
        if self.folder is not None:
            name = f"not-a-number-step-{self.state.step + 1}-process-{self.batches.place.rank}.json"
            own_loss = repr(float(own))
            write_json(
                self.folder / name,
                {"step": self.state.step + 1, "loss": own_loss, "grad_norm": repr(norm), "processids": processids},
            )
            where = f" Its process ids are in '{self.folder / name}'."
        what = f"The loss is {loss}" if not math.isfinite(loss) else f"The gradient has the norm {norm}"
        raise RuntimeError(
            f"{what} at step {self.state.step + 1} (specimens {processids[0]!r} ...).{where} Try a lower "
            "`learning_rate`, or bf16 instead of fp16; --resume goes on from the last checkpoint."
        )

    def _tick(self) -> None:
        """Log if that is due, and report."""
        state, now = self.state, time.perf_counter()
        state.seconds, self._clock = state.seconds + now - self._clock, now
        if state.step % self.arguments.logging_steps == 0 or state.step == self.steps:
            done = len(state.losses) * self.batches.place.examples
            since = state.seconds - next((r["seconds"] for r in reversed(state.history) if "seconds" in r), 0.0)
            record = {
                "loss": sum(state.losses) / len(state.losses),
                "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
                "grad_norm": self._norm,
                "samples_per_second": done / max(since, 1e-9),
                "seconds": state.seconds,
            }
            if self.batches.steps_per_epoch:
                record["epoch"] = state.step / self.batches.steps_per_epoch
            state.note(**record)
            state.losses.clear()
            self.accelerator.log(record, step=state.step)
        if self.report is not None:
            self.report(state.step, self.steps, {"loss": state.losses[-1]} if state.losses else state.history[-1])

    def _is_due(self, strategy: str, steps: int) -> bool:
        if strategy == "epoch":
            steps = self.batches.steps_per_epoch or steps
        return strategy != "no" and (self.state.step % steps == 0 or self.state.step == self.steps)

    def _evaluate_if_due(self) -> bool:
        """Evaluate if that is due; returns whether the model is the best so far."""
        if self.evaluate is None or not self._is_due(self.arguments.eval_strategy, self.arguments.eval_steps):
            return False
        model = self.model if self.average is None else self.average.module
        model.eval()
        metrics = {f"eval_{name}": float(value) for name, value in self.evaluate(model).items()}
        self._train_mode()
        self.state.note(**metrics)
        self.accelerator.log(metrics, step=self.state.step)
        wanted = self.arguments.metric_for_best_model
        if wanted is None:
            return False
        if wanted not in metrics and f"eval_{wanted}" not in metrics:
            raise ValueError(f"`metric_for_best_model` must be one of {sorted(metrics)}; got {wanted!r}.")
        value = metrics.get(wanted, metrics.get(f"eval_{wanted}", math.nan))
        return self.state.judge(value, more_is_better=self.arguments.more_is_better)

    def _has_no_patience(self) -> bool:
        """Whether to stop since the evaluations get no better."""
        patience = self.arguments.early_stopping_patience
        return patience is not None and self.state.step < self.steps and self.state.patience_used >= patience

    def _save_is_due(self, improved: bool) -> bool:
        if self.folder is None:
            return False
        # The final model is made of the last checkpoint, or of the best one.
        last = self.state.step == self.steps
        return improved or last or self._is_due(self.arguments.save_strategy, self.arguments.save_steps)

    def _save(self) -> None:
        """Write a checkpoint; to be called by all processes."""
        if self.folder is None or self.write_model is None:
            return
        weights = checkpoints.model_weights(self.model)
        optimizer = checkpoints.optimizer_state(self.model, self.optimizer.optimizer)
        if self.accelerator.is_main_process:
            written = checkpoints.write_checkpoint(
                self.folder, self.state.step, lambda partial: self._write(partial, weights, optimizer)
            )
            self._prune()
            if self.saved is not None:
                self.saved(written)
        self.accelerator.wait_for_everyone()

    def _prune(self) -> None:
        keep = self.arguments.save_total_limit
        if self.folder is not None and keep is not None and self.accelerator.is_main_process:
            checkpoints.prune(self.folder, keep=keep, step=self.state.step, best_step=self.state.best_step)

    def _write(self, folder: Path, weights: Mapping[str, torch.Tensor], optimizer: Mapping[str, Any]) -> None:
        assert self.write_model is not None
        model_files = weights
        if self.average is not None:
            model_files = checkpoints.model_weights(self.average.module)
            checkpoints.save_tensors(folder / _EMA, self.average.state_dict())
        self.write_model(folder, model_files)
        if self.average is not None or not checkpoints.holds_weights(folder, self.bare):
            # Buffers, too: a running mean is part of what was learnt.
            frozen = {name for name, parameter in self.bare.named_parameters() if not parameter.requires_grad}
            checkpoints.save_weights(folder, {name: weights[name] for name in sorted(weights.keys() - frozen)})
        checkpoints.save_optimizer(folder, optimizer)
        write_json(folder / _SCHEDULE, self.schedule.state_dict())
        if self.accelerator.scaler is not None:
            write_json(folder / _SCALER, self.accelerator.scaler.state_dict())
        checkpoints.save_state(folder, self.state)


def _labels(batch: Batch) -> int:
    """Labels that count in a batch; its examples if it has no labels."""
    labels = batch.inputs.get("labels")
    return len(batch.processids) if labels is None else int((labels >= 0).sum())
