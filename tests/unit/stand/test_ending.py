"""Nothing that the stand started stays, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stand.guard import descendants
from tests.stand.processes import REPOSITORY, Child, StandError, free_ports, wait_until
from tests.stand.seaweedfs import PARTS

FAMILY = (
    "import os, subprocess, sys, time\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
    " start_new_session=True)\n"
    "print('ready', flush=True)\ntime.sleep(60)"
)
STAND = """
import pathlib, sys, time
from tests.stand import Stand
from tests.unit.stand.account import Account
with Stand(pathlib.Path(sys.argv[1])) as stand:
    account = Account(stand)
    account.train("long", "import time; print('sleeping', flush=True); time.sleep(60)")
    account.wait_for_log("long", "sleeping")
    print("ready", flush=True)
    time.sleep(60)
"""


def family(folder: Path) -> Child:
    child = Child(
        [sys.executable, "-c", FAMILY],
        environment=dict(os.environ),
        folder=folder,
        output=subprocess.PIPE,
    )
    assert child.output.read(5) == b"ready"
    return child


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_killing_takes_daemons_along(tmp_path: Path) -> None:
    child = family(tmp_path)
    pids = descendants(child.pid)
    assert len(pids) == 2
    assert child.kill() == 137
    assert alive(pids) == []


def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    child = family(tmp_path)
    main, daemon = sorted(descendants(child.pid))
    os.kill(main, signal.SIGTERM)
    assert child.wait(5) == 128 + signal.SIGTERM
    assert alive([daemon]) == []


def test_the_guard_kills_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, subprocess, sys\n"
        "from tests.unit.stand.test_ending import family\n"
        "child = family(pathlib.Path(sys.argv[1]))\n"
        "print('ready', flush=True)\nchild.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], cwd=REPOSITORY, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    pids = descendants(parent.pid)
    assert len(pids) == 3
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _gone(pids)


@pytest.mark.slow
def test_a_stand_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """Kill -9 while a job runs: SeaweedFS, the endpoint and the job end too."""
    script = [sys.executable, "-c", STAND, str(tmp_path)]
    parent = subprocess.Popen(script, cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    pids = descendants(parent.pid)
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    assert any(b"train.py" in command for command in commands)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _gone(pids)
    ports = re.findall(rb"grpc=(\d+)", b" ".join(commands))
    assert len(set(ports)) == len(PARTS)
    for port in set(ports):
        assert not list(Path("/tmp").glob(f"seaweedfs-*-{port.decode()}.sock"))


def _gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while alive(pids):
        assert time.monotonic() < deadline, alive(pids)
        time.sleep(0.05)


def test_ports_are_free_and_differ() -> None:
    ports = free_ports(10)
    assert len(set(ports)) == 10


def test_a_part_that_does_not_start_says_why(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    with log.open("wb") as output:
        child = Child(
            [sys.executable, "-c", "raise SystemExit('out of luck')"],
            environment=dict(os.environ),
            folder=tmp_path,
            output=output,
        )
    with pytest.raises(StandError, match="part did not start:\nout of luck"):
        wait_until(lambda: False, child, log, seconds=10)
