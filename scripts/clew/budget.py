"""budget: what a job may cost, and whether that may still be spent.

A refusal goes by the worst case, all the time that a job may take at the price on demand: spot
instances may turn out as dear. What was spent is read from the executor, whose jobs cost money also
when they failed and MLflow never heard of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from clew.config.model import Budget, SageMaker
from clew.context import Context
from clew.errors import ClewError, ConfigError, OverBudget
from clew.ports import JobStatus
from clew.prices import Usage, cost, price_of, usd

PROCESS, TRAIN = "process", "train"
RECENT = 5  # jobs that a likely cost is taken from


@dataclass(frozen=True)
class Estimate:
    """What a job would cost, in USD; None where that can't be told."""

    instance_type: str
    instance_count: int
    most_seconds: int
    worst_usd: float | None
    likely_usd: float | None = None  # as earlier ones did

    def __str__(self) -> str:
        if self.worst_usd is None:
            return f"unknown cost: executor.sagemaker.prices has no {self.instance_type}"
        likely = "" if self.likely_usd is None else f", likely {usd(self.likely_usd)}"
        what = f"{self.instance_count} x {self.instance_type}"
        return f"at most {usd(self.worst_usd)}{likely} ({what})"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def estimate(context: Context, step: str) -> Estimate | None:
    """Return what a step's job would cost; None where jobs cost nothing."""
    settings, usage = _paid(context)
    if settings is None or usage is None:
        return None
    bound = _bound(context, settings, step)
    try:
        seconds = _usual_seconds(context, usage, step, bound)
    except ClewError:
        return bound  # nothing hangs on it
    price = price_of(bound.instance_type, settings.prices)
    likely = None if seconds is None else cost(price, seconds, bound.instance_count)
    return Estimate(**asdict(bound) | {"likely_usd": likely})


def refuse_over_budget(context: Context, step: str, key: str) -> None:
    """Raise OverBudget when a job about to be started could cost more than may be spent.

    ConfigError when a price is missing; the executor's own error when this month's jobs can't be
    read: what isn't known is not nothing.
    """
    settings, usage = _paid(context)
    if settings is None or usage is None or settings.budget == Budget():
        return
    worst = _worst(context, settings, step)
    if (limit := settings.budget.per_run_usd) is not None:
        _refuse_run(context, settings, step, key, worst, limit)
    if (limit := settings.budget.per_month_usd) is not None:
        spent = _spent_this_month(context, usage)
        if spent + worst > limit:
            raise _over(
                f"a {step} job may cost {usd(worst)}, and this month's jobs of "
                f"{context.pipeline.name} come to {usd(spent)}",
                "per_month_usd",
                limit,
            )


def _refuse_run(
    context: Context, settings: SageMaker, step: str, key: str, worst: float, limit: float
) -> None:
    """Hold a run's two jobs together against the limit: half a run is money for nothing."""
    if step == PROCESS:
        rest = _worst(context, settings, TRAIN)
        other = f"the training after it {usd(rest)}"
    else:
        rest = _processing_of(context, settings, key)
        other = f"the processing before it has cost {usd(rest)}"
    if worst + rest > limit:
        said = f"a {step} job may cost {usd(worst)}" + (f" and {other}" if rest else "")
        raise _over(said, "per_run_usd", limit)


def _over(what: str, key: str, limit: float) -> OverBudget:
    return OverBudget(
        f"{what}; executor.sagemaker.budget.{key} is {usd(limit)}: nothing was started",
        fix=f"Raise budget.{key}, or lower max_runtime_hours or the instance's type or count.",
    )


def _paid(context: Context) -> tuple[SageMaker | None, Usage | None]:
    return context.pipeline.executor.sagemaker, context.executor.usage


def _bound(context: Context, settings: SageMaker, step: str) -> Estimate:
    """Return the worst case: all instances for as long as they may run, and be kept warm."""
    count, seconds = 1, context.pipeline.executor.max_seconds
    if step == TRAIN:
        count = settings.instance.count
        seconds += int(settings.keep_alive_minutes * 60)
    price = price_of(settings.instance.type, settings.prices)
    return Estimate(settings.instance.type, count, seconds, cost(price, seconds, count))


def _worst(context: Context, settings: SageMaker, step: str) -> float:
    worst = _bound(context, settings, step).worst_usd
    return _priced(worst, settings.instance.type, f"a {step} job")


def _priced(amount: float | None, instance_type: str, what: str) -> float:
    """Return an amount that a budget can be held against."""
    if amount is None:
        raise ConfigError(
            f"there is a budget, but no price of {instance_type}, which {what} would be charged by",
            fix=f"Add it to executor.sagemaker.prices: {{{instance_type}: USD per hour}}.",
        )
    return amount


def _usual_seconds(context: Context, usage: Usage, step: str, bound: Estimate) -> float | None:
    """Return what was charged for the last jobs of this step on such instances."""
    jobs = usage.jobs(context.pipeline.name, step=step, status=JobStatus.COMPLETED, most=RECENT)
    wanted = (bound.instance_type, bound.instance_count)
    alike = [job for job in jobs if (job.instance_type, job.instance_count) == wanted]
    return median(job.billable_seconds for job in alike) if alike else None


def _spent_this_month(context: Context, usage: Usage) -> float:
    start = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    try:
        jobs = usage.jobs(context.pipeline.name, since=start)
    except ClewError as error:
        raise type(error)(
            "what this month's jobs cost can't be read, and "
            f"executor.sagemaker.budget.per_month_usd is set: {error.what}",
            fix=error.fix,
        ) from error
    return sum(_priced(job.worst_usd, job.instance_type, f"the job {job.name}") for job in jobs)


def _processing_of(context: Context, settings: SageMaker, key: str) -> float:
    """Return what the processing of the same run has cost, by the MLflow runs of that run."""
    parents = context.tracker.runs({"clew.stage": "run", "clew.key": key})
    spent = 0.0
    for parent in (run for run in parents if run.status == "RUNNING"):
        nested = {"clew.stage": PROCESS, "mlflow.parentRunId": parent.id}
        for run in context.tracker.runs(nested):
            name = run.tags.get("clew.job")
            job = context.executor.find(name) if name else None
            if job is not None:
                spent += _priced(job.cost_usd, settings.instance.type, f"the job {job.name}")
    return spent
