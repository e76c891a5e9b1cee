import math
from pathlib import Path

from bioscan_hf.training.state import TrainingState


def test_values_of_one_step_are_one_record() -> None:
    state = TrainingState()
    state.step = 3
    state.note(loss=1.0)
    state.note(eval_loss=2.0)
    state.step = 5
    state.note(loss=0.5)
    assert state.history == [{"step": 3, "loss": 1.0, "eval_loss": 2.0}, {"step": 5, "loss": 0.5}]


def judged(values: list[float], *, more_is_better: bool) -> tuple[list[bool], TrainingState]:
    state = TrainingState()
    found = []
    for value in values:
        state.step += 10
        found.append(state.judge(value, more_is_better=more_is_better))
    return found, state


def test_the_best_is_kept_and_patience_counts_what_is_not_better() -> None:
    found, state = judged([3.0, 2.0, 2.0, 2.5], more_is_better=False)
    assert found == [True, True, False, False]
    assert (state.best_step, state.best_value, state.patience_used) == (20, 2.0, 2)
    found, state = judged([3.0, 2.0, 4.0], more_is_better=True)
    assert found == [True, False, True]
    assert (state.best_step, state.best_value, state.patience_used) == (30, 4.0, 0)


def test_what_is_not_a_number_is_never_the_best() -> None:
    for more in (True, False):
        found, state = judged([math.nan, 2.0, math.nan], more_is_better=more)
        assert found == [False, True, False]
        assert (state.best_step, state.best_value, state.patience_used) == (20, 2.0, 1)


def test_saved_it_is_the_same_to_the_last_digit(tmp_path: Path) -> None:
    state = TrainingState(step=7, losses=[0.1 + 0.2, 1e-300], best_step=3, best_value=1 / 3, patience_used=1)
    state.note(loss=math.pi, seconds=12.3)
    state.seconds, state.starts = 1e5 / 3, 4
    state.save(tmp_path / "state.json")
    assert TrainingState.load(tmp_path / "state.json") == state
