"""One job for one key, however often it is asked for: attach to it, or make the next attempt."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import NoReturn

from clew.context import Context
from clew.errors import Detached, JobFailed
from clew.identity import RunId
from clew.ports import Job, JobExists, JobSpec, JobStatus, Reporter
from clew.redaction import without_secrets

PROGRESS = re.compile(r"clew: (?P<verb>\w+) (?P<done>\d+)/(?P<total>\d+) files")  # clew.container
FAILURE = "clew.failure"  # the tag in which `Tracker.finish` keeps its reason
LIMIT = re.compile("Max(Runtime|WaitTime)Exceeded")  # SageMaker's words for a limit of time


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

    An earlier attempt that failed, or whose results are gone (`usable`), leads to the next; so does
    one that found no machine, `capacity_attempts` times. Detached when there is a job that should
    not be waited for.
    """
    wait = _leave if detach else _wait
    refused = 0
    for attempt in itertools.count(1):
        name = job_name(context.pipeline.name, step, key, attempt)
        found = context.executor.find(name)
        if found is not None and found.status is not JobStatus.IN_PROGRESS:
            if found.status is JobStatus.COMPLETED and usable(found):
                return found
            _pass_over(context, found)
            continue
        mine = found is None and _submit(context, make(name))
        if not mine:
            context.reporter.step(step, f"attached to the running job {name}")
        job = wait(context, step, name, mine=mine)
        if job.status is JobStatus.COMPLETED:
            return job
        refused += job.no_capacity
        if not job.no_capacity or refused >= context.pipeline.executor.capacity_attempts:
            _fail(context, job)
        context.reporter.step(step, f"{job.reason} ({refused})")
    raise AssertionError("unreachable")


def _pass_over(context: Context, job: Job) -> None:
    """Go on to the next attempt after one that ended; JobFailed where nobody was told yet.

    Whoever left a job, or was killed while it ran, hears how it ended before anything is paid for
    again. The MLflow run says whether somebody was: it holds the reason then.
    """
    if job.status is JobStatus.COMPLETED or job.no_capacity:
        return
    run = context.tracker.run(run_id_of(job))
    if run is not None and FAILURE not in run.tags and not _was_cut_off(job):
        _fail(context, job)
    _close(context, job)


def _was_cut_off(job: Job) -> bool:
    """Tell whether nothing in the job ended it: somebody stopped it, or its machine died."""
    if job.status is JobStatus.STOPPED:
        return not LIMIT.match(job.reason)
    return not job.reason.partition(":")[0].endswith("Error")


def _fail(context: Context, job: Job) -> NoReturn:
    _close(context, job)
    fix = "Fix the cause, commit, and run again; its log is above."
    if job.no_capacity:
        fix = "Try again later, or name another executor.sagemaker.instance.type."
    elif LIMIT.match(job.reason):
        fix = "Give it more time in pipeline.yaml: executor, max_runtime_hours."
    raise JobFailed(f"the job {job.name} failed: {without_secrets(job.reason)}", fix=fix)


def _submit(context: Context, spec: JobSpec) -> bool:
    """Tell whether this made the job: another run may have been faster."""
    try:
        context.executor.submit(spec)
    except JobExists:
        return False
    except KeyboardInterrupt:
        context.executor.stop(spec.name)
        raise
    return True


def _leave(context: Context, step: str, name: str, *, mine: bool) -> Job:  # noqa: ARG001
    context.reporter.step(step, f"job {name}")
    raise Detached(name)


def _wait(context: Context, step: str, name: str, *, mine: bool) -> Job:
    """Follow a job; Detached when somebody else's is left on an interrupt."""
    context.reporter.step(step, f"job {name}")
    try:
        return context.executor.wait(name, lambda line: _show(context.reporter, line))
    except KeyboardInterrupt:
        if not mine:
            raise Detached(name, interrupted=True) from None
        context.executor.stop(name)
        stopped = context.executor.find(name)
        if stopped is not None and stopped.status is not JobStatus.IN_PROGRESS:
            _close(context, stopped)
        raise


def _show(reporter: Reporter, line: str) -> None:
    if match := PROGRESS.fullmatch(line):
        reporter.progress(match["verb"], int(match["done"]), int(match["total"]))
    else:
        reporter.line(without_secrets(line))


def run_id_of(job: Job) -> RunId:
    """Return the MLflow run that was opened for the job."""
    return RunId(job.environment["CLEW_RUN_ID"])


def _close(context: Context, job: Job) -> None:
    """Write into MLflow that a job ended without a result, and why."""
    status = "KILLED" if job.status is JobStatus.STOPPED else "FAILED"
    if context.tracker.run(run_id_of(job)) is not None:
        context.tracker.finish(run_id_of(job), status, job.reason)
