"""Two calls a second, however many processes make them and however they end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from clew.adapters.pace import FARTHEST, Pace

CALLS = """\
import sys, time
from pathlib import Path
from clew.adapters.pace import Pace
pace = Pace(Path(sys.argv[1]), per_second=float(sys.argv[2]), kept=1)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[3])):
    pace.wait()
    print(time.monotonic(), flush=True)
"""


def start(file: Path, per_second: float, calls: int, code: str = CALLS) -> subprocess.Popen[str]:
    """Start a process that makes calls as soon as it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(file), str(per_second), str(calls)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def moments(processes: list[subprocess.Popen[str]]) -> list[float]:
    """Let all begin at once; return when their calls were made."""
    for process in processes:
        go(process)
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    return sorted(float(line) for output in outputs for line in output.split())


def test_processes_take_turns(tmp_path: Path) -> None:
    file = tmp_path / "there/is/none/calls"
    made = moments([start(file, 20, 8) for _ in range(3)])
    assert len(made) == 24
    assert made[-1] - made[0] >= 23 * 0.05 - 0.02
    # A call may be late by what the system lets it wait, and so nearer to the next.
    assert all(third - first > 0.06 for first, third in zip(made, made[2:], strict=False))


def test_no_moment_is_given_out_twice(tmp_path: Path) -> None:
    """By processes that don't wait for theirs, and so all ask at the same time."""
    hasty = CALLS.replace("pace = ", "time.sleep = lambda _seconds: None\npace = ")
    processes = [start(tmp_path / "calls", 1000, 1000, hasty) for _ in range(4)]
    since = time.monotonic()
    assert len(moments(processes)) == 4000
    assert float((tmp_path / "calls").read_text()) >= since + 4000 / 1000


def test_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    file = tmp_path / "calls"
    killed = start(file, 2, 100)
    go(killed)
    assert killed.stdout is not None
    killed.stdout.readline()
    killed.kill()
    killed.communicate()
    since = time.monotonic()
    Pace(file, kept=1).wait()
    Pace(file, kept=1).wait()
    assert time.monotonic() - since < 1.6


@pytest.mark.parametrize("rest", ["", "not a number", "far"])
def test_what_cannot_be_meant_is_not_waited_for(tmp_path: Path, rest: str) -> None:
    """Such as a moment from before the machine started anew."""
    far = str(time.monotonic() + 2 * FARTHEST)
    (tmp_path / "calls").write_text(far if rest == "far" else rest)
    since = time.monotonic()
    pace = Pace(tmp_path / "calls", kept=1)
    pace.wait()
    assert time.monotonic() - since < 0.3
    pace.wait()
    assert time.monotonic() - since >= 0.5


def test_without_a_folder_one_process_still_keeps_to_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    pace = Pace(tmp_path / "file/calls", per_second=10, kept=1)
    since = time.monotonic()
    for _ in range(4):
        pace.wait()
    assert time.monotonic() - since >= 0.3


@pytest.mark.parametrize("place", ["calls", "file/calls"])
def test_moments_that_nobody_took_are_kept_a_few(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    pace = Pace(tmp_path / place, per_second=10, kept=5)
    since = time.monotonic()
    for _ in range(5):
        pace.wait()
    assert time.monotonic() - since < 0.1
    for _ in range(5):
        pace.wait()
    assert time.monotonic() - since >= 0.5, "over any time it is the same number a second"
    time.sleep(0.8)
    since = time.monotonic()
    for _ in range(5):
        pace.wait()
    assert time.monotonic() - since < 0.1
