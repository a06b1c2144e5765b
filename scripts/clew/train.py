"""train: one job per run fingerprint, on a bundle of the exact commit and verified data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from clew import lineage
from clew.bundle import Bundle, bundle
from clew.consent.current import standing_at
from clew.consent.standing import refuse_withdrawn
from clew.context import Context
from clew.errors import ClewError, JobFailed, Unverifiable
from clew.identity import RunId
from clew.inputs import inputs_of
from clew.jobs import once_more, run_id_of, run_job, taking_up
from clew.metrics import read_metrics
from clew.mlflow_runs import COMPLETED, TRAIN, claim, finished_training
from clew.ports import Job, JobSpec
from clew.request import RunRequest
from clew.resolve import Resolution


@dataclass(frozen=True)
class Trained:
    run_id: RunId
    metrics: Mapping[str, float]
    reused: bool
    job: Job | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "reused": self.reused,
            "job": self.job.name if self.job else None,
            "metrics": dict(self.metrics),
        }


def train(context: Context, request: RunRequest, resolution: Resolution, parent: RunId) -> Trained:
    """Return the finished training of this run fingerprint, running it if there is none."""
    done = finished_training(context, resolution)
    if done is not None:
        context.reporter.step("train", f"reused: MLflow run {done.id} has this run fingerprint")
        return Trained(done.id, done.metrics, reused=True)
    refuse_withdrawn(standing_at(context, resolution))
    stages = context.pipeline.train.stages
    source = bundle(context, resolution.commit, inputs_of(context, resolution.commit, stages))

    def make(name: str) -> JobSpec:
        nested = {"mlflow.parentRunId": parent}
        run_id = claim(context, request, resolution, TRAIN, nested)
        return _spec(context, request, name, source, run_id, resolution)

    job = run_job(
        context,
        request,
        "train",
        resolution.run_fingerprint,
        make,
        lacks=lambda job: _lacks(context, job),
    )
    return _collect(context, job, parent)


def _spec(
    context: Context,
    request: RunRequest,
    name: str,
    source: Bundle,
    run_id: RunId,
    resolution: Resolution,
) -> JobSpec:
    pipeline = context.pipeline
    return JobSpec(
        name=name,
        bundle=source.path,
        bundle_sha256=source.sha256,
        workdir=context.project.folder or ".",
        stages=pipeline.train.stages,
        remote=context.store.remote(),
        pull=pipeline.data.outputs,
        force=True,
        params=request.params,
        hyperparameters={key: json.dumps(value) for key, value in resolution.params.items()},
        environment={
            "CLEW_RUN_ID": run_id,
            "MLFLOW_RUN_ID": run_id,
            "MLFLOW_TRACKING_URI": context.tracker.uri,
            "MLFLOW_EXPERIMENT_NAME": pipeline.mlflow.experiment,
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        },
        channels={PurePosixPath(path).name: path for path in pipeline.data.outputs},
        model=pipeline.train.model,
        collect=tuple(file.path for file in pipeline.train.metrics),
        max_seconds=pipeline.executor.max_seconds,
        tags=lineage.job_tags(context, lineage.chain(resolution)),
    )


def _collect(context: Context, job: Job, parent: RunId) -> Trained:
    """Bring the job's results into MLflow; doing it twice changes nothing."""
    if job.output is None:
        raise JobFailed(f"the training job {job.name} left no output")
    run_id, data = run_id_of(job), job.output / "output/data"
    metrics = read_metrics(data, context.pipeline.train.metrics)
    context.tracker.save_files(run_id, data, "outputs")
    if not context.tracker.has_model(run_id):
        context.tracker.save_files(run_id, context.executor.model(job.name), "model")
    tags = {**COMPLETED, **lineage.job_record(job), **taking_up(context, job)}
    context.tracker.record(run_id, metrics=metrics, tags={**tags, "mlflow.parentRunId": parent})
    context.tracker.finish(run_id, "FINISHED")
    return Trained(run_id, metrics, reused=False, job=job)


def _lacks(context: Context, job: Job) -> ClewError | None:
    """Return what is not there of all that pipeline.yaml asks for, None where nothing is amiss."""
    run_id, train = run_id_of(job), context.pipeline.train
    if context.tracker.run(run_id) is None:
        return Unverifiable(
            f"the MLflow run {run_id} of the job {job.name} was deleted",
            fix="Restore it with `mlflow runs restore`; else another job is started.",
        )
    again = once_more(context)
    missing = [file.path for file in train.metrics if not _has(job, file.path)]
    if missing:
        return JobFailed(
            f"the training job {job.name} left no {', '.join(missing)}",
            fix=f"Let a train stage write it (train.metrics of pipeline.yaml), and commit.{again}",
        )
    if context.tracker.has_model(run_id) or _holds_files(context.executor.model(job.name)):
        return None
    return JobFailed(
        f"the training job {job.name} left nothing in {train.model}",
        fix=f"Let a train stage write the model there (train.model of pipeline.yaml).{again}",
    )


def _has(job: Job, path: str) -> bool:
    return job.output is not None and (job.output / "output/data" / path).exists()


def _holds_files(folder: Path) -> bool:
    return any(path.is_file() for path in folder.rglob("*"))
