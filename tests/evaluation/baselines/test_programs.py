import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bioscan_hf.evaluation.baselines.programs import run_measured, run_program

MEGABYTE = 2**20


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_output_of_a_program_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a b").write_text("here")
    command = python("print(open('a b').read(), end='')")
    assert run_program(command, tmp_path) == "here"
    assert run_measured(command, tmp_path)[0] == "here"


def test_memory_is_that_of_the_program_and_not_of_this_process() -> None:
    # Each page is written, so that it counts.
    own = np.ones(200 * MEGABYTE, np.uint8)
    _, small = run_measured(python("pass"))
    _, large = run_measured(python(f"held = b'1' * {60 * MEGABYTE}"))
    assert own.any() and small.peak_bytes < 40 * MEGABYTE
    assert 60 * MEGABYTE <= large.peak_bytes < small.peak_bytes + 70 * MEGABYTE


def test_seconds_by_the_clock_and_of_the_processor() -> None:
    _, asleep = run_measured(python("import time; time.sleep(0.4)"))
    assert 0.4 <= asleep.seconds < 5 and asleep.cpu_seconds < 0.3
    before = time.perf_counter()
    _, at_work = run_measured(python("import time\nwhile time.process_time() < 0.4: pass"))
    assert 0.4 <= at_work.cpu_seconds < 1 and at_work.seconds <= time.perf_counter() - before


def test_variables_are_set_in_addition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST", "1")
    code = "import os; print(os.environ['FIRST'], os.environ['SECOND'])"
    assert run_measured(python(code), environment={"SECOND": "2"})[0] == "1 2\n"


@pytest.mark.parametrize("run", [run_program, run_measured])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit('no memory')", "no memory"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "exit code (-9|137)"),
    ],
)
def test_a_failure_is_told(run: object, code: str, reason: str) -> None:
    assert callable(run)
    with pytest.raises(OSError, match=f"failed: {reason}$"):
        run(python(code))


@pytest.mark.parametrize("run", [run_program, run_measured])
def test_a_missing_program_is_named(run: object) -> None:
    assert callable(run)
    with pytest.raises(FileNotFoundError, match="There is no program 'no-such-program'; install it"):
        run(["no-such-program"])
