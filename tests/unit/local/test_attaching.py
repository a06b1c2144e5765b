"""A local job's name is taken once; whoever finds it attaches to it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from clew.ports import JobExists, JobStatus
from tests.unit.local.conftest import CHILDREN, Bench, alive, descendants, eventually

SUBMIT_AND_WAIT = """\
import json, sys
from pathlib import Path
from clew.adapters.local import LocalExecutor
job = LocalExecutor(Path(sys.argv[1]), {}).wait(sys.argv[2], lambda line: print(line, flush=True))
print(job.status.value)
"""


def test_a_name_is_taken_once(bench: Bench) -> None:
    bench.run(bench.spec(cmd="echo 1"))
    with pytest.raises(JobExists):
        bench.executor.submit(bench.spec(cmd="echo 2"))
    assert bench.executor.find("job-2") is None
    assert [path.name for path in bench.jobs.iterdir()] == ["job-1"]


def test_of_many_submitters_one_wins(bench: Bench) -> None:
    spec = bench.spec(cmd="echo x >> $SM_OUTPUT_DATA_DIR/runs")
    taken: list[str] = []

    def submit() -> None:
        try:
            bench.executor.submit(spec)
        except JobExists:
            taken.append(spec.name)

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 7
    job = bench.executor.wait("job-1", lambda _line: None)
    assert job.output is not None, job.reason
    assert (job.output / "output/data/runs").read_text() == "x\n"


def abandoned(bench: Bench, **spec: Any) -> None:
    """Leave a job as a submitter that is killed right after the rename would."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            ABANDON,
            str(bench.jobs),
            json.dumps(vars(bench.spec(**spec)), default=plain),
        ],
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert bench.processes() == {}


def plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else vars(value)


ABANDON = """\
import json, os, signal, subprocess, sys
from pathlib import Path
from clew.adapters import local
from clew.ports import JobSpec, RemoteConfig
local.subprocess.Popen = lambda *_a, **_k: os.kill(os.getpid(), signal.SIGKILL)
spec = json.loads(sys.argv[2])
spec |= {"bundle": Path(spec["bundle"]), "remote": RemoteConfig(**spec["remote"])}
local.LocalExecutor(Path(sys.argv[1]), {}).submit(JobSpec(**spec))
"""


def test_find_starts_a_job_whose_submitter_was_killed(bench: Bench) -> None:
    abandoned(bench, cmd="echo hello")
    found = bench.executor.find("job-1")
    assert found is not None
    assert found.status is JobStatus.IN_PROGRESS
    bench.executor.find("job-1")
    assert bench.executor.wait("job-1", lambda _line: None).status is JobStatus.COMPLETED


def test_wait_starts_a_job_whose_submitter_was_killed(bench: Bench) -> None:
    abandoned(bench, cmd="echo hello")
    with pytest.raises(JobExists):
        bench.executor.submit(bench.spec(cmd="echo hello"))
    assert bench.executor.wait("job-1", lambda _line: None).status is JobStatus.COMPLETED


def test_a_job_does_not_outlive_its_supervisor(bench: Bench) -> None:
    bench.executor.submit(bench.spec(cmd=CHILDREN))
    bench.started()
    before = descendants(bench.supervisor())
    os.kill(bench.supervisor(), signal.SIGKILL)
    job = bench.executor.wait("job-1", lambda _line: None)
    assert job.status is JobStatus.FAILED
    assert "supervisor was killed" in job.reason
    eventually(lambda: not bench.processes() and not any(map(alive, before)))
    again = bench.executor.find("job-1")
    assert again is not None
    assert again == job, "the verdict is final"
    assert not (bench.jobs / "job-1/ml/code").exists()


def test_what_a_dying_job_still_writes_is_removed_too(bench: Bench) -> None:
    bench.executor.submit(bench.spec(cmd=CHILDREN))
    bench.started()
    code = bench.jobs / "job-1/ml/code"
    last_words = threading.Thread(target=write_for_a_while, args=(code,))
    last_words.start()
    os.kill(bench.supervisor(), signal.SIGKILL)
    assert bench.executor.wait("job-1", lambda _line: None).status is JobStatus.FAILED
    last_words.join()
    assert not code.exists()
    eventually(lambda: not bench.processes())


def write_for_a_while(folder: Path) -> None:
    over = time.monotonic() + 0.5
    with contextlib.suppress(FileNotFoundError):
        while time.monotonic() < over:
            (folder / f"{time.monotonic_ns()}.txt").touch()


def test_a_job_whose_entry_is_killed_fails_and_leaves_nothing(bench: Bench) -> None:
    lines: list[str] = []
    job = bench.run(bench.spec(cmd="setsid sleep 300 & sleep 300 & echo bye; kill -9 $PPID"), lines)
    assert job.status is JobStatus.FAILED
    assert "killed by SIGKILL" in job.reason
    assert bench.processes() == {}


def waiter(bench: Bench) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SUBMIT_AND_WAIT, str(bench.jobs), "job-1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_attach_to_one_job_and_both_get_its_result(bench: Bench) -> None:
    go = bench.folder / "go"
    cmd = f"echo started; until test -e {shlex.quote(str(go))}; do sleep 0.05; done; echo done"
    bench.executor.submit(bench.spec(cmd=cmd))
    waiters = [waiter(bench), waiter(bench)]
    bench.started()
    go.touch()
    for one in waiters:
        lines = one.communicate(timeout=20)[0].splitlines()
        assert "done" in lines
        assert lines[-1] == "Completed"
        assert lines.count("started") == 1


def test_a_job_goes_on_when_clew_is_killed(bench: Bench) -> None:
    go = bench.folder / "go"
    cmd = f"echo started; until test -e {shlex.quote(str(go))}; do sleep 0.05; done; echo done"
    bench.executor.submit(bench.spec(cmd=cmd))
    first = waiter(bench)
    bench.started()
    first.kill()
    first.communicate()
    found = bench.executor.find("job-1")
    assert found is not None
    assert found.status is JobStatus.IN_PROGRESS
    go.touch()
    assert bench.executor.wait("job-1", lambda _line: None).status is JobStatus.COMPLETED


def test_the_folder_clew_is_run_from_shadows_no_module(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tarfile", "json", "clew", "dvc"):
        (bench.folder / f"{name}.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(bench.folder)
    assert bench.run(bench.spec()).status is JobStatus.COMPLETED
