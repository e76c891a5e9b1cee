import pytest
import torch
from transformers import BertConfig, BertModel

from bioscan_hf.models.exact_loading import listed, load_exactly, without_ddp

CONFIG = BertConfig(
    vocab_size=9,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=8,
    max_position_embeddings=9,
)
WEIGHTS = BertModel(CONFIG).state_dict()
BIAS = "encoder.layer.0.output.dense.bias"


def test_model_has_the_weights() -> None:
    weights = {name: tensor.double() for name, tensor in WEIGHTS.items()}
    model = load_exactly(BertModel, CONFIG, weights, "a BERT")
    assert model.dtype == torch.float32 and not model.training
    assert all(torch.equal(tensor, WEIGHTS[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (None, f"tensors are missing in it: {BIAS}"),
        (torch.ones(7), rf"`{BIAS}` must have the shape \(8,\); got \(7,\)"),
        (torch.ones(8).int(), "must hold floating point numbers; got torch.int32"),
    ],
)
def test_weights_that_do_not_fit(bias: torch.Tensor | None, message: str) -> None:
    weights = {name: tensor for name, tensor in WEIGHTS.items() if name != BIAS}
    with pytest.raises(ValueError, match=message):
        load_exactly(BertModel, CONFIG, weights if bias is None else {**weights, BIAS: bias}, "a BERT")


def test_tensors_that_the_model_does_not_have() -> None:
    with pytest.raises(ValueError, match="it has tensors that a BERT does not have: more"):
        load_exactly(BertModel, CONFIG, {**WEIGHTS, "more": torch.ones(1)}, "a BERT")


def test_prefix_of_data_parallel_training_is_that_of_all_names() -> None:
    tensor = torch.ones(1)
    assert without_ddp({"module.a": tensor, "module.b.c": tensor}) == {"a": tensor, "b.c": tensor}
    assert without_ddp({"module.a": tensor, "b": tensor}) == {"module.a": tensor, "b": tensor}


def test_many_names_are_not_all_listed() -> None:
    assert listed("abc") == "a, b, c"
    assert listed(map(str, range(1006))) == "0, 1, 2, 3, 4, 5 and 1,000 more"
