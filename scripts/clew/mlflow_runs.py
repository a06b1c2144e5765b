"""The MLflow runs of one clew run: a parent, and one nested run per step.

Each is found again by its step and by the key of what it computes, so a run that was killed
continues in the same MLflow runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from clew import lineage
from clew.asked import forget
from clew.context import Context
from clew.errors import Detached
from clew.identity import RunFingerprint, RunId
from clew.jobs import FAILURE
from clew.ports import TrackedRun
from clew.process import Processed
from clew.redaction import without_secrets
from clew.request import RunRequest
from clew.resolve import Resolution

RUN, TRAIN, EVALUATE = "run", "train", "evaluate"
# clew's own word for the end of a step: a stage may end the MLflow run by itself.
COMPLETED = {"clew.outcome": "completed"}


def claim(
    context: Context,
    request: RunRequest,
    resolution: Resolution,
    step: str,
    tags: Mapping[str, str] | None = None,
) -> RunId:
    """Return the MLflow run of a step with the whole lineage in it, before anything starts."""
    key = resolution.run_fingerprint
    all_tags = {**lineage.run_tags(context, request), **(tags or {})}
    run_id = context.tracker.claim(step, key, f"{step}-{key[:12]}", all_tags)
    record_lineage(context, resolution, run_id)
    return run_id


def record_lineage(context: Context, resolution: Resolution, run_id: RunId) -> None:
    context.tracker.record(
        run_id,
        params=lineage.run_params(context, resolution),
        dataset=lineage.dataset(context, resolution),
    )


@contextmanager
def opened_run(
    context: Context, request: RunRequest, resolution: Resolution, processed: Processed
) -> Iterator[RunId]:
    """Hold the parent run open, with the processing that led to it nested in it.

    Ends it FINISHED, or FAILED with the reason; left open when the caller stops after a step.
    """
    try:
        parent = claim(context, request, resolution, RUN)
        if processed.run_id is not None:
            forget(context, request)
            record_lineage(context, resolution, processed.run_id)
            context.tracker.record(processed.run_id, tags={"mlflow.parentRunId": parent})
            complete(context, processed.run_id)
        yield parent
    except (GeneratorExit, Detached):
        raise
    except BaseException as error:
        _abandon(context, resolution, error)
        raise
    _sum_up(context, parent)
    complete(context, parent)


def _sum_up(context: Context, parent: RunId) -> None:
    """Write into the parent run what its jobs cost together; what another run paid for is there."""
    if context.executor.usage is None:
        return
    nested = context.tracker.runs({"mlflow.parentRunId": parent})
    for tag in (lineage.BILLED, lineage.COST):
        amounts = [float(run.tags[tag]) for run in nested if tag in run.tags]
        if amounts:
            context.tracker.record(parent, tags={tag: f"{sum(amounts):.6g}"})


def finished_training(context: Context, resolution: Resolution) -> TrackedRun | None:
    """Return the finished training of a resolution."""
    return finished_training_of(context, resolution.run_fingerprint)


def finished_training_of(context: Context, fingerprint: RunFingerprint) -> TrackedRun | None:
    """Return the finished train run with this run fingerprint and all declared metrics."""
    declared = {name for file in context.pipeline.train.metrics for name in file.names}
    identity = {"clew.stage": TRAIN, "clew.key": fingerprint, **COMPLETED}
    runs = context.tracker.runs(identity)
    done = (run for run in runs if run.status == "FINISHED" and declared <= run.metrics.keys())
    return next(done, None)


def complete(context: Context, run_id: RunId) -> None:
    context.tracker.record(run_id, tags=COMPLETED)
    context.tracker.finish(run_id, "FINISHED")


def _abandon(context: Context, resolution: Resolution, error: BaseException) -> None:
    """Write into every open run of this fingerprint that it ended, and why."""
    status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
    reason = str(error) or type(error).__name__
    for step in (RUN, TRAIN, EVALUATE):
        runs = context.tracker.runs({"clew.stage": step, "clew.key": resolution.run_fingerprint})
        told = any(run.tags.get(FAILURE) == without_secrets(reason) for run in runs)
        for run in runs:
            if run.status != "RUNNING":
                continue
            context.tracker.finish(run.id, status, reason)
            if told and step == RUN and not context.tracker.runs({"mlflow.parentRunId": run.id}):
                context.tracker.delete_run(run.id)  # it only met what is told already
