"""One job for one key, however often it is asked for: attach to it, or make the next attempt."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

from clew.context import Context
from clew.errors import Detached, JobFailed
from clew.identity import RunId
from clew.ports import Job, JobExists, JobSpec, JobStatus, Reporter
from clew.redaction import without_credentials

PROGRESS = re.compile(r"clew: (?P<verb>\w+) (?P<done>\d+)/(?P<total>\d+) files")  # clew.container


def job_name(pipeline: str, step: str, key: str, attempt: int) -> str:
    """Return the name that makes a job unique: from what it computes, not from when."""
    return f"{pipeline}-{step}-{key[:12]}-{attempt}"


def run_job(
    context: Context,
    step: str,
    key: str,
    make: Callable[[str], JobSpec],
    usable: Callable[[Job], bool],
    *,
    detach: bool,
) -> Job:
    """Return the completed job of this key, started if there is none; JobFailed when it fails.

    An earlier attempt that failed, or whose results are gone (`usable`), leads to the next.
    Detached when there is a job that should not be waited for.
    """
    wait = _leave if detach else _wait
    for attempt in itertools.count(1):
        name = job_name(context.pipeline.name, step, key, attempt)
        found = context.executor.find(name)
        if found is None:
            _submit(context, step, make(name))
            return _completed(context, wait(context, step, name))
        if found.status is JobStatus.IN_PROGRESS:
            context.reporter.step(step, f"attached to the running job {name}")
            return _completed(context, wait(context, step, name))
        if found.status is not JobStatus.COMPLETED:
            _close(context, found)
        elif usable(found):
            return found
    raise AssertionError("unreachable")


def _completed(context: Context, job: Job) -> Job:
    if job.status is JobStatus.COMPLETED:
        return job
    _close(context, job)
    raise JobFailed(
        f"the job {job.name} failed: {job.reason}",
        fix="Fix the cause, commit, and run again; its log is above.",
    )


def _submit(context: Context, step: str, spec: JobSpec) -> None:
    try:
        context.executor.submit(spec)
    except JobExists:
        context.reporter.step(step, f"another run has started {spec.name}; attached to it")
    except KeyboardInterrupt:
        context.executor.stop(spec.name)
        raise


def _leave(context: Context, step: str, name: str) -> Job:
    context.reporter.step(step, f"job {name}")
    raise Detached(name)


def _wait(context: Context, step: str, name: str) -> Job:
    context.reporter.step(step, f"job {name}")
    try:
        return context.executor.wait(name, lambda line: _show(context.reporter, line))
    except KeyboardInterrupt:
        stopped = context.executor.find(name)
        if stopped is not None and stopped.status is not JobStatus.IN_PROGRESS:
            _close(context, stopped)
        raise


def _show(reporter: Reporter, line: str) -> None:
    if match := PROGRESS.fullmatch(line):
        reporter.progress(match["verb"], int(match["done"]), int(match["total"]))
    else:
        reporter.line(without_credentials(line))


def run_id_of(job: Job) -> RunId:
    """Return the MLflow run that was opened for the job."""
    return RunId(job.environment["CLEW_RUN_ID"])


def _close(context: Context, job: Job) -> None:
    """Write into MLflow that a job ended without a result, and why."""
    status = "KILLED" if job.status is JobStatus.STOPPED else "FAILED"
    if context.tracker.run(run_id_of(job)) is not None:
        context.tracker.finish(run_id_of(job), status, job.reason)
