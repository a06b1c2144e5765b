"""SageMaker's own list of a pipeline's jobs, and what each of them costs.

Jobs that have ended are described once: their figures never change, and reading is limited to two
calls a second.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clew.adapters.aws import Aws, translated
from clew.identity import RunId
from clew.ports import JobStatus
from clew.prices import BilledJob, Usage, price_of

Described = Mapping[str, Any]
KINDS = {"process": "Processing", "train": "Training"}
STATUS = dict.fromkeys(("Stopping", "Deleting"), JobStatus.IN_PROGRESS)
NAME_CHARACTERS = 63  # of NameContains
PAGE = 100  # SageMaker's largest
COMMIT = "clew:code_git_commit_id"


class SageMakerUsage(Usage):
    """The jobs of one region."""

    def __init__(self, aws: Aws, prices: Mapping[str, float], folder: Path) -> None:
        self._aws = aws
        self._prices = prices  # the user's own
        self._folder = folder  # what is known of jobs that have ended

    @property
    def _client(self) -> Any:
        return self._aws.client("sagemaker")

    @translated
    def jobs(
        self,
        pipeline: str,
        *,
        step: str | None = None,
        since: datetime | None = None,
        status: JobStatus | None = None,
        most: int | None = None,
    ) -> list[BilledJob]:
        chosen = KINDS if step is None else {step: KINDS[step]}
        found = [
            self._billed(kind, row)
            for name, kind in chosen.items()
            for row in itertools.islice(self._listed(pipeline, name, since, status), most)
        ]
        return sorted(found, key=lambda job: job.created, reverse=True)

    @translated
    def commit(self, arn: str) -> str:
        tags = self._client.list_tags(ResourceArn=arn)["Tags"]
        return next((str(tag["Value"]) for tag in tags if tag["Key"] == COMMIT), "")

    def _listed(
        self, pipeline: str, step: str, since: datetime | None, status: JobStatus | None
    ) -> Iterator[Described]:
        kind = KINDS[step]
        wanted: dict[str, Any] = {"CreationTimeAfter": since} if since else {}
        if status is not None:
            wanted["StatusEquals"] = status.value
        pages = self._client.get_paginator(f"list_{kind.lower()}_jobs").paginate(
            NameContains=f"{pipeline}-{step}-"[:NAME_CHARACTERS],
            SortBy="CreationTime",
            SortOrder="Descending",
            PaginationConfig={"PageSize": PAGE},
            **wanted,
        )
        # Another pipeline's name may end with this one's.
        own = re.compile(rf"{re.escape(pipeline)}-{step}-[0-9a-f]{{12}}-[0-9]+")
        for page in pages:
            for row in page[f"{kind}JobSummaries"]:
                if own.fullmatch(row[f"{kind}JobName"]):
                    yield row

    def _billed(self, kind: str, row: Described) -> BilledJob:
        arn = row[f"{kind}JobArn"]
        file = self._folder / f"{hashlib.sha256(arn.encode()).hexdigest()}.json"
        job = _kept(file)
        if job is None:
            describe = getattr(self._client, f"describe_{kind.lower()}_job")
            found = describe(**{f"{kind}JobName": row[f"{kind}JobName"]})
            job = billed(kind, found)
            if job.status is not JobStatus.IN_PROGRESS and not _is_kept_warm(found):
                _keep(file, job)
        return replace(job, price_usd=price_of(job.instance_type, self._prices))


def billed(kind: str, found: Described) -> BilledJob:
    """Return the figures of a described job, without a price.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html says how
    they are to be read: BillableTimeInSeconds is of each instance.
    """
    said = found[f"{kind}JobStatus"]
    status = STATUS.get(said) or JobStatus(said)
    instances = instances_of(kind, found)
    seconds = seconds_of(kind, found)
    billable = found.get("BillableTimeInSeconds")
    warm = found.get("WarmPoolStatus", {}).get("ResourceRetainedBillableTimeInSeconds", 0)
    most_warm = instances.get("KeepAlivePeriodInSeconds", 0)
    environment = found.get("Environment", {})
    return BilledJob(
        name=found[f"{kind}JobName"],
        arn=found[f"{kind}JobArn"],
        status=status,
        created=found["CreationTime"].astimezone(UTC),
        seconds=seconds,
        billable_seconds=(seconds if billable is None else billable)
        + (most_warm if _is_kept_warm(found) else warm),
        most_seconds=found["StoppingCondition"]["MaxRuntimeInSeconds"] + most_warm,
        instance_type=instances["InstanceType"],
        instance_count=instances["InstanceCount"],
        run_id=environment.get("CLEW_RUN_ID"),
        tracking_uri=environment.get("MLFLOW_TRACKING_URI", ""),
    )


def instances_of(kind: str, found: Described) -> Described:
    """Return what a job runs on."""
    if kind == "Training":
        resources: Described = found["ResourceConfig"]
        return resources
    cluster: Described = found["ProcessingResources"]["ClusterConfig"]
    return cluster


def seconds_of(kind: str, found: Described) -> float:
    """Return how long a job's instances have worked; processing jobs say only when."""
    if "TrainingTimeInSeconds" in found:
        return float(found["TrainingTimeInSeconds"])
    start = found.get(f"{kind}StartTime")
    end = found.get(f"{kind}EndTime") or datetime.now(UTC)
    return float((end - start).total_seconds()) if start else 0.0


def _is_kept_warm(found: Described) -> bool:
    """Tell whether the instances wait for a next job, which is charged for."""
    return found.get("WarmPoolStatus", {}).get("Status") in ("Available", "InUse")


def _kept(file: Path) -> BilledJob | None:
    try:
        fields = json.loads(file.read_bytes())
        return BilledJob(
            **fields
            | {
                "status": JobStatus(fields["status"]),
                "created": datetime.fromisoformat(fields["created"]),
                "run_id": RunId(fields["run_id"]) if fields["run_id"] else None,
            }
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or of another version of clew


def _keep(file: Path, job: BilledJob) -> None:
    fields = asdict(replace(job, tracking_uri=""))
    fields |= {"status": job.status.value, "created": job.created.isoformat()}
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(fields))
    draft.rename(file)
