"""How local jobs end: failed, stopped, over time, interrupted; nothing is left running."""

from __future__ import annotations

import hashlib
import tarfile
import threading
import time
from pathlib import Path

import pytest

from clew.adapters.local import LocalExecutor
from clew.ports import JobSpec, JobStatus
from tests.unit.local.conftest import CHILDREN, SLEEP, Bench, alive, descendants


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


def test_an_interrupt_while_waiting_leaves_the_job_to_whoever_started_it(bench: Bench) -> None:
    bench.executor.submit(bench.spec(cmd=CHILDREN))

    def interrupt(line: str) -> None:
        if line == "started":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.executor.wait("job-1", interrupt)
    job = bench.executor.find("job-1")
    assert job is not None
    assert job.status is JobStatus.IN_PROGRESS


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
