"""What a report is made of: facts about a head commit against its base, in no format yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clew.config.model import Direction
from clew.consent.opt_out import OptOut
from clew.errors import ClewError
from clew.evaluate import Evaluation
from clew.identity import CommitSha
from clew.lineage import COST, SECONDS
from clew.ports import ModelVersion, TrackedRun
from clew.report.data_diff import DataDiff
from clew.report.links import Links
from clew.report.significance import Interval
from clew.repository import FileChange
from clew.resolve import Resolution

DATA, PARAMS, CODE, ENVIRONMENT = PARTS = ("data", "parameters", "code", "environment")
RATES = ("accuracy", "error_rate")  # shares of n, for which an interval can be given
BASE_MODEL = "the base commit's own model"


@dataclass(frozen=True)
class Side:
    """One of the two commits: what it means, and the model that came of it."""

    commit: CommitSha
    resolution: Resolution | None  # None: it can't be resolved, see `missing`
    run: TrackedRun | None = None  # its finished training
    version: ModelVersion | None = None
    missing: str = ""  # why there is no resolution or no training
    error: ClewError | None = None  # what is wrong with the commit, so that it can't be resolved
    stale: tuple[str, ...] = ()  # data stages that did not run for it: its data is not made yet
    params: Mapping[str, Any] = field(default_factory=dict)  # that data and train stages read

    @property
    def metrics(self) -> Mapping[str, float]:
        return self.run.metrics if self.run else {}

    @property
    def seconds(self) -> float | None:
        """How long its training job ran."""
        return self._number(SECONDS) or self._number("sagemaker.training_seconds")

    @property
    def cost_usd(self) -> float | None:
        return self._number(COST)

    def _number(self, tag: str) -> float | None:
        text = self.run.tags.get(tag, "") if self.run else ""
        try:
            return float(text)
        except ValueError:
            return None

    def as_json(self) -> dict[str, Any]:
        return {
            "commit": self.commit,
            "missing": self.missing,
            "stale": list(self.stale),
            **(self.resolution.as_json() if self.resolution else {}),
            "run_id": self.run.id if self.run else None,
            "model": self.version.uri if self.version else None,
            "seconds": self.seconds,
            "cost_usd": self.cost_usd,
        }


@dataclass(frozen=True)
class MetricRow:
    name: str
    base: float | None
    head: float | None
    direction: Direction | None  # None: not declared in pipeline.yaml
    interval: Interval | None = None  # of the difference

    @property
    def delta(self) -> float | None:
        return None if self.base is None or self.head is None else self.head - self.base

    @property
    def gain(self) -> float:
        """The difference, positive where it is for the better."""
        delta = self.delta or 0.0
        return -delta if self.direction == "lower" else delta


@dataclass(frozen=True)
class Change:
    """A value that differs; None where one side lacks it."""

    name: str
    base: Any
    head: Any
    stage: str = ""  # which stages read a parameter: data | training


@dataclass(frozen=True)
class PointerChange:
    """A data output as Git has it on both sides: known even where its files are not."""

    path: str
    files: tuple[int | None, int | None]
    size: tuple[int | None, int | None]  # bytes


@dataclass(frozen=True)
class Attribution:
    """How much of each metric's difference each part that changed accounts for."""

    method: str = ""  # only | shapley | in order | "" while trainings are missing
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # metric -> part
    known: int = 0  # combinations of the two commits that are trained
    wanted: int = 0  # and that the parts have, without the two commits themselves
    noise: Mapping[str, float] = field(default_factory=dict)  # metric -> standard deviation
    seeds: int = 0  # trainings of the head that `noise` is from, its own included


@dataclass(frozen=True)
class PastVersion:
    """A registered model version with its metrics."""

    version: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Report:
    """All that a reviewer is told."""

    pipeline: str
    base: Side
    head: Side
    base_missing: str = ""  # why the base's own model is not what the head is compared with
    base_alias: str = ""  # by which the other one was found; empty where there is none
    metrics: tuple[MetricRow, ...] = ()
    evaluation: Evaluation | None = None
    unjudged: str = ""  # why the gates can't be judged, though there is a model
    data: DataDiff | None = None
    data_missing: str = ""  # why there is no data diff, though the data differs
    pointers: tuple[PointerChange, ...] = ()
    params: tuple[Change, ...] = ()
    code: tuple[FileChange, ...] = ()
    code_missing: str = ""  # why the changed files can't be told
    environment: tuple[Change, ...] = ()
    parts: tuple[str, ...] = ()  # which of data, parameters, code, environment differ
    attribution: Attribution = field(default_factory=Attribution)
    consent: OptOut | None = None  # None: the pipeline keeps no registry
    cost: str = ""  # what the head's training has cost, or would; empty where it costs nothing
    history: tuple[PastVersion, ...] = ()  # the oldest first
    untouched: bool = False  # no file differs that data, training or gates depend on
    data_only: bool = False  # MLflow was not asked: no models, no metrics
    unread: str = ""  # why no model could be looked at, though this change may use secrets
    problems: tuple[str, ...] = ()  # of the configuration, where that is all that was checked
    links: Links = field(default_factory=Links)

    @property
    def base_is(self) -> str:
        """Which model the head is compared with, in words."""
        if not self.base_missing:
            return BASE_MODEL
        return f"the model with the alias {self.base_alias}" if self.base_alias else "no model"

    @property
    def refused(self) -> bool:
        return self.withdrawn or (self.evaluation is not None and not self.evaluation.passed)

    @property
    def withdrawn(self) -> bool:
        """Whether the head's data holds records of subjects who do not agree."""
        return self.consent is not None and self.consent.verdict == "FAIL"

    @property
    def unsure_of_consent(self) -> str:
        """Why it can't be told whether the subjects of the head's data agree."""
        standing = self.consent.standing if self.consent else None
        return standing.reason if standing and standing.verdict == "unverifiable" else ""

    def as_json(self) -> dict[str, Any]:
        from clew.report.words import verdict

        own = {name: value for name, value in vars(self).items() if name != "links"}
        rows = [{**asdict(row), "delta": row.delta} for row in self.metrics]
        return {
            **own,
            "verdict": verdict(self),
            "base_is": self.base_is,
            "base": self.base.as_json(),
            "head": self.head.as_json(),
            "metrics": rows,
            "evaluation": self.evaluation.as_json() if self.evaluation else None,
            "data": self.data.as_json() if self.data else None,
            "pointers": [asdict(change) for change in self.pointers],
            "params": [asdict(change) for change in self.params],
            "code": [change._asdict() for change in self.code],
            "environment": [asdict(change) for change in self.environment],
            "attribution": asdict(self.attribution),
            "consent": self.consent.as_json() if self.consent else None,
            "history": [asdict(one) for one in self.history],
        }
