"""pipeline.yaml as frozen dataclasses: what the rest of clew reads, never the raw document."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["higher", "lower"]  # which way a metric gets better


@dataclass(frozen=True)
class Data:
    """Which dvc.yaml stages make the data, which paths are the data version, where it is kept."""

    outputs: tuple[str, ...]  # relative to pipeline.yaml
    stages: tuple[str, ...] = ()
    remote: str | None = None  # None: DVC's default remote


@dataclass(frozen=True)
class MetricsFile:
    """A metrics file of the train stages, with the metrics that gates may name."""

    path: str
    higher: tuple[str, ...] = ()  # higher is better
    lower: tuple[str, ...] = ()  # lower is better

    @property
    def names(self) -> tuple[str, ...]:
        return self.higher + self.lower


@dataclass(frozen=True)
class Train:
    stages: tuple[str, ...]
    model: str  # directory, relative to pipeline.yaml
    metrics: tuple[MetricsFile, ...]


@dataclass(frozen=True)
class Code:
    paths: tuple[str, ...]
    lock: str | None = None  # the lock file that stands for the environment


@dataclass(frozen=True)
class Local:
    """How jobs run on this machine."""

    max_runtime_hours: float = 24.0
    pass_env: tuple[str, ...] = ()  # names of variables that a job may inherit


@dataclass(frozen=True)
class FrameworkImage:
    """An AWS framework image, found by region and instance type."""

    framework: str
    version: str


@dataclass(frozen=True)
class Instance:
    type: str
    count: int = 1
    volume_gb: int = 30


@dataclass(frozen=True)
class Spot:
    """Spare capacity at a lower price, which AWS may take back at any time."""

    max_wait_hours: float


@dataclass(frozen=True)
class Network:
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    isolation: bool = False


@dataclass(frozen=True)
class ServingInstance:
    type: str = "ml.m5.large"
    count: int = 1


@dataclass(frozen=True)
class Serving:
    """How a model is served on an endpoint."""

    role: str | None = None
    image: str | None = None
    instance: ServingInstance = field(default_factory=ServingInstance)


@dataclass(frozen=True)
class Budget:
    """The most that may be spent, in USD."""

    per_run_usd: float | None = None
    per_month_usd: float | None = None  # a calendar month, UTC


@dataclass(frozen=True)
class SageMaker:
    """How jobs run on Amazon SageMaker."""

    role: str
    region: str
    s3_prefix: str  # s3://bucket/…, without a slash at the end
    image: str | FrameworkImage
    instance: Instance
    spot: Spot | None = None
    keep_alive_minutes: float = 0
    max_runtime_hours: float = 24.0
    capacity_attempts: int = 3  # jobs started one after the other while AWS has no capacity
    retries: int = 2  # of a training job, by SageMaker, after an error of its own
    distribution: Literal["torchrun"] | None = None
    network: Network = field(default_factory=Network)
    kms_key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    processing_role: str | None = None
    serving: Serving = field(default_factory=Serving)
    model_package_group: str | None = None
    budget: Budget = field(default_factory=Budget)
    prices: Mapping[str, float] = field(default_factory=dict)  # USD per instance hour
    environment: Mapping[str, str] = field(default_factory=dict)  # of the stages
    secrets: Mapping[str, str] = field(default_factory=dict)  # variable -> ARN of its value


@dataclass(frozen=True)
class Executor:
    use: Literal["local", "sagemaker"] = "local"
    local: Local = field(default_factory=Local)
    sagemaker: SageMaker | None = None

    @property
    def max_seconds(self) -> int:
        """How long a job may run."""
        chosen = self.sagemaker if self.use == "sagemaker" and self.sagemaker else self.local
        return math.ceil(chosen.max_runtime_hours * 3600)

    @property
    def capacity_attempts(self) -> int:
        """How many jobs to start, one after the other, while there is no machine for one."""
        return self.sagemaker.capacity_attempts if self.sagemaker else 1


@dataclass(frozen=True)
class MLflow:
    tracking_uri: str
    experiment: str
    model: str


@dataclass(frozen=True)
class Gate:
    """A rule that one metric must meet; the last two compare with the baseline model."""

    metric: str
    min: float | None = None
    max: float | None = None
    max_regression: float | None = None  # how much worse than the baseline it may be
    min_improvement: float | None = None  # how much better than the baseline it must be
    direction: Direction = "higher"


@dataclass(frozen=True)
class Promotion:
    baseline: str = "production"
    candidate: str = "candidate"
    branch: str = "main"  # a run on this branch moves the baseline alias too


@dataclass(frozen=True)
class Records:
    """Where the dataset lists its records, and the names of its columns."""

    manifest: str  # CSV or Parquet, by its suffix
    subject: str = "subject_id"
    record: str = "record_id"
    split: str = "split"
    label: str = "label"  # this column and the next two may be absent
    file: str = "file_path"  # relative to pipeline.yaml or to the manifest
    sha256: str = "sha256"  # of the record's file
    subjects_across_splits: bool = False  # whether a subject may be in several splits
    vault: str = ".clew/vault.db"  # SQLite file of the salts, relative to pipeline.yaml
    key_file: str | None = None  # subject key, mode 0600; relative to pipeline.yaml, or ~/…
    kms_key_file: str | None = None  # subject key as AWS KMS has wrapped it, base64


@dataclass(frozen=True)
class Consent:
    """Who agreed to the use of their data."""

    registry: str  # CSV file in Git, relative to pipeline.yaml
    database: str | None = None  # name of the variable with the SQLAlchemy URL; the CSV follows it
    table: str = "consent"
    deadline_days: float = 30.0  # within which production has to reflect a revocation


@dataclass(frozen=True)
class Pipeline:
    """One pipeline.yaml, valid and complete."""

    name: str
    data: Data
    train: Train
    code: Code
    mlflow: MLflow
    executor: Executor = field(default_factory=Executor)
    gates: tuple[Gate, ...] = ()
    promotion: Promotion = field(default_factory=Promotion)
    records: Records | None = None
    consent: Consent | None = None
