"""Ctrl-C, SIGTERM and SIGKILL while a job runs, and a full disk: what is left, what follows."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.small import Small
from tests.system.state import end_state, tracked


def slow(small: Small) -> None:
    """Make training wait until it is told to go on."""
    text = (small.work / "stages/train.py").read_text()
    gate = small.folder / "go"
    wait = (
        f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)\n"
    )
    (small.work / "stages/train.py").write_text(wait + text)
    small.commit("Slow")


def start(small: Small) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "clew", "run"],
        cwd=small.work,
        env=small.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def training(small: Small) -> list[int]:
    """Return the processes that run the train stage of this repository."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            where = str((process / "cwd").readlink())
        except OSError:
            continue
        # not git, which is asked about the same path
        if words.startswith(b"python\0stages/train.py") and where.startswith(str(small.folder)):
            found.append(int(process.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_the_job_and_the_next_run_trains(
    small: Small, number: signal.Signals
) -> None:
    slow(small)
    process = start(small)
    until(lambda: bool(training(small)))
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert training(small) == []
    runs = tracked(small)["runs"]
    assert runs[("train", "KILLED")] == runs[("run", "KILLED")] == 1
    (small.folder / "go").touch()
    assert small.clew("run").returncode == 0
    state = end_state(small)
    assert state["runs"][("train", "FINISHED")] == 1
    assert state["versions"] == [1]


def test_a_killed_clew_leaves_the_job_working_and_the_next_attaches(small: Small) -> None:
    slow(small)
    process = start(small)
    until(lambda: bool(training(small)))
    process.kill()
    process.communicate()
    assert training(small)
    again = start(small)
    time.sleep(8)
    (small.folder / "go").touch()
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert "attached" in output
    state = end_state(small)
    assert len(state["jobs"]) == 2
    assert state["runs"].total() == 4


@pytest.mark.parametrize("kilobytes", [4, 64, 512])
def test_a_full_disk_is_said_and_loses_nothing(
    small: Small, finished: Small, kilobytes: int
) -> None:
    limit = kilobytes * 1024

    def confine() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-m", "clew", "run"],
        cwd=small.work,
        env=small.environment,
        capture_output=True,
        text=True,
        preexec_fn=confine,
    )
    assert done.returncode == 4, done.stderr
    assert "clew: " in done.stderr
    assert "This is a bug" not in done.stderr
    assert small.clew("run").returncode == 0
    state, wanted = end_state(small), end_state(finished)
    for key in ("origin", "head", "versions", "aliases", "objects"):
        assert state[key] == wanted[key], key
