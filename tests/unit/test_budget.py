"""What a job may cost, what was spent, and which failures are paid for once more."""

from __future__ import annotations

import dataclasses
import gzip
import importlib.util
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from clew.adapters.sagemaker_usage import billed
from clew.budget import Estimate, estimate, refuse_over_budget
from clew.config.model import Budget, Executor, Instance, SageMaker, Spot
from clew.context import Context
from clew.errors import ClewError, ConfigError, OutsideError, OverBudget
from clew.identity import CommitSha, RunId
from clew.jobs import stands
from clew.ports import Job, JobStatus, TrackedRun
from clew.prices import BilledJob, Usage, listed, price_of, usd
from clew.request import RunRequest
from tests.gitrepo import pipeline

KEY = "f" * 64
SETTINGS = SageMaker(
    role="arn:aws:iam::123456789012:role/clew-training",
    region="eu-west-1",
    s3_prefix="s3://bucket/clew",
    image="image",
    instance=Instance("ml.m5.large", 2),
    max_runtime_hours=10,
    prices={"ml.m5.large": 1.0},
)
RUNNING = JobStatus.IN_PROGRESS


def billed_job(number: int = 1, **change: Any) -> BilledJob:
    given: dict[str, Any] = {
        "name": f"p-train-{'a' * 12}-{number}",
        "arn": f"arn:{number}",
        "status": JobStatus.COMPLETED,
        "created": datetime.now(UTC),
        "seconds": 3600.0,
        "billable_seconds": 3600.0,
        "most_seconds": 36_000.0,
        "instance_type": "ml.m5.large",
        "instance_count": 2,
        "price_usd": 1.0,
    }
    return BilledJob(**given | change)


class FakeUsage(Usage):
    """Holds jobs in memory; breaks where it should."""

    def __init__(self, *jobs: BilledJob, error: ClewError | None = None) -> None:
        self._jobs, self._error = jobs, error

    def jobs(
        self,
        pipeline: str,
        *,
        step: str | None = None,
        since: datetime | None = None,
        status: JobStatus | None = None,
        most: int | None = None,
    ) -> list[BilledJob]:
        if self._error:
            raise self._error
        found = [
            job
            for job in self._jobs
            if (step is None or f"-{step}-" in job.name)
            and (since is None or job.created >= since)
            and status in (None, job.status)
        ]
        return found[:most]

    def commit(self, arn: str) -> str:
        return ""


class FakeExecutor:
    def __init__(self, usage: Usage | None, *jobs: Job) -> None:
        self.usage = usage
        self._jobs = {job.name: job for job in jobs}

    def find(self, name: str) -> Job | None:
        return self._jobs.get(name)


class FakeTracker:
    def __init__(self, *runs: TrackedRun) -> None:
        self._runs = runs

    def run(self, run_id: RunId) -> TrackedRun | None:
        return next((run for run in self._runs if run.id == run_id), None)

    def runs(self, tags: Mapping[str, str]) -> list[TrackedRun]:
        return [run for run in self._runs if tags.items() <= run.tags.items()]


def tracked(run_id: str, status: str = "RUNNING", **tags: str) -> TrackedRun:
    named = {key.replace("__", "."): value for key, value in tags.items()}
    return TrackedRun(RunId(run_id), status, {}, named, {})


def context(
    usage: Usage | None,
    settings: SageMaker = SETTINGS,
    jobs: tuple[Job, ...] = (),
    runs: tuple[TrackedRun, ...] = (),
) -> Context:
    executor = Executor(use="sagemaker", sagemaker=settings)
    return Context(
        project=cast(Any, None),
        pipeline=dataclasses.replace(pipeline(), executor=executor),
        store=cast(Any, None),
        executor=cast(Any, FakeExecutor(usage, *jobs)),
        tracker=cast(Any, FakeTracker(*runs)),
        reporter=cast(Any, None),
        log=cast(Any, None),
        state=Path(),
    )


def within(settings: SageMaker = SETTINGS, **budget: float) -> SageMaker:
    return dataclasses.replace(settings, budget=Budget(**budget))


# --- estimates ---------------------------------------------------------------------------------


def bound(step: str, settings: SageMaker = SETTINGS, *jobs: BilledJob) -> Estimate:
    found = estimate(context(FakeUsage(*jobs), settings), step)
    assert found is not None
    return found


def test_the_worst_case_is_all_instances_for_all_the_time_at_the_price_on_demand() -> None:
    assert bound("train").worst_usd == 20
    assert bound("process").worst_usd == 10  # by one instance
    spot = dataclasses.replace(SETTINGS, spot=Spot(max_wait_hours=40))
    assert bound("train", spot).worst_usd == 20
    warm = dataclasses.replace(SETTINGS, keep_alive_minutes=60)
    assert bound("train", warm).worst_usd == 22
    assert bound("process", warm).worst_usd == 10


def test_the_likely_case_is_what_such_jobs_did() -> None:
    seconds = (1800.0, 90_000.0, 3600.0)
    same = [billed_job(n, billable_seconds=value) for n, value in enumerate(seconds)]
    other = [
        billed_job(7, billable_seconds=9.0, instance_type="ml.m5.xlarge"),
        billed_job(8, billable_seconds=9.0, status=JobStatus.FAILED),
        billed_job(9, billable_seconds=9.0, name=f"p-process-{'a' * 12}-1"),
    ]
    assert bound("train", SETTINGS, *same, *other).likely_usd == 2
    assert bound("train").likely_usd is None


def test_an_estimate_needs_neither_history_nor_price() -> None:
    broken = FakeUsage(error=OutsideError("AWS is away"))
    found = estimate(context(broken), "train")
    assert found is not None
    assert found.worst_usd == 20
    nameless = dataclasses.replace(SETTINGS, instance=Instance("ml.x9.large"))
    assert bound("train", nameless).worst_usd is None
    assert "ml.x9.large" in str(bound("train", nameless))


def test_what_costs_nothing_has_no_estimate() -> None:
    assert estimate(context(None), "train") is None
    refuse_over_budget(context(None, within(per_run_usd=0.01)), "train", KEY)


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "most"), [("process", 30), ("train", 20)])
def test_a_run_may_cost_what_its_jobs_may_together(step: str, most: float) -> None:
    refuse_over_budget(context(FakeUsage(), within(per_run_usd=most)), step, KEY)
    with pytest.raises(OverBudget, match="per_run_usd") as refused:
        refuse_over_budget(context(FakeUsage(), within(per_run_usd=most - 1)), step, KEY)
    assert refused.value.exit_code == 1


def test_the_processing_of_a_run_counts_when_it_comes_to_train() -> None:
    runs = (
        tracked("old", "FAILED", clew__stage="run", clew__key=KEY),
        tracked("now", clew__stage="run", clew__key=KEY),
        tracked("p1", clew__stage="process", mlflow__parentRunId="old", clew__job="one"),
        tracked("p2", clew__stage="process", mlflow__parentRunId="now", clew__job="two"),
    )
    jobs = tuple(Job(name, JobStatus.COMPLETED, {}, cost_usd=3.0) for name in ("one", "two"))
    refuse_over_budget(context(FakeUsage(), within(per_run_usd=23), jobs, runs), "train", KEY)
    with pytest.raises(OverBudget, match=r"\$3\.00"):
        refuse_over_budget(context(FakeUsage(), within(per_run_usd=22), jobs, runs), "train", KEY)


def test_a_month_counts_what_was_paid_and_what_may_be() -> None:
    first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    jobs = [
        billed_job(1, created=first),  # $2
        billed_job(2, status=JobStatus.FAILED),  # $2
        billed_job(3, status=RUNNING, billable_seconds=1.0),  # $20
        billed_job(4, created=first - timedelta(seconds=1)),
    ]
    refuse_over_budget(context(FakeUsage(*jobs), within(per_month_usd=44)), "train", KEY)
    with pytest.raises(OverBudget, match=r"come to \$24\.00; .*per_month_usd is \$43\.00"):
        refuse_over_budget(context(FakeUsage(*jobs), within(per_month_usd=43)), "train", KEY)


def test_what_is_not_known_is_not_nothing() -> None:
    month = within(per_month_usd=1000)
    with pytest.raises(OutsideError, match=r"can't be read.*AWS is away"):
        refuse_over_budget(
            context(FakeUsage(error=OutsideError("AWS is away")), month), "train", KEY
        )
    unpriced = billed_job(price_usd=None, instance_type="ml.x9.large")
    with pytest.raises(ConfigError, match=r"ml\.x9\.large") as refused:
        refuse_over_budget(context(FakeUsage(unpriced), month), "train", KEY)
    assert "executor.sagemaker.prices" in refused.value.fix


# --- what SageMaker says -----------------------------------------------------------------------

BEGAN = datetime(2026, 11, 2, 12, tzinfo=UTC)
TRAINING = {
    "TrainingJobName": "p-train-1",
    "TrainingJobArn": "arn",
    "TrainingJobStatus": "Completed",
    "CreationTime": BEGAN,
    "TrainingStartTime": BEGAN,
    "TrainingEndTime": BEGAN + timedelta(hours=1),
    "TrainingTimeInSeconds": 3000,
    "BillableTimeInSeconds": 900,
    "StoppingCondition": {"MaxRuntimeInSeconds": 7200},
    "ResourceConfig": {
        "InstanceType": "ml.m5.large",
        "InstanceCount": 2,
        "KeepAlivePeriodInSeconds": 600,
    },
}


@pytest.mark.parametrize(
    ("change", "seconds", "charged"),
    [
        ({}, 3000, 900),
        ({"WarmPoolStatus": {"Status": "Available"}}, 3000, 1500),
        (
            {"WarmPoolStatus": {"Status": "Reused", "ResourceRetainedBillableTimeInSeconds": 60}},
            3000,
            960,
        ),
        ({"BillableTimeInSeconds": None, "TrainingJobStatus": "Failed"}, 3000, 3000),
        (
            dict.fromkeys(("BillableTimeInSeconds", "TrainingTimeInSeconds", "TrainingStartTime")),
            0,
            0,
        ),
    ],
)
def test_what_is_charged_for_a_training(
    change: dict[str, Any], seconds: float, charged: float
) -> None:
    found = {key: value for key, value in (TRAINING | change).items() if value is not None}
    job = dataclasses.replace(billed("Training", found), price_usd=1.0)
    assert (job.seconds, job.billable_seconds) == (seconds, charged)
    assert job.cost_usd == job.worst_usd == charged * 2 / 3600
    running = dataclasses.replace(job, status=RUNNING)
    assert running.worst_usd == (7200 + 600) * 2 / 3600


@pytest.mark.parametrize("said", ["InProgress", "Stopping", "Deleting"])
def test_a_job_on_its_way_to_an_end_is_not_at_it(said: str) -> None:
    assert billed("Training", TRAINING | {"TrainingJobStatus": said}).status is RUNNING


def test_the_table_names_instance_types_of_sagemaker() -> None:
    if importlib.util.find_spec("botocore") is None:
        pytest.skip("the extra `sagemaker` is not installed")
    import botocore

    (file,) = Path(botocore.__file__).parent.glob("data/sagemaker/*/service-2.json*")
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    shapes = json.loads(content)["shapes"]
    known = {*shapes["TrainingInstanceType"]["enum"], *shapes["ProcessingInstanceType"]["enum"]}
    assert listed().keys() <= known
    assert price_of("ml.m5.large", {}) == listed()["ml.m5.large"]
    assert price_of("ml.m5.large", {"ml.m5.large": 7}) == 7
    assert price_of("ml.x9.large", {}) is None


def test_small_amounts_are_shown_too() -> None:
    shown = [usd(amount) for amount in (None, 0.0, 0.00012345, 0.115, 1.005, 1234.5)]
    assert shown == ["unknown cost", "$0.00", "under $0.01", "$0.12", "$1.00", "$1234.50"]


# --- which failures are paid for again -----------------------------------------------------------

FAILED, STOPPED = JobStatus.FAILED, JobStatus.STOPPED


@pytest.mark.parametrize(
    ("status", "reason", "paid", "free"),
    [
        (FAILED, "AlgorithmError: the loss is NaN", True, False),
        (FAILED, "ClientError: Data download failed", True, False),
        (STOPPED, "MaxRuntimeExceeded: the job took longer", True, False),
        (STOPPED, "MaxWaitTimeExceeded: the job took longer", False, False),
        (STOPPED, "stopped on request", False, False),
        (FAILED, "InternalServerError: We encountered an internal error.", False, False),
        (FAILED, "its supervisor was killed", False, False),
    ],
)
def test_only_a_jobs_own_failure_stands_and_only_where_it_cost_money(
    status: JobStatus, reason: str, paid: bool, free: bool
) -> None:
    job = Job("j", status, {"CLEW_RUN_ID": "r"}, reason=reason)
    told = (tracked("r", "FAILED", clew__failure="yes"),)
    request = RunRequest(CommitSha("c"))
    assert stands(context(FakeUsage(), runs=told), request, job) is paid
    assert stands(context(None, runs=told), request, job) is free
    again = dataclasses.replace(request, retry=True)
    assert not stands(context(FakeUsage(), runs=told), again, job)


@pytest.mark.parametrize("usage", [None, FakeUsage()])
def test_what_nobody_was_told_is_told_once(usage: Usage | None) -> None:
    job = Job("j", STOPPED, {"CLEW_RUN_ID": "r"}, reason="MaxWaitTimeExceeded: too long")
    request = RunRequest(CommitSha("c"))
    assert stands(context(usage, runs=(tracked("r"),)), request, job)
    assert not stands(context(usage), request, job)
