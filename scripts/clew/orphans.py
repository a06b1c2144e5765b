"""orphans: which running jobs no run waits for any more, and their end.

A job has a run as long as its MLflow run is open, and the commit that asked for it is still on the
Git remote. What can't be read makes a job unknown, never an orphan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from clew.context import Context
from clew.errors import ClewError, ConfigError
from clew.identity import CommitSha, RunId
from clew.jobs import FAILURE, UNPUBLISHED, WANTED
from clew.mlflow_runs import COMPLETED
from clew.ports import JobStatus, TrackedRun
from clew.prices import BilledJob, Usage

WAITED_FOR, ORPHAN, UNKNOWN, ENDED = "waited for", "orphan", "unknown", "ended"
STOPPED, FAILED = "stopped", "failed"


@dataclass(frozen=True)
class ListedJob:
    """A job, and whether a run waits for it."""

    job: BilledJob
    waits: str  # waited for | orphan | unknown | ended
    reason: str = ""
    commit: str = ""
    reaped: str = ""  # stopped | ended (by itself, just then) | failed; empty: nobody tried

    def as_json(self) -> dict[str, Any]:
        job = self.job
        return {
            "name": job.name,
            "status": job.status.value,
            "started": job.created.isoformat(),
            "seconds": job.seconds,
            "cost_usd": job.cost_usd,
            "commit": self.commit,
            "run_id": job.run_id,
            "waits": self.waits,
            "reason": self.reason,
        } | ({"reaped": self.reaped} if self.reaped else {})


def listed_jobs(context: Context, since: datetime | None) -> list[ListedJob]:
    """Return the pipeline's jobs since then and all that run, the newest first."""
    usage, name = _usage(context), context.pipeline.name
    jobs = {job.name: job for job in usage.jobs(name, since=since)}
    if since is not None:
        jobs |= {job.name: job for job in usage.jobs(name, status=JobStatus.IN_PROGRESS)}
    found = sorted(jobs.values(), key=lambda job: job.created, reverse=True)
    problem = _mlflow_problem(context)
    return [judge(context, job, problem) for job in found]


def orphans(context: Context) -> list[ListedJob]:
    """Return the running jobs that no run waits for."""
    jobs = _usage(context).jobs(context.pipeline.name, status=JobStatus.IN_PROGRESS)
    problem = _mlflow_problem(context)
    found = (judge(context, job, problem) for job in jobs)
    return [one for one in found if one.waits == ORPHAN]


def reap(context: Context, found: Sequence[ListedJob]) -> Iterator[ListedJob]:
    """Stop orphans and close their MLflow runs as KILLED; one that fails does not keep the others.

    Each is looked at again first: a run may have taken it up since.
    """
    for one in found:
        try:
            now = judge(context, one.job, _mlflow_problem(context))
            yield replace(now, reaped=_stop(context, now)) if now.waits == ORPHAN else now
        except ClewError as error:
            yield replace(one, reaped=FAILED, reason=error.what)


def judge(context: Context, job: BilledJob, mlflow_problem: str = "") -> ListedJob:
    """Return whether a run waits for a job."""
    if mlflow_problem:
        waits = ENDED if job.status is not JobStatus.IN_PROGRESS else UNKNOWN
        return ListedJob(job, waits, "" if waits == ENDED else mlflow_problem)
    run = context.tracker.run(job.run_id) if job.run_id else None
    commit = run.params.get("code_git_commit_id", "") if run else ""
    if job.status is not JobStatus.IN_PROGRESS:
        return ListedJob(job, ENDED, commit=commit)
    if run is not None:
        waits, reason = _waits(context, run)
        return ListedJob(job, waits, reason, commit)
    waits, reason = _without_run(context, job)
    return ListedJob(job, waits, reason, _usage(context).commit(job.arn))


def _without_run(context: Context, job: BilledJob) -> tuple[str, str]:
    """Judge a job whose MLflow run isn't there: in this MLflow, which may be another than its."""
    if job.run_id is None:
        return UNKNOWN, "it names no MLflow run: clew did not start it"
    same = job.tracking_uri == context.tracker.uri
    if not same and (job.tracking_uri or not context.tracker.runs({"clew.executor": "sagemaker"})):
        return UNKNOWN, f"its MLflow run {job.run_id} is not at {context.tracker.uri}"
    return ORPHAN, f"its MLflow run {job.run_id} was deleted"


def _waits(context: Context, run: TrackedRun) -> tuple[str, str]:
    if _has_ended(context, run):
        return ORPHAN, f"its MLflow run {run.id} has ended: {run.status}"
    wanted = run.tags.get(WANTED, UNPUBLISHED)
    if wanted == UNPUBLISHED:
        return WAITED_FOR, ""  # the remote never had its commit, so it can't have lost it
    repository = context.project.repository
    try:
        if repository.on_remote(CommitSha(wanted)):
            return WAITED_FOR, ""
        if repository.remote_url() is None or repository.shallow_boundary():
            return UNKNOWN, "this clone has no remote, or is too shallow to tell about its commit"
    except ClewError as error:
        return UNKNOWN, error.what
    return ORPHAN, f"no branch or tag of the Git remote has its commit {wanted[:12]} any more"


def _has_ended(context: Context, run: TrackedRun) -> bool:
    """Tell whether a run is over; a stage may end its MLflow run while its job still works."""
    if run.status == "RUNNING":
        return False
    if run.status == "KILLED" or FAILURE in run.tags or COMPLETED.items() <= run.tags.items():
        return True
    parent = _parent(context, run)
    return parent is None or parent.status != "RUNNING"


def _parent(context: Context, run: TrackedRun) -> TrackedRun | None:
    name = run.tags.get("mlflow.parentRunId")
    return context.tracker.run(RunId(name)) if name else None


def _stop(context: Context, orphan: ListedJob) -> str:
    """Close the MLflow runs first: killed before the job is stopped, it is an orphan still."""
    run = context.tracker.run(orphan.job.run_id) if orphan.job.run_id else None
    for one in (run, _parent(context, run) if run else None):
        if one is not None and one.status == "RUNNING":
            context.tracker.finish(one.id, "KILLED", f"clew jobs --reap: {orphan.reason}")
    context.executor.stop(orphan.job.name)
    now = context.executor.find(orphan.job.name)
    return STOPPED if now is None or now.status is JobStatus.STOPPED else ENDED


def _mlflow_problem(context: Context) -> str:
    """Return why MLflow can't be read, empty when it can."""
    try:
        context.tracker.check(writing=False)
    except ClewError as error:
        return error.what
    return ""


def _usage(context: Context) -> Usage:
    if context.executor.usage is None:
        raise ConfigError(
            f"jobs of the {context.executor.name} executor cost nothing and are not listed",
            fix="Their folders are in .clew/jobs; for those on SageMaker: --executor sagemaker.",
        )
    return context.executor.usage
