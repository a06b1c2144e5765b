"""The local executor, with real processes: each job is a tiny DVC repository in a tar file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clew.adapters.local import LocalExecutor
from clew.ports import Job, JobExists, JobSpec, JobStatus, RemoteConfig

SUBMIT_AND_WAIT = """\
import json, sys
from pathlib import Path
from clew.adapters.local import LocalExecutor
job = LocalExecutor(Path(sys.argv[1]), {}).wait(sys.argv[2], lambda line: print(line, flush=True))
print(job.status.value)
"""
SLEEP = "echo started; sleep 300"


class Bench:
    """A folder with an executor, a DVC remote, and jobs made of shell one-liners."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs = folder / "jobs"
        self.storage = folder / "storage"
        self.executor = LocalExecutor(self.jobs, {})

    def spec(self, name: str = "job-1", cmd: str = "true", **change: Any) -> JobSpec:
        stage = change.pop("stage", {})
        files = {
            ".dvc/config": "[core]\n    autostage = true\n[cache]\n    dir = ../../shared\n",
            "dvc.yaml": json.dumps({"stages": {"main": {"cmd": cmd, **stage}}}),
            **change.pop("files", {}),
        }
        bundle = self.folder / f"{name}.tar"
        with tarfile.open(bundle, "w") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        defaults: dict[str, Any] = {
            "name": name,
            "bundle": bundle,
            "bundle_sha256": hashlib.sha256(bundle.read_bytes()).hexdigest(),
            "workdir": ".",
            "stages": ("main",),
            "remote": RemoteConfig("storage", str(self.storage)),
            "force": True,
            "max_seconds": 60,
        }
        return JobSpec(**defaults | change)

    def run(self, spec: JobSpec, lines: list[str] | None = None) -> Job:
        self.executor.submit(spec)
        return self.executor.wait(spec.name, (lines if lines is not None else []).append)

    def processes(self, name: str = "job-1") -> dict[int, str]:
        """Return the living processes that are part of a job, also those in other sessions."""
        return processes_with(f"SAGEMAKER_BASE_DIR={self.jobs / name / 'ml'}")

    def supervisor(self, name: str = "job-1") -> int:
        pid: int = json.loads((self.jobs / name / "status.json").read_text())["pid"]
        return pid

    def started(self, name: str = "job-1") -> None:
        log = self.jobs / name / "log"
        eventually(lambda: log.exists() and b"\nstarted\n" in log.read_bytes())


def processes_with(variable: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            if variable.encode() in variables:
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for folder in bench.jobs.glob("job-*"):
        bench.executor.stop(folder.name)
        assert bench.processes(folder.name) == {}


def store(folder: Path, content: bytes) -> str:
    """Put an object into a DVC remote; return its hash."""
    md5 = hashlib.md5(content).hexdigest()
    path = folder / "files/md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5


# --- layout, environment and results -------------------------------------------------------------


def test_a_job_sees_the_layout_and_the_variables_of_sagemaker(bench: Bench) -> None:
    cmd = "env -0 > $SM_OUTPUT_DATA_DIR/env; cat data/x > out.txt; mkdir m; echo w > m/weights"
    spec = bench.spec(
        cmd=cmd,
        stage={"outs": [{"m": {"cache": False}}, {"out.txt": {"cache": False}}]},
        files={"data/x": "bytes"},
        hyperparameters={"train.lr": "0.1", "name": '"wide"', "plain": "text"},
        environment={"MLFLOW_RUN_ID": "abc"},
        channels={"training": "data"},
        model="m",
        collect=("out.txt",),
    )
    job = bench.run(spec)
    assert (job.status, job.reason) == (JobStatus.COMPLETED, "")
    assert job.output == bench.jobs / "job-1/ml"
    assert (job.output / "model/weights").read_text() == "w\n"
    assert (job.output / "output/data/out.txt").read_text() == "bytes"
    assert (job.output / "output/data/dvc.lock").exists()
    assert not (job.output / "output/failure").exists()
    assert 0 < job.seconds < 60

    rows = (job.output / "output/data/env").read_text().split("\0")
    env = dict(row.split("=", 1) for row in rows if row)
    base = str(job.output)
    assert env["MLFLOW_RUN_ID"] == "abc"
    assert env["TRAINING_JOB_NAME"] == "job-1"
    assert env["SM_CHANNELS"] == '["training"]'
    assert env["SM_CHANNEL_TRAINING"] == f"{base}/code/data"
    assert env["SM_MODEL_DIR"] == f"{base}/code/m"
    assert env["SM_OUTPUT_DIR"] == f"{base}/output"
    assert json.loads(env["SM_HPS"]) == {"train.lr": 0.1, "name": "wide", "plain": "text"}
    assert env["SM_HP_NAME"] == "wide"
    assert json.loads(env["SM_HOSTS"]) == ["algo-1"]
    assert env["HOME"].startswith(base)
    assert env["TMPDIR"].startswith(base)
    assert env["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert env["DO_NOT_TRACK"] == "true"

    config = job.output / "input/config"
    assert json.loads((config / "resourceconfig.json").read_text())["current_host"] == "algo-1"
    assert "training" in json.loads((config / "inputdataconfig.json").read_text())
    assert json.loads((config / "hyperparameters.json").read_text())["train.lr"] == "0.1"


def test_nothing_of_the_callers_environment_leaks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PYTHONPATH", "GIT_DIR", "DVC_EXP_NAME")
    for name in secrets:
        monkeypatch.setenv(name, "planted")
    executor = LocalExecutor(bench.jobs, {"GITHUB_TOKEN": "passed on purpose"})
    executor.submit(bench.spec(cmd="env > $SM_OUTPUT_DATA_DIR/env; echo HOME=$HOME"))
    job = executor.wait("job-1", lambda _line: None)
    assert job.output is not None
    text = (job.output / "output/data/env").read_text()
    assert "planted" not in text
    assert "GITHUB_TOKEN=passed on purpose" in text
    assert (bench.jobs / "job-1").stat().st_mode & 0o077 == 0, "others could read the environment"


def test_a_job_does_not_find_the_git_repository_around_it(bench: Bench) -> None:
    subprocess.run(["git", "init", "-q", bench.folder], check=True)
    lines: list[str] = []
    bench.run(bench.spec(cmd="git rev-parse HEAD || echo no repository"), lines)
    assert "no repository" in lines


def test_dvc_in_a_job_needs_no_git_and_uses_a_cache_of_its_own(bench: Bench) -> None:
    cmd = "cat .dvc/config.local > $SM_OUTPUT_DATA_DIR/config; echo 1 > out"
    job = bench.run(bench.spec(cmd=cmd, stage={"outs": ["out"]}))
    assert job.output is not None, job.reason
    config = (job.output / "output/data/config").read_text()
    assert "no_scm = true" in config
    assert "verify = true" in config
    assert not (bench.jobs / "job-1/shared").exists()
    assert not (bench.jobs / "job-1/ml/shared").exists()


def test_a_remote_may_have_any_name_and_options(bench: Bench) -> None:
    url = str(bench.folder / "sto,rage #1 'x'")
    remote = RemoteConfig("my store", url, {"jobs": "2", "verify": "False"})
    spec = bench.spec(cmd="echo 1 > out", stage={"outs": ["out"]}, push=("out",), remote=remote)
    job = bench.run(spec)
    assert job.status is JobStatus.COMPLETED, job.reason
    assert list(Path(url).rglob("*"))


def test_stages_run_in_the_folder_of_the_pipeline(bench: Bench) -> None:
    files = {"models/a/dvc.yaml": json.dumps({"stages": {"main": {"cmd": "basename $PWD"}}})}
    lines: list[str] = []
    assert bench.run(bench.spec(files=files, workdir="models/a"), lines).reason == ""
    assert "a" in lines


def test_lines_are_handed_on_as_they_come_also_one_without_an_end(bench: Bench) -> None:
    lines: list[str] = []
    bench.run(bench.spec(cmd="echo one; echo two >&2; printf 'ünfinished'; kill -9 $PPID"), lines)
    assert lines[-3:] == ["one", "two", "ünfinished"]


def test_overrides_go_into_params_yaml_and_change_nothing_else(bench: Bench) -> None:
    params = "train: {lr: 0.5, decay: 1e-4} # kept\nflag: on\n"
    spec = bench.spec(
        cmd="cat params.yaml > $SM_OUTPUT_DATA_DIR/p; echo ${train.lr} ${train.decay} ${flag}",
        files={"params.yaml": params},
        params={"train.lr": 0.25},
    )
    lines: list[str] = []
    job = bench.run(spec, lines)
    assert job.output is not None, job.reason
    assert (job.output / "output/data/p").read_text() == params.replace("0.5", "0.25")
    assert "0.25 0.0001 on" in lines


def test_an_override_of_a_parameter_that_is_not_there_is_named(bench: Bench) -> None:
    files = {"params.yaml": "train: {lr: 0.5}\n"}
    job = bench.run(bench.spec(files=files, params={"trian.lr": 1}))
    assert job.status is JobStatus.FAILED
    assert "params.yaml has no trian.lr" in job.reason


def test_the_bundle_must_be_the_one_that_was_recorded(bench: Bench) -> None:
    spec = bench.spec(cmd="touch $SM_OUTPUT_DATA_DIR/ran")
    with spec.bundle.open("ab") as file:
        file.write(b"\0" * 1024)
    job = bench.run(spec)
    assert job.status is JobStatus.FAILED
    assert "sha256" in job.reason
    assert not (bench.jobs / "job-1/ml/output/data/ran").exists()


# --- how jobs end --------------------------------------------------------------------------------


def test_the_reason_of_a_failed_job_has_the_last_line_of_its_stage(bench: Bench) -> None:
    files = {"train.py": "print('epoch 1')\nraise ValueError('the loss is NaN')\n"}
    job = bench.run(bench.spec(cmd="python train.py", files=files))
    assert job.status is JobStatus.FAILED
    assert job.reason.startswith("AlgorithmError: ")
    assert "failed to reproduce 'main'" in job.reason
    assert job.reason.endswith("| ValueError: the loss is NaN")
    assert "exited with 1" in (bench.jobs / "job-1/ml/output/failure").read_text()
    assert job.output is None


def test_a_bundle_without_dvc_never_falls_through_to_the_users_repository(bench: Bench) -> None:
    (bench.folder / ".dvc").mkdir()
    link = bench.folder / "link"
    link.symlink_to(bench.jobs)
    bench.jobs.mkdir()
    spec = bench.spec()
    with tarfile.open(spec.bundle, "w") as archive:
        archive.addfile(tarfile.TarInfo("dvc.yaml"))
    spec = JobSpec(**vars(spec) | {"bundle_sha256": sha256(spec.bundle)})
    executor = LocalExecutor(link, {})
    executor.submit(spec)
    job = executor.wait("job-1", lambda _line: None)
    assert "the bundle has no .dvc folder" in job.reason
    assert list((bench.folder / ".dvc").iterdir()) == []


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_job_over_its_time_limit_is_stopped(bench: Bench) -> None:
    job = bench.run(bench.spec(cmd=SLEEP, max_seconds=2))
    assert job.status is JobStatus.STOPPED
    assert job.reason.startswith("MaxRuntimeExceeded")
    assert bench.processes() == {}


CHILDREN = "(sleep 300 &) ; setsid sleep 300 & env -i setsid sleep 301 & echo started; sleep 300"


def test_stop_leaves_no_process_not_even_in_another_session(bench: Bench) -> None:
    bench.executor.submit(bench.spec(cmd=CHILDREN))
    bench.started()
    assert len(bench.processes()) >= 4
    before = descendants(bench.supervisor())
    bench.executor.stop("job-1")
    job = bench.executor.find("job-1")
    assert job is not None
    assert (job.status, job.reason) == (JobStatus.STOPPED, "stopped on request")
    assert bench.processes() == {}
    assert [pid for pid in before if alive(pid)] == []
    assert not (bench.jobs / "job-1/ml/code").exists()


def descendants(pid: int) -> list[int]:
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    direct = [int(line) for line in children.stdout.split()]
    return direct + [found for child in direct for found in descendants(child)]


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_what_a_finished_stage_left_running_is_ended(bench: Bench) -> None:
    job = bench.run(bench.spec(cmd="setsid sleep 300 > /dev/null 2>&1 & sleep 300 & true"))
    assert job.status is JobStatus.COMPLETED
    assert bench.processes() == {}


def test_a_stage_has_time_to_end_in_order_when_it_is_stopped(bench: Bench) -> None:
    save = "trap 'sleep 0.5; echo saved > $SM_OUTPUT_DATA_DIR/checkpoint; exit' TERM"
    bench.executor.submit(bench.spec(cmd=f"{save}; echo started; while :; do sleep 0.1; done"))
    bench.started()
    bench.executor.stop("job-1")
    assert (bench.jobs / "job-1/ml/output/data/checkpoint").read_text() == "saved\n"


def test_an_interrupt_while_waiting_stops_the_job(bench: Bench) -> None:
    bench.executor.submit(bench.spec(cmd=CHILDREN))

    def interrupt(line: str) -> None:
        if line == "started":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.executor.wait("job-1", interrupt)
    job = bench.executor.find("job-1")
    assert job is not None
    assert job.status is JobStatus.STOPPED
    assert bench.processes() == {}


def test_a_job_stopped_before_it_has_started_never_runs(bench: Bench) -> None:
    bench.executor.submit(bench.spec(cmd="touch $SM_OUTPUT_DATA_DIR/ran; sleep 300"))
    bench.executor.stop("job-1")
    job = bench.executor.find("job-1")
    assert job is not None
    assert job.status is JobStatus.STOPPED
    assert not (bench.jobs / "job-1/ml/output/data/ran").exists()


def test_two_stops_at_once_stop_the_job_once(bench: Bench) -> None:
    bench.executor.submit(bench.spec(cmd="trap '' TERM; echo started; sleep 300"))
    bench.started()
    threads = [threading.Thread(target=bench.executor.stop, args=["job-1"]) for _ in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.2)
    for thread in threads:
        thread.join()
    job = bench.executor.find("job-1")
    assert job is not None
    assert (job.status, job.reason) == (JobStatus.STOPPED, "stopped on request")
    assert bench.processes() == {}


# --- names, attaching, killing -------------------------------------------------------------------


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


# --- data ----------------------------------------------------------------------------------------


def tracked(bench: Bench, content: dict[str, bytes]) -> dict[str, str]:
    """Put a folder into the remote; return the bundle's files that make it DVC-tracked."""
    rows = [{"md5": store(bench.storage, data), "relpath": name} for name, data in content.items()]
    listing = json.dumps(rows).encode()
    md5 = store(bench.storage, listing)
    path = bench.storage / "files/md5" / md5[:2] / md5[2:]
    path.rename(f"{path}.dir")
    return {"raw.dvc": json.dumps({"outs": [{"md5": f"{md5}.dir", "hash": "md5", "path": "raw"}]})}


def test_data_is_pulled_before_the_stages(bench: Bench) -> None:
    files = tracked(bench, {"a": b"alpha\n", "b": b"beta\n"})
    lines: list[str] = []
    spec = bench.spec(cmd="cat raw/a raw/b", stage={"deps": ["raw"]}, files=files, pull=("raw",))
    assert bench.run(spec, lines).status is JobStatus.COMPLETED
    assert "alpha" in lines
    assert "beta" in lines


@pytest.mark.parametrize("bad", [b"evil!\n", b"", None], ids=["other", "empty", "missing"])
def test_a_bad_object_in_the_remote_fails_the_job_before_its_stages(
    bench: Bench, bad: bytes | None
) -> None:
    files = tracked(bench, {"a": b"alpha\n", "b": b"beta\n"})
    md5 = hashlib.md5(b"alpha\n").hexdigest()
    path = bench.storage / "files/md5" / md5[:2] / md5[2:]
    path.unlink() if bad is None else path.write_bytes(bad)
    before = snapshot(bench.storage)
    spec = bench.spec(cmd="echo ran", stage={"deps": ["raw"]}, files=files, pull=("raw",))
    lines: list[str] = []
    job = bench.run(spec, lines)
    assert job.status is JobStatus.FAILED
    assert "raw/a" in job.reason
    assert md5 in job.reason
    assert str(bench.storage) in job.reason
    assert "raw/b" not in job.reason
    assert "ran" not in lines
    assert snapshot(bench.storage) == before, "a job that only reads must not change the remote"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


MAKE = "mkdir -p out; for i in 0 1 2 3 4 5 6 7 8 9; do echo $i > out/$i; done; "


def test_a_processing_job_counts_new_and_reused_files(bench: Bench) -> None:
    stage = {"outs": ["out"]}
    first = bench.run(bench.spec(cmd=MAKE, stage=stage, push=("out",), force=False))
    assert (first.pushed, first.reused) == (10, 0), first.reason
    spec = bench.spec("job-2", MAKE + "echo x > out/3", stage=stage, push=("out",), force=False)
    second = bench.run(spec)
    assert (second.pushed, second.reused) == (1, 9)
    third = bench.run(JobSpec(**vars(spec) | {"name": "job-3"}))
    assert (third.pushed, third.reused) == (0, 10)


def test_a_forced_processing_job_brings_its_tracked_inputs(bench: Bench) -> None:
    files = tracked(bench, {"a": b"alpha\n"})
    stage = {"deps": ["raw"], "outs": ["out"]}
    spec = bench.spec(cmd="cp raw/a out", stage=stage, files=files, push=("out",), force=True)
    job = bench.run(spec)
    assert job.status is JobStatus.COMPLETED, job.reason
    assert job.reused == 1, "the same bytes are there as raw/a"


def test_what_a_stage_does_to_its_files_never_reaches_the_remote(bench: Bench) -> None:
    files = tracked(bench, {"a": b"alpha\n"})
    before = snapshot(bench.storage)
    cmd = "chmod u+w raw/a; echo evil >> raw/a"
    bench.run(bench.spec(cmd=cmd, stage={"deps": ["raw"]}, files=files, pull=("raw",)))
    assert snapshot(bench.storage) == before
