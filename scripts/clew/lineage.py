"""The record that clew writes into MLflow: a public contract, so its names never change."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

from clew.context import Context
from clew.identity import CommitSha
from clew.ports import Job, TrackedDataset
from clew.request import RunRequest
from clew.resolve import Resolution

DIGEST_CHARACTERS = 36  # MLflow's limit for a dataset digest
PARAM_CHARACTERS = 6_000  # and for the value of a param
NAMES = (
    "data_git_commit_id",
    "data_version",
    "data_fingerprint",
    "run_fingerprint",
    "code_git_commit_id",
)
RESERVED = (*NAMES, "dvc_repo_url", "dvc_remote_url")
SECONDS = "clew.job_seconds"  # how long the job ran, without waiting for a machine
COST = "clew.cost_usd"  # billable seconds by the number of instances and their price
BILLED = "sagemaker.billable_seconds"
CHARGED = (  # the tags of a job's run that say what was paid for
    *(BILLED, "sagemaker.training_seconds", "sagemaker.processing_seconds"),
    *("sagemaker.spot_saving_percent", COST),
)


def run_params(context: Context, resolution: Resolution) -> dict[str, str]:
    """Return the params of every run: the chain, then what the train stages read."""
    return {
        **{key: recorded_param(value) for key, value in resolution.params.items()},
        **chain(resolution),
        "dvc_repo_url": repository_url(context),
        "dvc_remote_url": context.store.remote().shown_url,
    }


def recorded_param(value: object) -> str:
    """Return a param as MLflow keeps it."""
    return str(value)[:PARAM_CHARACTERS]


def chain(resolution: Resolution) -> dict[str, str]:
    """Return the five facts that lead from a model to its data and code."""
    return {
        "data_git_commit_id": resolution.data_git_commit_id,
        "data_version": resolution.data_version,
        "data_fingerprint": resolution.data_fingerprint,
        "run_fingerprint": resolution.run_fingerprint,
        "code_git_commit_id": resolution.commit,
    }


def run_tags(context: Context, request: RunRequest) -> dict[str, str]:
    """Return what was asked for: enough to ask for the same again, see `asked_for`."""
    asked = {
        "clew.branch": request.branch or "",
        "clew.params": json.dumps(dict(request.params)) if request.params else "",
        "clew.actor": request.actor,
        "clew.reason": request.reason,
        "clew.instance": request.instance,
    }
    return {
        "clew.trigger": request.trigger,
        "clew.executor": context.executor.name,
        "clew.dirty": str(request.dirty).lower(),
        "mlflow.source.git.commit": request.commit,
        **{key: value for key, value in asked.items() if value},
    }


def asked_for(tags: Mapping[str, str]) -> RunRequest:
    """Return what a run was asked for, from the tags that `run_tags` gave it."""
    return RunRequest(
        commit=CommitSha(tags["mlflow.source.git.commit"]),
        branch=tags.get("clew.branch"),
        trigger=tags["clew.trigger"],
        actor=tags.get("clew.actor", ""),
        reason=tags.get("clew.reason", ""),
        executor=tags["clew.executor"],
        instance=tags.get("clew.instance", ""),
        params=json.loads(tags.get("clew.params", "{}")),
        dirty=tags.get("clew.dirty") == "true",
    )


def job_tags(context: Context, facts: Mapping[str, str]) -> dict[str, str]:
    """Return the AWS tags of a job."""
    named = {"clew:pipeline": context.pipeline.name}
    return named | {f"clew:{key}": value for key, value in facts.items()}


def job_record(job: Job) -> dict[str, str]:
    """Return the MLflow tags that tell which job a run was, and what it cost."""
    tags = {"clew.job": job.name, SECONDS: f"{job.seconds:.1f}"}
    kind = "processing" if ":processing-job/" in job.arn else "training"
    if job.arn:
        tags |= {f"sagemaker.{kind}_job_name": job.name, f"sagemaker.{kind}_job_arn": job.arn}
    if job.billable_seconds is not None:
        tags[BILLED] = f"{job.billable_seconds:g}"
        tags[f"sagemaker.{kind}_seconds"] = f"{job.seconds:g}"
        if job.spot and job.seconds:
            saved = 100 * (1 - job.billable_seconds / job.seconds)
            tags["sagemaker.spot_saving_percent"] = f"{saved:.0f}"
    if job.cost_usd is not None:
        tags[COST] = f"{job.cost_usd:.6g}"
    return tags


def dataset(context: Context, resolution: Resolution) -> TrackedDataset:
    """Return the data version as an MLflow dataset input."""
    paths = [context.project.path(pointer.path) for pointer in resolution.outputs]
    return TrackedDataset(
        name=resolution.data_version,
        digest=resolution.data_fingerprint[:DIGEST_CHARACTERS],
        source={
            "url": repository_url(context),
            "rev": resolution.data_git_commit_id,
            "paths": shlex.join(paths),
            "remote": context.store.remote().shown_url,
        },
    )


def repository_url(context: Context) -> str:
    """Return where the repository can be cloned from, without credentials."""
    repository = context.project.repository
    return repository.remote_url() or str(repository.root)
