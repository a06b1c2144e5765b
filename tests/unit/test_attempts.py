"""Which job stands for a key: results that were paid for are neither lost nor paid for twice."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from clew.asked import forget
from clew.context import Context
from clew.errors import ClewError, Detached, JobFailed, Unverifiable
from clew.identity import CommitSha, RunId
from clew.jobs import FAILURE, attempt_for, failure, job_name, run_id_of, run_job, taking_up
from clew.ports import (
    Executor,
    Job,
    JobExists,
    JobSpec,
    JobStatus,
    RemoteConfig,
    TrackedRun,
)
from clew.prices import Usage
from clew.reconcile import pending_runs
from clew.request import RunRequest
from tests.gitrepo import pipeline
from tests.unit.stored_data import Silent

KEY = "f" * 64
COMMIT = CommitSha("a" * 40)
ASKED = RunRequest(COMMIT)
BAD = Unverifiable("data/prepared (missing)")


class FakeExecutor(Executor):
    """Jobs in memory, which end as they are told to."""

    name = "fake"

    def __init__(self, *, paid: bool = True) -> None:
        self.usage = cast(Usage, object()) if paid else None
        self.jobs: dict[str, Job] = {}
        self.ends = [JobStatus.COMPLETED]  # how the next ones end; the last is repeated
        self.at_wait: Callable[[str], None] = lambda _name: None
        self.stopped: list[str] = []

    def submit(self, spec: JobSpec) -> None:
        if spec.name in self.jobs:
            raise JobExists(spec.name)
        self.jobs[spec.name] = Job(spec.name, JobStatus.IN_PROGRESS, spec.environment)

    def find(self, name: str) -> Job | None:
        return self.jobs.get(name)

    def wait(self, name: str, on_line: Callable[[str], None]) -> Job:
        self.at_wait(name)
        return self.end(name)

    def end(self, name: str) -> Job:
        status = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        reason = "AlgorithmError: NaN" if status is JobStatus.FAILED else ""
        self.jobs[name] = dataclasses.replace(self.jobs[name], status=status, reason=reason)
        return self.jobs[name]

    def stop(self, name: str) -> None:
        self.stopped.append(name)
        self.jobs[name] = dataclasses.replace(self.jobs[name], status=JobStatus.STOPPED)

    def model(self, name: str) -> Path:
        return Path(name)


class FakeTracker:
    """MLflow runs in memory."""

    uri = "fake"

    def __init__(self) -> None:
        self.held: dict[RunId, TrackedRun] = {}

    def claim(self, stage: str, key: str, name: str, tags: Mapping[str, str]) -> RunId:
        identity = {"clew.stage": stage, "clew.key": key}
        for run in self.runs(identity):
            if run.status not in ("FAILED", "KILLED"):
                return run.id
        run_id = RunId(f"run{len(self.held) + 1}")
        self.held[run_id] = TrackedRun(run_id, "RUNNING", {}, {**tags, **identity}, {})
        return run_id

    def runs(self, tags: Mapping[str, str]) -> list[TrackedRun]:
        return [run for run in self.held.values() if tags.items() <= run.tags.items()]

    def run(self, run_id: RunId) -> TrackedRun | None:
        return self.held.get(run_id)

    def record(self, run_id: RunId, tags: Any = None, **_others: Any) -> None:
        run = self.held[run_id]
        self.held[run_id] = dataclasses.replace(run, tags={**run.tags, **(tags or {})})

    def finish(self, run_id: RunId, status: str, reason: str = "") -> None:
        run = self.held[run_id]
        tags = {**run.tags, FAILURE: reason} if reason else run.tags
        self.held[run_id] = dataclasses.replace(run, status=status, tags=tags)

    def delete_run(self, run_id: RunId) -> None:
        del self.held[run_id]


@dataclasses.dataclass(frozen=True)
class Bench:
    """One key, whose jobs the test runs; `lacking` is what is wrong with the results of which."""

    executor: FakeExecutor
    tracker: FakeTracker
    context: Context
    lacking: dict[str, ClewError]
    step: str = "train"
    tags: dict[str, str] = dataclasses.field(default_factory=dict)  # of the MLflow runs of its jobs

    def name(self, attempt: int) -> str:
        return job_name(self.context.pipeline.name, self.step, KEY, attempt)

    def run(self, **asked: Any) -> str:
        """Return the name of the job that it comes to, taken up."""
        request = dataclasses.replace(ASKED, **asked)
        job = run_job(self.context, request, self.step, KEY, self._spec, self._lacks)
        self.tracker.record(run_id_of(job), tags=taking_up(self.context, job))
        return job.name

    def left(self, **asked: Any) -> str:
        """Leave a job that ends meanwhile; return its name."""
        with pytest.raises(Detached) as left:
            self.run(detach=True, **asked)
        self.executor.end(left.value.job)
        return left.value.job

    def _lacks(self, job: Job) -> ClewError | None:
        return self.lacking.get(job.name)

    def _spec(self, name: str) -> JobSpec:
        run_id = self.tracker.claim(self.step, KEY, name, self.tags)
        return JobSpec(
            name=name,
            bundle=Path("bundle.tar"),
            bundle_sha256="0" * 64,
            workdir=".",
            stages=("train",),
            remote=RemoteConfig("storage", "s3://bucket"),
            environment={"CLEW_RUN_ID": run_id},
        )


class NoProject:
    """The repository of these tests, of which only one thing is asked."""

    repository = property(lambda self: self)

    def on_remote(self, commit: CommitSha) -> bool:
        return True

    def facts(self, commit: CommitSha) -> None: ...

    def branches(self) -> dict[str, CommitSha]:
        return {}


def bench(*, paid: bool = True, step: str = "train") -> Bench:
    executor, tracker = FakeExecutor(paid=paid), FakeTracker()
    context = Context(
        project=cast(Any, NoProject()),
        pipeline=pipeline(),
        store=cast(Any, None),
        executor=executor,
        tracker=cast(Any, tracker),
        reporter=Silent(),
        log=cast(Any, None),
        state=Path(),
    )
    tags = {"mlflow.source.git.commit": str(COMMIT)}
    return Bench(executor, tracker, context, {}, step, tags)


# --- results that will not do --------------------------------------------------------------------


@pytest.mark.parametrize("step", ["process", "train"])
def test_a_job_whose_results_will_not_do_is_told_at_every_call_and_not_paid_for_again(
    step: str,
) -> None:
    jobs = bench(step=step)
    first = jobs.left()
    jobs.lacking[first] = BAD
    for detach in (True, True, False):
        with pytest.raises(Unverifiable, match="data/prepared"):
            jobs.run(detach=detach)
    assert list(jobs.executor.jobs) == [first]
    (run,) = jobs.tracker.held.values()
    assert (run.status, run.tags[FAILURE]) == ("FAILED", BAD.what)
    jobs.lacking.clear()  # somebody put them right
    assert jobs.run() == first


def test_one_that_was_waited_for_is_looked_at_too() -> None:
    jobs = bench()
    jobs.lacking[jobs.name(1)] = JobFailed("nothing in model")
    for told_before in (False, True):
        with pytest.raises(JobFailed, match="nothing in model") as failed:
            jobs.run()
        assert failed.value.told_before is told_before
    assert list(jobs.executor.jobs) == [jobs.name(1)]


@pytest.mark.parametrize(
    ("step", "asked"), [("train", "retry"), ("process", "retry"), ("process", "reprocess")]
)
def test_another_is_made_where_somebody_asks_and_then_counts(step: str, asked: str) -> None:
    jobs = bench(step=step)
    first = jobs.left()
    jobs.lacking[first] = BAD
    with pytest.raises(Unverifiable):
        jobs.run()
    second = jobs.left(**{asked: True})
    assert second == jobs.name(2)
    assert jobs.run() == second, "what was paid for is not lost behind the first"


def test_force_is_about_data_only() -> None:
    jobs = bench(step="train")
    jobs.lacking[jobs.left()] = BAD
    with pytest.raises(Unverifiable):
        jobs.run(reprocess=True)


def test_what_was_whole_once_and_got_lost_is_made_again() -> None:
    jobs = bench(step="process")
    first = jobs.run()
    jobs.lacking[first] = BAD
    assert jobs.run() == jobs.name(2)


def test_on_this_machine_it_is_told_once_and_then_tried_again() -> None:
    jobs = bench(paid=False)
    jobs.lacking[jobs.name(1)] = BAD
    with pytest.raises(Unverifiable):
        jobs.run()
    assert jobs.run() == jobs.name(2)


def test_data_made_anew_is_made_once_for_each_time_it_is_asked_for() -> None:
    jobs = bench(step="process")
    first = jobs.run()
    second = jobs.left(reprocess=True)
    assert jobs.run(reprocess=True) == second != first
    assert jobs.left(reprocess=True) == jobs.name(3)


# --- attempts after a failure --------------------------------------------------------------------


def test_what_retry_paid_for_is_taken_up_by_the_same_run_again() -> None:
    jobs = bench()
    jobs.executor.ends = [JobStatus.FAILED, JobStatus.FAILED, JobStatus.COMPLETED]
    for asked in ({}, {"retry": True}):
        with pytest.raises(JobFailed):
            jobs.run(**asked)
    third = jobs.left(retry=True)
    assert third == jobs.name(3)
    assert jobs.run() == third
    assert jobs.run(unattended=True, detach=True) == third
    assert [run.status for run in jobs.tracker.held.values()] == ["FAILED", "FAILED", "RUNNING"]


def test_one_that_works_is_attached_to_behind_a_failure() -> None:
    jobs = bench()
    jobs.executor.ends = [JobStatus.FAILED]
    with pytest.raises(JobFailed):
        jobs.run()
    with pytest.raises(Detached):
        jobs.run(retry=True, detach=True)
    found = attempt_for(jobs.context, ASKED, jobs.step, KEY, lambda _job: None)
    assert found.name == jobs.name(2)


def test_the_last_failure_is_the_one_that_is_told() -> None:
    jobs = bench()
    jobs.executor.ends = [JobStatus.FAILED]
    for asked in ({}, {"retry": True}, {}):
        with pytest.raises(JobFailed) as failed:
            jobs.run(**asked)
    assert jobs.name(2) in str(failed.value)
    assert len(jobs.executor.jobs) == 2


# --- an interrupt --------------------------------------------------------------------------------


def interrupted(jobs: Bench, *, stopped: bool) -> None:
    """Press Ctrl-C at the next wait; the executor may have stopped the job by then."""

    def at_wait(name: str) -> None:
        if stopped:
            jobs.executor.stop(name)
        raise KeyboardInterrupt

    jobs.executor.at_wait = at_wait


@pytest.mark.parametrize("attached", [False, True])
def test_a_job_that_an_interrupt_stopped_is_over_in_mlflow_too(*, attached: bool) -> None:
    jobs = bench()
    if attached:
        with pytest.raises(Detached):
            jobs.run(detach=True)
    interrupted(jobs, stopped=True)
    with pytest.raises(KeyboardInterrupt):
        jobs.run()
    assert [run.status for run in jobs.tracker.held.values()] == ["KILLED"]


def test_somebody_elses_job_is_left_working_by_an_interrupt() -> None:
    jobs = bench()
    with pytest.raises(Detached):
        jobs.run(detach=True)
    interrupted(jobs, stopped=False)
    with pytest.raises(Detached) as left:
        jobs.run()
    assert left.value.exit_code == 130
    assert jobs.executor.stopped == []
    assert [run.status for run in jobs.tracker.held.values()] == ["RUNNING"]


def test_a_job_that_ended_at_the_moment_of_the_interrupt_keeps_its_result() -> None:
    jobs = bench()

    def at_wait(name: str) -> None:
        jobs.executor.end(name)
        raise KeyboardInterrupt

    jobs.executor.at_wait = at_wait
    with pytest.raises(KeyboardInterrupt):
        jobs.run()
    assert jobs.run() == jobs.name(1)
    assert jobs.executor.stopped == []


# --- requests that meet at one job ---------------------------------------------------------------

DISPATCHED: dict[str, Any] = {"trigger": "dispatch", "detach": True}
OTHER: dict[str, Any] = {**DISPATCHED, "params": {"train.lr": 0.6}, "reason": "audit"}


def pending(jobs: Bench) -> list[RunRequest]:
    """Return what the schedule would go on with."""
    found = pending_runs(jobs.context, lambda _request: jobs.context, time.time(), 7)
    return [one.request for one in found]


def dispatched(jobs: Bench) -> None:
    """Ask for the same data with and without params, while the data is made."""
    jobs.tags.update({"clew.trigger": "dispatch", "clew.executor": "fake"})
    for asked in (DISPATCHED, OTHER, OTHER, {**OTHER, "trigger": "local", "params": {"a": 1}}):
        with pytest.raises(Detached):
            jobs.run(**asked)
    assert list(jobs.executor.jobs) == [jobs.name(1)]


def test_what_each_asked_for_that_left_one_job_is_gone_on_with() -> None:
    jobs = bench(step="process")
    dispatched(jobs)
    first, second = pending(jobs)
    assert (first.params, first.reason) == ({}, "")
    assert (second.params, second.reason) == ({"train.lr": 0.6}, "audit")
    forget(jobs.context, second)
    assert [one.params for one in pending(jobs)] == [{}]


def test_one_whose_job_failed_is_not_pending_for_ever() -> None:
    jobs = bench(step="process")
    dispatched(jobs)
    forget(jobs.context, pending(jobs)[1], "the job failed")
    (run,) = jobs.tracker.runs({"clew.stage": "request"})
    assert (run.status, run.tags[FAILURE]) == ("FAILED", "the job failed")
    assert len(pending(jobs)) == 1


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        (
            "AlgorithmError: An error occurred (AccessDenied) when calling the PutObject "
            "operation: User: arn:aws:sts::123456789012:assumed-role/clew-training/x is not "
            'authorized to perform: s3:PutObject on resource: "arn:aws:s3:::b/clew/x" because',
            "Allow the job's role s3:PutObject on arn:aws:s3:::b/clew/x.",
        ),
        (
            "AlgorithmError: role is not authorized to perform: kms:Decrypt, exit code: 1",
            "Allow the job's role kms:Decrypt.",
        ),
        ("ClientError: Failed to download data. 403", "`clew doctor`"),
        ("AlgorithmError: ValueError: NaN", "Fix the cause, and commit."),
    ],
)
def test_a_missing_right_is_named(reason: str, advice: str) -> None:
    told = failure(bench().context, Job("j", JobStatus.FAILED, {}, reason=reason))
    assert advice in told.fix
    assert "--retry" in told.fix
