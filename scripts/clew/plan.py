"""plan: what a run would do, without doing any of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clew.budget import Estimate, estimate, refuse_over_budget
from clew.context import Context
from clew.jobs import ENDED, attempt_for, failure
from clew.mlflow_runs import finished_training
from clew.ports import TrackedRun
from clew.preflight import preflight
from clew.process import process_key, stale_at
from clew.request import RunRequest
from clew.version import resolve_request


@dataclass(frozen=True)
class PlannedStep:
    step: str
    action: str  # exists | create | unknown
    detail: str
    estimate: Estimate | None = None  # of the job that would be started, where it costs money

    def as_json(self) -> dict[str, Any]:
        shown = {"step": self.step, "action": self.action, "detail": self.detail}
        return shown | ({"estimate": self.estimate.as_json()} if self.estimate else {})


def plan(context: Context, request: RunRequest) -> list[PlannedStep]:
    """Return what each step would find and make; refuses what a run would refuse."""
    preflight(context, request)
    if stale := stale_at(context, request):
        detail = f"a processing job for {', '.join(stale)}"
        data = _job(context, request, "process", process_key(context, request.commit), detail)
        reason = "depends on the data that processing makes"
        later = {"version": None, "train": estimate(context, "train")}
        later |= {"evaluate": None, "register": None}
        return [data, *(PlannedStep(s, "unknown", reason, cost) for s, cost in later.items())]
    resolution = resolve_request(context, request, request.commit)
    known = not context.tracker.is_new()
    done = finished_training(context, resolution) if known else None
    return [
        PlannedStep("process", "exists", "dvc.lock is up to date"),
        _step("version", resolution.tagged, f"tag {resolution.data_version}"),
        *_training(context, request, resolution.run_fingerprint, done, known=known),
    ]


def _training(
    context: Context, request: RunRequest, fingerprint: str, done: TrackedRun | None, *, known: bool
) -> list[PlannedStep]:
    tracked = context.tracker.versions({"run_fingerprint": fingerprint}) if known else []
    version = tracked[0].uri if tracked else f"a version of {context.pipeline.mlflow.model}"
    detail = f"training with run fingerprint {fingerprint[:12]}"
    return [
        PlannedStep("train", "exists", detail)
        if done
        else _job(context, request, "train", fingerprint, detail),
        PlannedStep("evaluate", "create", "gates against the present baseline"),
        _step("register", bool(tracked), version),
    ]


def _job(context: Context, request: RunRequest, step: str, key: str, detail: str) -> PlannedStep:
    """Return what a run would do about a job: take one that is there, or start one."""
    if context.executor.usage is None:
        return PlannedStep(step, "create", detail)
    attempt = attempt_for(context, request, step, key, lacks=lambda _job: None)
    job = attempt.job
    if job is None:
        refuse_over_budget(context, step, key)
        return PlannedStep(step, "create", detail, estimate(context, step))
    if job.status in ENDED:
        raise failure(context, job)
    return PlannedStep(step, "exists", f"{detail}: the job {job.name} ({job.status.value})")


def _step(step: str, exists: bool, detail: str) -> PlannedStep:
    return PlannedStep(step, "exists" if exists else "create", detail)
