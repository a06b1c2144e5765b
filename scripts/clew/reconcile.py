"""reconcile: finish what was left, run what was lost, and list what is pending.

A push can lose its run: a forge's concurrency group drops the older of two that wait, a runner
dies, a job outlives it. What a run was asked for is in MLflow, and what was pushed is in Git, so
nothing needs to remember it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from clew.asked import REQUEST
from clew.changes import relevant_changes
from clew.context import Context
from clew.dvcfiles import NoPointer
from clew.errors import ClewError, JobFailed, OutsideError, Withdrawn
from clew.identity import CommitSha
from clew.jobs import FAILURE
from clew.lineage import asked_for
from clew.mlflow_runs import RUN, TRAIN
from clew.ports import TrackedRun
from clew.process import process_key, stale_at
from clew.request import RunRequest
from clew.resolve import pointers_at, resolve
from clew.response import Open, Response, bring

PROCESS = "process"
DAY = 86_400  # seconds


@dataclass(frozen=True)
class Pending:
    """A run that is not finished, and why it is to be taken up, or left alone."""

    request: RunRequest
    why: str
    left: str = ""  # why nothing is done about it
    error: ClewError | None = None  # why it can't be told whether it needs a run


@dataclass(frozen=True)
class TakenUp:
    """What became of a pending run."""

    pending: Pending
    outcome: str  # finished | running | refused | failed | left
    detail: str = ""
    response: Response | None = None

    def as_json(self) -> dict[str, Any]:
        request = self.pending.request
        registered = self.response.registered if self.response else None
        return {
            "commit": request.commit,
            "branch": request.branch,
            "params": dict(request.params),
            "why": self.pending.why,
            "outcome": self.outcome,
            "detail": self.detail,
            "model": registered.version.uri if registered else None,
        }


def pending_runs(context: Context, open_at: Open, now: float, days: float) -> Iterator[Pending]:
    """Yield the runs that MLflow holds open, then the branches of the last days without a model.

    `now` is in seconds since 1970. The promotion branch is always looked at.
    """
    branches = context.project.repository.branches()
    seen = set()
    for pending in _left_open(context, now):
        seen.add(pending.request.commit)
        yield pending
    for branch, tip in sorted(branches.items()):
        if tip not in seen and (found := _lost(context, open_at, branch, tip, now - days * DAY)):
            yield found


def take_up(open_at: Open, pending: Pending) -> TakenUp:
    """Bring one pending run as far as it goes now; never raises for what others should not mind."""
    if pending.left or pending.error:
        return told(pending)
    try:
        context = open_at(pending.request)
    except ClewError as error:
        return TakenUp(pending, "failed", str(error))
    response = bring(context, replace(pending.request, unattended=True))
    if isinstance(response.error, JobFailed) and response.error.told_before:
        return TakenUp(pending, "left", str(response.error))
    if isinstance(response.error, Withdrawn):
        return TakenUp(pending, "refused", str(response.error), response)
    if response.error:
        return TakenUp(pending, "failed", str(response.error), response)
    if response.job:
        return TakenUp(pending, "running", response.job, response)
    held_back = response.registered.held_back if response.registered else ""
    return TakenUp(pending, "refused" if response.refused else "finished", held_back, response)


def told(pending: Pending) -> TakenUp:
    """Return what there is to say of a pending run before anything is done about it."""
    if isinstance(pending.error, OutsideError):
        return TakenUp(pending, "failed", str(pending.error))
    left = str(pending.error) if pending.error else pending.left
    return TakenUp(pending, "left" if left else "pending", left)


def _left_open(context: Context, now: float) -> Iterator[Pending]:
    """Yield what the open runs of CI were asked for; nobody's own `clew run` is taken over."""
    known: set[tuple[str, str]] = set()
    for step in (RUN, PROCESS, REQUEST):
        for tracked in context.tracker.runs({"clew.stage": step}):
            tags = tracked.tags
            if tracked.status != "RUNNING" or tags.get("clew.trigger", "local") == "local":
                continue
            request = asked_for(tags)
            if (key := (request.commit, tags.get("clew.params", ""))) in known:
                continue
            known.add(key)
            yield Pending(
                request, f"its run {tracked.id} is open", _untouchable(context, tracked, now)
            )


def _untouchable(context: Context, tracked: TrackedRun, now: float) -> str:
    """Return why an open run must be left alone, empty where it can be taken up."""
    commit = CommitSha(tracked.tags["mlflow.source.git.commit"])
    try:
        context.project.repository.facts(commit)
    except ClewError:
        return f"its commit {commit[:12]} is gone from Git"
    # A job on another runner can't be seen from here; only its time limit says that it has ended.
    ends = tracked.started + context.pipeline.executor.max_seconds
    if tracked.tags.get("clew.executor") == "local" and now < ends:
        return "it may still be running, on the machine that started it"
    return ""


def _lost(
    context: Context, open_at: Open, branch: str, tip: CommitSha, since: float
) -> Pending | None:
    """Return the run that the tip of a branch should have had, None where it needs none.

    What is wrong with one branch is no reason to look at no other.
    """
    main = context.pipeline.promotion.branch
    request = RunRequest(tip, branch=branch, trigger="schedule")
    if branch != main and context.project.repository.facts(tip).time < since:
        return None
    try:
        there = open_at(request)  # by its own pipeline.yaml: stages may have other names there
        if branch != main:
            base = _base(context, tip)
            if base and not relevant_changes(there, base, tip):
                return None
        return _without_model(there, request, promoting=branch == main)
    except ClewError as error:
        return Pending(request, "its branch has no model", error=error)


def _base(context: Context, tip: CommitSha) -> CommitSha | None:
    """Return where a branch left the promotion branch."""
    repository = context.project.repository
    main = repository.branches().get(context.pipeline.promotion.branch)
    return repository.merge_base(main, tip) if main else None


def _without_model(context: Context, request: RunRequest, *, promoting: bool) -> Pending | None:
    with suppress(NoPointer):  # not processed yet; DVC's own words for a conflict say no way out
        pointers_at(context.project, context.pipeline, request.commit)
    if stale := stale_at(context, request):
        key = process_key(context, request.commit)
        return Pending(
            request, f"{', '.join(stale)} never ran for it", _failed(context, PROCESS, key)
        )
    resolution = resolve(
        context.project,
        context.pipeline,
        request.commit,
        executor=context.executor.name,
        overrides={},
    )
    fingerprint = resolution.run_fingerprint
    version = context.tracker.version_of(fingerprint)
    if version is None:
        return Pending(request, "it has no model yet", _failed(context, TRAIN, fingerprint))
    baseline = context.pipeline.promotion.baseline
    if promoting and baseline not in version.aliases and not _decided(context, request):
        return Pending(request, f"{version.uri} does not carry {baseline}")
    return None


def _decided(context: Context, request: RunRequest) -> bool:
    """Tell whether a run on the branch went to its end: the gates have had their say there."""
    tags = {"clew.stage": RUN, "mlflow.source.git.commit": str(request.commit)}
    runs = context.tracker.runs(tags)
    return any(
        one.status == "FINISHED" and one.tags.get("clew.branch") == request.branch for one in runs
    )


def _failed(context: Context, step: str, key: str) -> str:
    """Return how a local job ended that nobody should pay for again at every schedule."""
    if context.executor.usage is not None:
        return ""  # `run` itself starts no job again there that failed by its own fault
    runs = context.tracker.runs({"clew.stage": step, "clew.key": key})
    failed = [one.tags.get(FAILURE, "") for one in runs if one.status == "FAILED"]
    return f"it failed: {failed[-1]}" if failed else ""
