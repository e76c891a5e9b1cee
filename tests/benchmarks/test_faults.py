"""The harness of faults sees what is wrong, and every command stands every fault."""

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

TRIALS = 3
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# A command in miniature, which writes five records, in its own ways of going wrong when it was killed before.
TOY = """
import os, signal, sys
from pathlib import Path

RECORDS = [f"r{number}" for number in range(5)]

def run(way, output):
    output = Path(output)
    partial = output.with_name(f".partial-{os.getpid() if way == 'leaves' else 0}")
    if partial.exists():
        if way == "refuses":
            print("bioscan: somebody else writes")
            sys.exit(1)
        if way == "raises":
            raise KeyError("partial")
        if way == "hangs":
            signal.pause()
    records = RECORDS
    if way == "loses" and partial.exists():
        records = RECORDS[len(partial.read_text().split()) + 1 :]
    elif way != "doubles":
        partial.unlink(missing_ok=True)
    if way == "early":
        output.write_text(" ".join(RECORDS))
    for record in records:
        with open(partial, "a") as file:
            file.write(record + "\\n")
    partial.replace(output)
"""


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Starts toys, and imports nothing of the project."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.py").write_text(TOY)
    module = import_module("faults_server")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LIMIT", 1)
        server = module.Server({"PYTHONPATH": str(folder)}, ["json"])
        yield server
        server.close()


def outcomes(way: str, fault: str, server: Any, folder: Path) -> dict[str, int]:
    """What came of some trials of a toy; those killed `between` were just before they wrote another record."""
    harness = import_module("faults_harness")

    def between(trial: Any) -> list[int | None]:
        return [trial.start(kill_at=trial.random.randint(3, 6)).wait()]

    class Toy(harness.Scenario):  # type: ignore[name-defined]
        name = "toy"

        def words(self, output: Path, *, again: bool = False) -> list[str]:
            return ["toy:run", way, str(output)]

        def read(self, output: Path) -> Any:
            if not output.exists():
                return None
            return harness.Content(tuple(output.read_text().split()), {"size": output.stat().st_size})

    program = import_module("faults")
    scenario = Toy(folder)
    scenario.faults = {"between": between}
    ((_, result),) = program.run(scenario, server, [fault], TRIALS, 0, folder / "trial")
    assert not list(folder.iterdir()), "a trial leaves nothing behind"
    assert {"seed", "kind", "note"} == set().union(*result["wrong"]) or not result["wrong"]
    return dict(result["outcomes"])


@pytest.mark.parametrize("fault", ["kill", "clock", "full"])
def test_a_right_command_stands_all(fault: str, server: Any, tmp_path: Path) -> None:
    found = outcomes("right", fault, server, tmp_path)
    assert set(found) <= set(import_module("faults_harness").RIGHT) and sum(found.values()) == TRIALS


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        ("loses", "lost"),
        ("doubles", "doubled"),
        ("early", "wrong but loads"),
        ("refuses", "cannot go on"),
        ("leaves", "cannot go on"),
        ("raises", "traceback"),
        ("hangs", "hung"),
    ],
)
def test_what_is_wrong_is_seen(way: str, kind: str, server: Any, tmp_path: Path) -> None:
    assert outcomes(way, "between", server, tmp_path) == {kind: TRIALS}


@pytest.mark.parametrize("way", ["right", "doubles"])
def test_two_that_share_a_partial_file_are_seen(way: str, server: Any, tmp_path: Path) -> None:
    found = outcomes(way, "two", server, tmp_path)
    assert set(found) & set(import_module("faults_harness").WRONG), found


@pytest.mark.parametrize(
    ("commands", "faults"),
    [
        (["pretrain", "embed", "convert", "library build", "push"], 6),
        pytest.param(["align"], 1, marks=pytest.mark.slow),  # the same as pretrain, at twice the cost
    ],
)
def test_every_command_stands_every_fault(
    commands: list[str], faults: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = import_module("faults")
    words = [word for command in commands for word in ("--command", command)]
    monkeypatch.setattr(sys, "argv", ["faults.py", "--quick", *words, "--output", str(tmp_path)])
    monkeypatch.setattr(import_module("faults_server"), "LIMIT", 90)  # toys get a second
    with pytest.raises(SystemExit) as ended:
        program.main()
    content = json.loads((tmp_path / "faults.json").read_text())
    results = [(fault, result) for own in content["pairs"].values() for fault, result in own.items()]
    assert ended.value.code == 0 and not [result["wrong"] for _, result in results if result["wrong"]]
    assert list(content["pairs"]) == commands and len({fault for fault, _ in results}) == faults
    assert all(sum(result["outcomes"].values()) == result["trials"] == 1 for _, result in results)
    page = (tmp_path / "faults.md").read_text()
    assert all(f"| {command} |" in page for command in commands) and "Wrong:" not in page
