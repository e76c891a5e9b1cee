"""Two processes compute what one does; each has its own half of the batch."""

import pytest
import torch
from safetensors.torch import load_file

from tests.models.clibd.two_processes import CASES, MODALITIES, PARITY, compute, loss_of, model_gradients
from tests.tiny import tiny_clibd
from tests.training.made_runs import ended, process_environments, start

Found = dict[str, torch.Tensor]
WORLD = 2


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Found]:
    """What each of the processes found."""
    folder = tmp_path_factory.mktemp("both")
    log = folder / "log"
    started = [start(compute, folder, log=log, environment=own) for own in process_environments(WORLD)]
    assert [ended(process, log) for process in started] == [0, 0], log.read_text()
    return load_file(folder / "0.safetensors"), load_file(folder / "1.safetensors")


def of(both: tuple[Found, Found], case: str, key: str) -> list[torch.Tensor]:
    return [found[f"{case}/{key}"] for found in both]


@pytest.mark.parametrize("case", CASES)
def test_mean_of_both_is_the_loss_of_all_specimens(case: str, both: tuple[Found, Found]) -> None:
    alone = loss_of(slice(None), **CASES[case])
    for key in ("loss", "scale", "bias"):
        torch.testing.assert_close(sum(of(both, case, key)) / WORLD, alone[key], rtol=1e-5, atol=1e-6)
    # DDP takes the mean over the processes; a row of vectors is in one of them, so that its gradient is twice as large.
    rows = torch.cat(of(both, case, "raw"), dim=1) / WORLD
    torch.testing.assert_close(rows, alone["raw"], rtol=0, atol=1e-5 * float(alone["raw"].abs().max()))


@pytest.mark.parametrize("labels", ["unique", "dup"])
def test_gradients_are_those_of_the_reference(labels: str, both: tuple[Found, Found]) -> None:
    vectors = load_file(PARITY / "loss_distributed.safetensors")
    # The reference computes all rows in each process, or its own only, both gathered with gradients: of its own rows,
    # each has the world size times the gradient of the loss of all, from which DDP takes the mean; and so do we.
    for switch in ("local0", "local1"):
        case = f"{labels}.gwg1.{switch}"
        for rank in range(WORLD):
            for name in MODALITIES:
                expected = vectors[f"{case}.rank{rank}.grad_{name}"]
                atol = 1e-5 * float(expected.abs().max())
                torch.testing.assert_close(of(both, labels, name)[rank], expected, rtol=0, atol=atol)
        for ours, theirs in (("loss", "loss"), ("scale", "grad_logit_scale")):
            expected = torch.stack([vectors[f"{case}.rank{rank}.{theirs}"].reshape(()) for rank in range(WORLD)])
            found = torch.stack(of(both, labels, ours))
            torch.testing.assert_close(found.mean(), expected.mean(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_ddp_trains_as_one_process_although_one_of_two_has_no_text(
    chunk_size: int | None, both: tuple[Found, Found]
) -> None:
    alone = model_gradients(tiny_clibd(), slice(None))
    assert {key.partition("/")[2] for key in both[0] if key.startswith(f"ddp{chunk_size}/")} == alone.keys()
    for key, expected in alone.items():
        found = of(both, f"ddp{chunk_size}", key)
        if key != "loss":
            torch.testing.assert_close(found[0], found[1])
        torch.testing.assert_close(sum(found) / WORLD, expected, rtol=1e-4, atol=1e-5)
