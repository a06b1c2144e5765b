"""plan: what a run would do, without doing any of it."""

from __future__ import annotations

from dataclasses import dataclass

from clew.bundle import bundle
from clew.context import Context
from clew.inputs import inputs_of
from clew.mlflow_runs import finished_training
from clew.preflight import preflight
from clew.process import stale_stages
from clew.request import RunRequest
from clew.version import resolve_request


@dataclass(frozen=True)
class PlannedStep:
    step: str
    action: str  # exists | create | unknown
    detail: str


def plan(context: Context, request: RunRequest) -> list[PlannedStep]:
    """Return what each step would find and make; refuses what a run would refuse."""
    preflight(context, request)
    stages = context.pipeline.data.stages
    if stages and (stale := _stale(context, request, stages)):
        data = PlannedStep("process", "create", f"a processing job for {', '.join(stale)}")
        reason = "depends on the data that processing makes"
        later = ("version", "train", "evaluate", "register")
        return [data, *(PlannedStep(step, "unknown", reason) for step in later)]
    resolution = resolve_request(context, request, request.commit)
    known = not context.tracker.is_new()
    done = finished_training(context, resolution) if known else None
    return [
        PlannedStep("process", "exists", "dvc.lock is up to date"),
        _step("version", resolution.tagged, f"tag {resolution.data_version}"),
        *_training(context, resolution.run_fingerprint, done, known=known),
    ]


def _stale(context: Context, request: RunRequest, stages: tuple[str, ...]) -> tuple[str, ...]:
    if request.reprocess:
        return stages
    source = bundle(context, request.commit, inputs_of(context, request.commit, stages))
    return stale_stages(context, source)


def _training(
    context: Context, fingerprint: str, done: object, *, known: bool
) -> list[PlannedStep]:
    tracked = context.tracker.versions({"run_fingerprint": fingerprint}) if known else []
    version = tracked[0].uri if tracked else f"a version of {context.pipeline.mlflow.model}"
    return [
        _step("train", done is not None, f"training with run fingerprint {fingerprint[:12]}"),
        PlannedStep("evaluate", "create", "gates against the present baseline"),
        _step("register", bool(tracked), version),
    ]


def _step(step: str, exists: bool, detail: str) -> PlannedStep:
    return PlannedStep(step, "exists" if exists else "create", detail)
