from typing import Any

import pytest

from bioscan_hf.training.arguments import TrainingArguments


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_steps", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("weight_decay", -1.0),
        ("warmup", 1.0),
        ("max_grad_norm", 0.0),
        ("mixed_precision", "int4"),
    ],
)
def test_value_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"`{name}` is out of range: got {value!r}"):
        TrainingArguments(**{"max_steps": 1, name: value})


def test_misspelt_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="learning_rat"):
        TrainingArguments(max_steps=1, learning_rat=1e-3)  # type: ignore[call-arg]
