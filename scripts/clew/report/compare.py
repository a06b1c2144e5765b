"""What a change did: a head commit held against its base, from data to gates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from clew.budget import TRAIN, estimate
from clew.config.load import load
from clew.config.model import Direction, Pipeline
from clew.context import Context
from clew.errors import ClewError
from clew.evaluate import Evaluation
from clew.evaluate import compare as judge
from clew.identity import CommitSha
from clew.lineage import COST
from clew.mlflow_runs import finished_training
from clew.ports import ModelVersion, TrackedRun
from clew.prices import usd
from clew.report.data_diff import DataDiff, data_diff, read_state
from clew.report.significance import Interval, difference
from clew.resolve import Resolution, resolve

DATA, PARAMS, CODE, ENVIRONMENT = "data", "parameters", "code", "environment"
RATES = ("accuracy", "error_rate")  # shares of n, for which an interval can be given


@dataclass(frozen=True)
class Side:
    """One of the two commits: what it means, and the model that came of it."""

    commit: CommitSha
    resolution: Resolution | None  # None: it can't be resolved, see `missing`
    run: TrackedRun | None = None  # its finished training
    version: ModelVersion | None = None
    missing: str = ""  # why there is no resolution or no training

    @property
    def metrics(self) -> Mapping[str, float]:
        return self.run.metrics if self.run else {}


@dataclass(frozen=True)
class MetricRow:
    name: str
    base: float | None
    head: float | None
    direction: Direction | None  # None: not declared in pipeline.yaml
    interval: Interval | None  # of the difference

    @property
    def delta(self) -> float | None:
        return None if self.base is None or self.head is None else self.head - self.base


@dataclass(frozen=True)
class Change:
    """A value that differs; None where one side lacks it."""

    name: str
    base: Any
    head: Any


@dataclass(frozen=True)
class Report:
    """All that a reviewer is told."""

    pipeline: str
    base: Side
    head: Side
    base_is: str  # which model the head is compared with, in words
    metrics: tuple[MetricRow, ...]
    evaluation: Evaluation | None
    data: DataDiff | None
    data_missing: str  # why there is no data diff, though the data differs
    params: tuple[Change, ...]
    code: tuple[Change, ...]  # blob ids by path
    parts: tuple[str, ...]  # which of data, parameters, code, environment differ
    cost: str = ""  # what the head's training has cost, or would; empty where it costs nothing

    def as_json(self) -> dict[str, Any]:
        own = {
            name: value
            for name, value in vars(self).items()
            if name not in ("base", "head", "metrics", "evaluation", "data")
        }
        rows = [{**asdict(row), "delta": row.delta} for row in self.metrics]
        return {
            **own,
            "base": _side_json(self.base),
            "head": _side_json(self.head),
            "metrics": rows,
            "evaluation": self.evaluation.as_json() if self.evaluation else None,
            "data": asdict(self.data) if self.data else None,
            "params": [asdict(change) for change in self.params],
            "code": [asdict(change) for change in self.code],
        }


def compare(context: Context, base: CommitSha, head: CommitSha) -> Report:
    """Return the report on a head commit against its base.

    The base's own model is what the head is compared with; where the base was never trained, the
    model that carries the baseline alias.
    """
    ours = _side(context, head)
    theirs, base_is = _baseline(context, _side(context, base))
    data, data_missing = _data(context, theirs, ours)
    parts = tuple(_parts(theirs.resolution, ours.resolution))
    fingerprint = ours.resolution.run_fingerprint if ours.resolution else ""
    return Report(
        pipeline=context.pipeline.name,
        base=theirs,
        head=ours,
        base_is=base_is,
        metrics=tuple(_metrics(context.pipeline, theirs.metrics, ours.metrics)),
        evaluation=judge(context, ours.metrics, fingerprint) if ours.run else None,
        data=data,
        data_missing=data_missing,
        params=tuple(_changes(_params(theirs), _params(ours))),
        code=tuple(_code(context, theirs.commit, head)),
        parts=parts,
        cost=_cost(context, ours),
    )


def _cost(context: Context, head: Side) -> str:
    if head.run is None:
        bound = estimate(context, TRAIN)
        return str(bound) if bound else ""
    spent = head.run.tags.get(COST)
    return usd(float(spent)) if spent else ""


def _side(context: Context, commit: CommitSha) -> Side:
    try:
        resolution = resolve(
            context.project,
            _pipeline_at(context, commit),
            commit,
            executor=context.executor.name,
            overrides={},
        )
    except ClewError as error:
        return Side(commit, None, missing=error.what)
    run = finished_training(context, resolution)
    if run is None:
        return Side(commit, resolution, missing="it was not trained")
    return Side(commit, resolution, run, context.tracker.version_of(resolution.run_fingerprint))


def _pipeline_at(context: Context, commit: CommitSha) -> Pipeline:
    path = context.project.path(context.project.file)
    text = context.project.repository.read(commit, [path])[path]
    return load(text, path) if text is not None else context.pipeline


def _baseline(context: Context, base: Side) -> tuple[Side, str]:
    """Return the side that the head is compared with, and what it is in words."""
    if base.run is not None:
        return base, "the base commit's own model"
    alias = context.pipeline.promotion.baseline
    version = context.tracker.version(context.pipeline.mlflow.model, alias)
    commit = version.tags.get("code_git_commit_id") if version else None
    if version is None or commit is None:
        return base, f"no model: the base {base.missing}, and none carries the alias {alias}"
    side = _side(context, CommitSha(commit))
    run = context.tracker.run(version.run_id)
    side = replace(side, run=run, version=version, missing="" if run else "its MLflow run is gone")
    return side, f"the model with the alias {alias}, because of the base {base.missing}"


def _metrics(
    pipeline: Pipeline, base: Mapping[str, float], head: Mapping[str, float]
) -> Iterator[MetricRow]:
    """Yield the declared metrics first, in the order of pipeline.yaml."""
    directions: dict[str, Direction] = {}
    for file in pipeline.train.metrics:
        directions.update(dict.fromkeys(file.higher, "higher"))
        directions.update(dict.fromkeys(file.lower, "lower"))
    others = sorted((base.keys() | head.keys()) - directions.keys())
    for name in [*directions, *others]:
        before, after = base.get(name), head.get(name)
        interval = None
        if name in RATES and before is not None and after is not None:
            interval = difference(before, base.get("n"), after, head.get("n"))
        yield MetricRow(name, before, after, directions.get(name), interval)


def _data(context: Context, base: Side, head: Side) -> tuple[DataDiff | None, str]:
    before, after = base.resolution, head.resolution
    if before is None or after is None:
        side = base if before is None else head
        return None, f"the data of {side.commit[:12]} can't be told: {side.missing}"
    if before.data_fingerprint == after.data_fingerprint:
        return None, ""
    records = context.pipeline.records
    try:
        states = [read_state(context, side.outputs, records) for side in (before, after)]
    except ClewError as error:
        return None, error.what
    return data_diff(*states), ""


def _parts(base: Resolution | None, head: Resolution | None) -> Iterator[str]:
    if base is None or head is None:
        return
    pairs = {
        DATA: (base.data_fingerprint, head.data_fingerprint),
        PARAMS: (base.params, head.params),
        CODE: (base.code_digest, head.code_digest),
        ENVIRONMENT: (base.environment, head.environment),
    }
    yield from (name for name, (before, after) in pairs.items() if before != after)


def _params(side: Side) -> Mapping[str, Any]:
    return side.resolution.params if side.resolution else {}


def _changes(base: Mapping[str, Any], head: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted(base.keys() | head.keys()):
        if base.get(name) != head.get(name):
            yield Change(name, base.get(name), head.get(name))


def _code(context: Context, base: CommitSha, head: CommitSha) -> Iterator[Change]:
    """Yield the files of code.paths that differ, with their blob ids."""
    repository, project = context.project.repository, context.project
    folders = [project.path(path) for path in context.pipeline.code.paths]

    def blobs(commit: CommitSha) -> dict[str, str]:
        return {
            entry.path: entry.id
            for entry in repository.entries(commit)
            if any(entry.path == f or entry.path.startswith(f"{f}/") for f in folders)
        }

    yield from _changes(blobs(base), blobs(head))


def _side_json(side: Side) -> dict[str, Any]:
    return {
        "commit": side.commit,
        "missing": side.missing,
        **(side.resolution.as_json() if side.resolution else {}),
        "run_id": side.run.id if side.run else None,
        "model": side.version.uri if side.version else None,
    }
