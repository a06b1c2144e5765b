"""One job for one key, however often it is asked for: attach to it, or make the next attempt."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from clew import lineage
from clew.asked import remember
from clew.budget import refuse_over_budget
from clew.context import Context
from clew.errors import ClewError, Detached, JobFailed
from clew.identity import RunId
from clew.ports import Job, JobExists, JobSpec, JobStatus, Reporter
from clew.redaction import without_secrets
from clew.request import RunRequest

PROGRESS = re.compile(r"clew: (?P<verb>\w+) (?P<done>\d+)/(?P<total>\d+) files")  # clew.container
FAILURE = "clew.failure"  # the tag in which `Tracker.finish` keeps its reason
TAKEN_UP = "clew.taken_up"  # the tag with the jobs whose results were found whole, by name
WANTED = "clew.wanted_by"  # the tag with the commit whose run last took the job for its own
UNPUBLISHED = "unpublished"  # its value for a commit that the Git remote did not have then
RUNTIME, WAIT = "MaxRuntimeExceeded", "MaxWaitTimeExceeded"  # SageMaker's words for its limits
INPUT = "ClientError"  # SageMaker's word for what it could not bring into the container
DENIED = re.compile(  # IAM's own words
    r"not authorized to perform:? (?P<action>[\w-]+:\w+)"
    r"(?: on resource:? \"?(?P<resource>[^\s\"]+[\w*]))?"
)
OF_AWS = ("InternalServerError", "CapacityError")  # failures that are not the job's own
ENDED = (JobStatus.FAILED, JobStatus.STOPPED)
PROCESS = "process"  # the step that --force does anew

Lacks = Callable[[Job], ClewError | None]  # why what a completed job left will not do


def job_name(pipeline: str, step: str, key: str, attempt: int) -> str:
    """Return the name that makes a job unique: from what it computes, not from when."""
    return f"{pipeline}-{step}-{key[:12]}-{attempt}"


@dataclass(frozen=True)
class Attempt:
    """Which job stands for a key now: one that is there, or the name of the next to start."""

    number: int
    name: str
    job: Job | None  # running, completed, or ended in a way that is not for another attempt
    passed: tuple[Job, ...] = ()  # attempts before it, which left nothing
    lacking: ClewError | None = None  # why what it left, completed as it is, will not do


def attempt_for(
    context: Context, request: RunRequest, step: str, key: str, lacks: Lacks, first: int = 1
) -> Attempt:
    """Look for the job of a key; changes nothing.

    An attempt that left nothing leads to the next one where there is a next one, or where it does
    not `stand`.
    """

    @functools.cache
    def found(number: int) -> Job | None:
        return context.executor.find(job_name(context.pipeline.name, step, key, number))

    passed: list[Job] = []
    for number in itertools.count(first):
        name, job = job_name(context.pipeline.name, step, key, number), found(number)
        if job is None or job.status is JobStatus.IN_PROGRESS:
            return Attempt(number, name, job, tuple(passed))
        completed = job.status is JobStatus.COMPLETED
        lacking = lacks(job) if completed else None
        whole = completed and lacking is None
        if whole and not (_anew(request, step) and taken_up(context, job)):
            return Attempt(number, name, job, tuple(passed))
        # Somebody asked for the one after it: what that left must not be lost behind this one.
        if not whole and found(number + 1) is None and _stays(context, request, step, job):
            return Attempt(number, name, job, tuple(passed), lacking)
        passed.append(job)
    raise AssertionError("unreachable")


def run_job(
    context: Context,
    request: RunRequest,
    step: str,
    key: str,
    make: Callable[[str], JobSpec],
    lacks: Lacks,
) -> Job:
    """Return the completed job of this key with whole results, started if there is none.

    JobFailed when it fails, and the error of `lacks` when its results will not do. One that found
    no machine leads to the next attempt, `capacity_attempts` times: over all runs where nobody
    waits for them, else the end of each job would start the next for ever. Detached when there is a
    job that should not be waited for.
    """
    refused, first = 0, 1
    while True:
        attempt = attempt_for(context, request, step, key, lacks, first)
        if attempt.job is None and (last := _not_for_machines(context, request, attempt.passed)):
            raise _given_up(context, last)
        for job in attempt.passed:
            if job.status is not JobStatus.COMPLETED and not job.no_capacity:
                _close(context, job)
        job = _ended(context, request, step, key, make, attempt)
        if job.status is JobStatus.COMPLETED:
            _record(context, job)
            if lacking := attempt.lacking if job is attempt.job else lacks(job):
                raise _refused(context, job, lacking)
            return job
        refused += job.no_capacity
        if not job.no_capacity or refused >= context.pipeline.executor.capacity_attempts:
            raise _given_up(context, job)
        context.reporter.step(step, f"{job.reason} ({refused})")
        first = attempt.number + 1


def _not_for_machines(context: Context, request: RunRequest, passed: Sequence[Job]) -> Job | None:
    """Return the last attempt where only a person should ask for another.

    That is where as many as are allowed found no machine and nobody waits for them, and where
    somebody stopped it and nobody asked just now.
    """
    if request.retry or not passed:
        return None
    last = passed[-context.pipeline.executor.capacity_attempts :]
    found_none = all(job.no_capacity for job in last)
    if request.detach and found_none and len(last) == context.pipeline.executor.capacity_attempts:
        return last[-1]
    stopped = last[-1].status is JobStatus.STOPPED and _was_cut_off(last[-1])
    return last[-1] if request.unattended and stopped else None


def _given_up(context: Context, job: Job) -> JobFailed:
    """Return the failure, once MLflow holds it; it says whether that was so before."""
    error = failure(context, job)
    error.told_before = _told(context, job)
    _close(context, job)
    return error


def _refused(context: Context, job: Job, lacking: ClewError) -> ClewError:
    """Return why what a job left will not do, once MLflow holds it."""
    if isinstance(lacking, JobFailed):
        lacking.told_before = _told(context, job)
    if context.tracker.run(run_id_of(job)) is not None:
        context.tracker.finish(run_id_of(job), "FAILED", lacking.what)
    return lacking


def _told(context: Context, job: Job) -> bool:
    """Tell whether somebody heard how a job ended: its MLflow run holds the reason then."""
    run = context.tracker.run(run_id_of(job))
    return run is not None and FAILURE in run.tags


def taken_up(context: Context, job: Job) -> bool:
    """Tell whether a job's results were whole once, or nobody keeps account of them any more."""
    run = context.tracker.run(run_id_of(job))
    return run is None or job.name in run.tags.get(TAKEN_UP, "").split()


def taking_up(context: Context, job: Job) -> dict[str, str]:
    """Return the tag of a job's MLflow run by which its results count as taken up."""
    run = context.tracker.run(run_id_of(job))
    known = run.tags.get(TAKEN_UP, "").split() if run else []
    return {TAKEN_UP: " ".join(dict.fromkeys([*known, job.name]))}


def _ended(
    context: Context,
    request: RunRequest,
    step: str,
    key: str,
    make: Callable[[str], JobSpec],
    attempt: Attempt,
) -> Job:
    """Return the job of an attempt when it has ended, started or attached to if need be."""
    found = attempt.job
    if found is not None and found.status is not JobStatus.IN_PROGRESS:
        return found
    mine = False
    if found is None:
        refuse_over_budget(context, step, key)
        spec = replace(make(attempt.name), checkpoints=_checkpoints(attempt))
        _want(context, request, step, RunId(spec.environment["CLEW_RUN_ID"]))
        mine = _submit(context, spec)
    else:
        _want(context, request, step, run_id_of(found))
    if not mine:
        context.reporter.step(step, f"attached to the running job {attempt.name}")
    wait = _leave if request.detach else _wait
    return wait(context, step, attempt.name, mine=mine)


def _checkpoints(attempt: Attempt) -> str:
    """Return the name of the checkpoints that an attempt goes on from.

    Those of attempts that AWS or a person ended; never of one that failed by its own fault, whose
    NaN would come back.
    """
    since = attempt.name
    for job in reversed(attempt.passed):
        if not (job.no_capacity or _was_cut_off(job) or job.reason.startswith(WAIT)):
            break
        since = job.name
    return since


def _anew(request: RunRequest, step: str) -> bool:
    return request.reprocess and step == PROCESS


def _stays(context: Context, request: RunRequest, step: str, job: Job) -> bool:
    """Tell whether a job without whole results is the answer, rather than a reason to try again."""
    if job.status is not JobStatus.COMPLETED:
        return stands(context, request, job)
    # Its own stages and data left nothing, so they would again. What was whole once got lost since.
    if request.retry or _anew(request, step) or taken_up(context, job):
        return False
    return context.executor.usage is not None or not _told(context, job)


def stands(context: Context, request: RunRequest, job: Job) -> bool:
    """Tell whether a job that failed is the answer, rather than a reason to try again.

    Where jobs cost money it is when it failed by its own fault, until --retry. Otherwise whoever
    left it, or was killed while it ran, hears once how it ended: the MLflow run says whether
    somebody was told, it holds the reason then.
    """
    if request.retry or job.no_capacity or _was_cut_off(job):
        return False
    if context.executor.usage is not None and not job.reason.startswith(WAIT):
        return True
    run = context.tracker.run(run_id_of(job))
    return run is not None and FAILURE not in run.tags


def _was_cut_off(job: Job) -> bool:
    """Tell whether nothing in the job ended it: somebody stopped it, or its machine died."""
    if job.status is JobStatus.STOPPED:
        return not job.reason.startswith((RUNTIME, WAIT))
    word = job.reason.partition(":")[0]
    return not word.endswith("Error") or word in OF_AWS


def failure(context: Context, job: Job) -> JobFailed:
    """Return what to say of a job that failed, and how to go on."""
    fix = "Fix the cause, commit, and run again; its log is above."
    if job.no_capacity:
        fix = "Try again later, or name another executor.sagemaker.instance.type."
    elif _was_cut_off(job):
        fix = "Run it again: that starts another."
    elif job.reason.startswith((RUNTIME, WAIT)):
        key = "max_runtime_hours" if job.reason.startswith(RUNTIME) else "spot.max_wait_hours"
        fix = f"Give it more time in pipeline.yaml: executor, {key}.{once_more(context)}"
    elif found := DENIED.search(job.reason):
        what = f"{found['action']} on {found['resource']}" if found["resource"] else found["action"]
        fix = f"Allow the job's role {what}.{once_more(context)}"
    elif job.reason.startswith(INPUT):
        fix = f"See what its role may not read: `clew doctor`.{once_more(context)}"
    elif context.executor.usage is not None:
        fix = f"Fix the cause, and commit.{once_more(context)}"
    return JobFailed(f"the job {job.name} failed: {without_secrets(job.reason)}", fix=fix)


def once_more(context: Context) -> str:
    """Return how the same is paid for again, where jobs cost money."""
    if context.executor.usage is None:
        return ""
    return " The same is paid for once more only by `clew run --retry`."


def _want(context: Context, request: RunRequest, step: str, run_id: RunId) -> None:
    """Write into MLflow for which commit a job runs, so that `clew jobs` knows when none does.

    A MLflow run that was closed although its job went on is open again.
    """
    run = context.tracker.run(run_id)
    if run is None:
        return
    if step == PROCESS:
        remember(context, request, run)
    if context.executor.usage is None:
        return
    if run.status in ("FAILED", "KILLED"):
        context.tracker.finish(run_id, "RUNNING")
    there = context.project.repository.on_remote(request.commit)
    context.tracker.record(run_id, tags={WANTED: request.commit if there else UNPUBLISHED})


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
    try:
        context.reporter.step(step, f"job {name}")
        return context.executor.wait(name, lambda line: _show(context.reporter, line))
    except KeyboardInterrupt:
        # The executor may have stopped it already, also somebody else's, where that was wished.
        if (found := context.executor.find(name)) and found.status is JobStatus.IN_PROGRESS:
            if not mine:
                raise Detached(name, interrupted=True) from None
            context.executor.stop(name)
            found = context.executor.find(name)
        if found is not None and found.status in ENDED:
            _close(context, found)
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
    _record(context, job)
    if context.tracker.run(run_id_of(job)) is not None:
        context.tracker.finish(run_id_of(job), status, job.reason)


def _record(context: Context, job: Job) -> None:
    """Write into MLflow what a job cost, also one that failed."""
    if context.executor.usage is not None and context.tracker.run(run_id_of(job)) is not None:
        context.tracker.record(run_id_of(job), tags=lineage.job_record(job))
