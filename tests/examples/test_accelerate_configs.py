"""Each configuration is what its head says, by accelerate's own reading of it, and starts a run for real."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy
from accelerate.utils.launch import prepare_multi_gpu_env, prepare_simple_launcher_cmd_env
from accelerate.utils.other import get_free_port
from torch.distributed.fsdp import StateDictType

from tests.examples.made_data import environment, write_barcodes
from tests.tiny import tiny_heads

FOLDER = Path(__file__).parents[2] / "examples" / "accelerate_configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
PROGRAM = ["--no_python", "bioscan", "pretrain", "--data", "some.fasta"]


def launched(name: str, *options: str) -> Any:
    """What `accelerate launch` makes of a configuration and options."""
    words = ["--config_file", str(FOLDER / f"{name}.yaml"), *options, *PROGRAM]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    return arguments


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_knows_all_keys(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    assert not config.use_cpu
    # `bioscan --mixed-precision` decides; a value here would do nothing.
    assert config.mixed_precision is None


def test_single_gpu_starts_the_program_once() -> None:
    command, environment = prepare_simple_launcher_cmd_env(launched("single_gpu"))
    assert command == PROGRAM[1:]
    assert environment["ACCELERATE_USE_CPU"] == "False"


def test_multi_gpu_is_torchrun_on_one_machine() -> None:
    arguments = launched("multi_gpu", "--num_processes", "8", "--main_process_port", "0")
    assert arguments.multi_gpu
    assert not arguments.use_fsdp
    environment = prepare_multi_gpu_env(arguments)
    assert (arguments.nproc_per_node, arguments.no_python, arguments.training_script) == ("8", True, "bioscan")
    assert "ACCELERATE_USE_FSDP" not in environment


def test_multi_node_meets_at_the_first_machine() -> None:
    where = ["--main_process_ip", "10.0.0.1", "--main_process_port", str(get_free_port())]
    arguments = launched("multi_node", "--num_machines", "3", "--num_processes", "24", "--machine_rank", "2", *where)
    prepare_multi_gpu_env(arguments)
    assert (arguments.nnodes, arguments.nproc_per_node, arguments.node_rank) == ("3", "8", 2)
    assert (arguments.rdzv_endpoint, arguments.rdzv_backend) == (f"10.0.0.1:{where[-1]}", "static")


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> FullyShardedDataParallelPlugin:
    """What the processes make of what `accelerate launch` tells them."""
    arguments = launched("fsdp2", "--main_process_port", "0")
    assert arguments.use_fsdp
    assert not arguments.multi_gpu
    told = {name: value for name, value in prepare_multi_gpu_env(arguments).items() if "FSDP" in name}
    assert told["ACCELERATE_USE_FSDP"] == "true"
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return FullyShardedDataParallelPlugin()


def test_fsdp2_is_version_2_with_whole_checkpoints(plugin: FullyShardedDataParallelPlugin) -> None:
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.state_dict_type == StateDictType.FULL_STATE_DICT
    assert not plugin.cpu_ram_efficient_loading
    assert not plugin.activation_checkpointing


@pytest.mark.parametrize("head", range(4))
def test_fsdp2_shards_each_layer(plugin: FullyShardedDataParallelPlugin, head: int) -> None:
    model = tiny_heads(num_hidden_layers=3)[head]
    is_unit = fsdp2_prepare_auto_wrap_policy(plugin, model)
    assert is_unit is not None
    units = [name for name, module in model.named_modules() if is_unit(module)]
    # BarcodeMAE has a decoder of one layer, too.
    decoder = ["decoder.encoder.layer.0"] if head == 1 else []
    assert units == [f"bert.encoder.layer.{i}" for i in range(3)] + decoder


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="is about processes without a GPU each")
@pytest.mark.parametrize(
    ("name", "machines", "options"),
    [
        ("single_gpu", 1, []),
        ("multi_gpu", 1, ["--num_processes", "2"]),
        ("fsdp2", 1, ["--num_processes", "2"]),  # on CPUs accelerate falls back to DDP
        ("multi_node", 2, ["--num_processes", "2"]),
    ],
)
def test_run_is_started(name: str, machines: int, options: list[str], tmp_path: Path) -> None:
    data = write_barcodes(tmp_path / "barcodes.fasta")
    run = ["pretrain", "--data", data, "--output", "model", "--max-steps", "2", "--batch-size", "4", "--kmer-size", "3"]
    sizes = ["--hidden-size", "16", "--num-hidden-layers", "1", "--intermediate-size", "16"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(FOLDER / f"{name}.yaml")]
    launch += [*options, "--main_process_port", str(get_free_port())]
    started = [
        subprocess.Popen(
            [*launch, *(["--machine_rank", str(rank)] if machines > 1 else []), "--no_python", "bioscan", *run, *sizes],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(machines)
    ]
    for process in started:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    said = (tmp_path / "model" / "run.json").read_text()
    assert '"finished": true' in said
    assert f'"processes": {1 if name == "single_gpu" else 2}' in said
