"""Starting the program: what needs no model waits for none, and what does finds all of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bioscan_hf.identification.library import Library
from bioscan_hf.identification.models import ALIGNED
from tests.identification.made_library import specimens

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "datasets", "pyarrow", "numpy", "pandas", "huggingface_hub")

LIGHT = f"""
import contextlib, io, json, os, sys, time
import bioscan_launcher

def call(*words, **variables):
    sys.argv = ["bioscan", *words]
    os.environ.update(variables)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            bioscan_launcher.main()
        except SystemExit as end:
            assert not end.code, end.code
    for name in variables:
        del os.environ[name]
    return out.getvalue()

def complete(line):
    words = line.split(" ")
    return call(_BIOSCAN_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1)).split()

found = {{
    "help": call(), "embed": call("embed", "--help"), "version": call("--version"),
    "commands": complete("bioscan b"),
    "splits": complete("bioscan embed mine.csv --split test"),
    "ranks": complete("bioscan benchmark clustering --rank sp"),
    "choices": complete("bioscan embed mine.csv --precision b"),
    "script": call("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"),
    "heavy": [name for name in {HEAVY} if name in sys.modules],
}}
print(json.dumps(found))
"""

REGISTERED = """
import sys
import bioscan_launcher
sys.argv = ["bioscan", "embed", "sample", "--split", "val", "--model", "kmer:2", "--output", sys.argv[1], "--json"]
bioscan_launcher.main()
import bioscan_hf
from transformers import AutoConfig, AutoModelForMaskedLM
from transformers.pipelines import PIPELINE_REGISTRY
assert type(AutoConfig.for_model("barcodebert")) is bioscan_hf.BarcodeBertConfig
assert AutoModelForMaskedLM._model_mapping[bioscan_hf.BarcodeBertConfig] is bioscan_hf.BarcodeBertForMaskedLM
assert "barcode-embedding" in PIPELINE_REGISTRY.get_supported_tasks()
"""

LOADED = """
import sys
import bioscan_launcher
sys.argv = ["bioscan", *sys.argv[1:]]
bioscan_launcher.main()
print("transformers" in sys.modules, "bioscan_hf.registration" in sys.modules)
"""


def child(source: str, *arguments: str | Path, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", source, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT / "tests")
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_help_version_and_completion_wait_for_nothing() -> None:
    found = json.loads(child(LIGHT, COLUMNS="80"))
    assert found["heavy"] == []
    assert found["help"].startswith("Usage: bioscan [OPTIONS]") and "benchmark" in found["help"]
    assert found["embed"].startswith("Usage: bioscan embed")
    assert [line.split()[0] for line in found["version"].splitlines()][:4] == [
        *("bioscan", "python", "torch", "transformers")
    ]
    assert found["commands"] == ["benchmark"]
    assert found["splits"] == ["test", "test_unseen"]
    assert found["ranks"] == ["species"]
    assert found["choices"] == ["bfloat16"]
    assert "_BIOSCAN_COMPLETE=complete_bash" in found["script"]


def test_a_command_finds_the_models_registered(tmp_path: Path) -> None:
    assert json.loads(child(REGISTERED, tmp_path / "embeddings"))["specimens"]


def test_commands_without_models_do_not_wait_for_them() -> None:
    assert child(LOADED, "data", "info").split()[-2:] == ["False", "False"]


@pytest.mark.parametrize(("model", "option"), [(ALIGNED, []), (ALIGNED, ["--quiet"]), ("kmer:3", [])])
def test_a_library_of_letters_waits_for_no_model(model: str, option: list[str], tmp_path: Path) -> None:
    Library.build(specimens("train", 30), model=model).save(tmp_path / "library")
    query, names = specimens("test", 1), tmp_path / "names.csv"
    (tmp_path / "query.fasta").write_text(f">{query['processid'][0]}\n{query['dna_barcode'][0]}\n")
    files = (tmp_path / "query.fasta", "--library", tmp_path / "library", "--output", names)
    assert child(LOADED, "identify", *files, *option).split()[-2:] == [str(model != ALIGNED)] * 2
    assert query["processid"][0] in names.read_text()


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import bioscan_launcher; bioscan_launcher.main()"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT / "tests",
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 1
