"""What jobs cost: the price of an instance, and what an executor says of its jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Protocol

from clew.identity import RunId
from clew.ports import JobStatus

HOUR = 3600  # seconds


@cache
def listed() -> Mapping[str, float]:
    """Return prices.json: USD per instance hour; where they come from stands there."""
    document = json.loads(Path(__file__).with_name("prices.json").read_bytes())
    prices: dict[str, float] = document["usd_per_instance_hour"]
    return prices


def price_of(instance_type: str, own: Mapping[str, float]) -> float | None:
    """Return the USD for one hour of one instance, None where neither table has the type."""
    return own.get(instance_type, listed().get(instance_type))


def cost(price_usd: float | None, seconds: float, instances: int) -> float | None:
    """Return the USD for so many seconds of so many instances, None without a price."""
    return None if price_usd is None else price_usd * seconds * instances / HOUR


def usd(amount: float | None) -> str:
    """Return an amount for people, in cents."""
    if amount is None:
        return "unknown cost"
    return "under $0.01" if 0 < amount < 0.005 else f"${amount:.2f}"


@dataclass(frozen=True)
class BilledJob:
    """One job as its executor charges for it."""

    name: str
    arn: str
    status: JobStatus
    created: datetime
    seconds: float  # that its instances have run
    billable_seconds: float  # what is charged for each instance, so far
    most_seconds: float  # the longest that it may be charged for
    instance_type: str
    instance_count: int
    price_usd: float | None = None  # of one instance for an hour, None when it is unknown
    run_id: RunId | None = None  # the MLflow run that was opened for it
    tracking_uri: str = ""  # the MLflow that it was told of, while it runs

    @property
    def cost_usd(self) -> float | None:
        """What it has cost up to now."""
        return cost(self.price_usd, self.billable_seconds, self.instance_count)

    @property
    def worst_usd(self) -> float | None:
        """What it may cost in the end."""
        if self.status is not JobStatus.IN_PROGRESS:
            return self.cost_usd
        return cost(self.price_usd, self.most_seconds, self.instance_count)


class Usage(Protocol):
    """What the jobs of an executor are, and what it charges for them."""

    def jobs(
        self,
        pipeline: str,
        *,
        step: str | None = None,
        since: datetime | None = None,
        status: JobStatus | None = None,
        most: int | None = None,
    ) -> list[BilledJob]:
        """Return the jobs of exactly this pipeline, the newest first; all that there are."""

    def commit(self, arn: str) -> str:
        """Return the commit whose code a job runs, by the job's own tags; empty without."""
