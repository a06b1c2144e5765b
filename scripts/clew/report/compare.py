"""What a change did: a head commit held against its base, from data to gates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from clew.budget import TRAIN, estimate
from clew.changes import relevant_changes
from clew.config.load import load
from clew.config.model import Direction, Pipeline
from clew.consent.opt_out import opt_out
from clew.context import Context
from clew.dvcfiles import DEFINITIONS, NoPointer
from clew.errors import ClewError, OutsideError
from clew.evaluate import Evaluation
from clew.evaluate import compare as judge
from clew.fingerprint import training
from clew.identity import CommitSha
from clew.mlflow_runs import EVALUATE, finished_training
from clew.ports import ModelVersion
from clew.preflight import refuse_unsound
from clew.prices import usd
from clew.process import stale_at
from clew.report.attribution import attribution, changed_parts
from clew.report.data_diff import DataDiff, DataState, data_diff, read_state
from clew.report.facts import (
    RATES,
    Change,
    MetricRow,
    PastVersion,
    PointerChange,
    Report,
    Side,
)
from clew.report.links import Links
from clew.report.significance import difference
from clew.repository import FileChange
from clew.request import RunRequest
from clew.resolve import resolve

VERSIONS = 10  # registered ones, that the metric is shown over


def compare(
    context: Context, base: CommitSha, head: CommitSha, links: Links | None = None
) -> Report:
    """Return the report on a head commit against its base; OutsideError without MLflow.

    What is wrong with the head is raised: nothing can be said of its model.

    The base's own model is what the head is compared with; where the base was never trained, the
    model that carries the baseline alias.
    """
    ours = side(context, head)
    if ours.error is not None:
        raise ours.error
    own = side(context, base)
    theirs = baseline(context, own, ours)
    rows = tuple(_metrics(context.pipeline, theirs.metrics, ours.metrics))
    names = [row.name for row in rows if row.direction]
    evaluation, unjudged = _judged(context, ours)
    return replace(
        _without_models(context, theirs, ours),
        untouched=not relevant_changes(context, base, head),
        base_missing=own.missing,
        base_alias=context.pipeline.promotion.baseline if theirs is not own else "",
        metrics=rows,
        evaluation=evaluation,
        unjudged=unjudged,
        attribution=attribution(context, theirs, ours, names),
        cost=_cost(context, ours),
        consent=opt_out(context, base, head, None if ours.stale else ours.resolution),
        history=tuple(_history(context)),
        links=links or Links(),
    )


def compare_data(
    context: Context, base: CommitSha, head: CommitSha, links: Links | None = None
) -> Report:
    """Return what can be told without MLflow: whether the head could be run, and its data."""
    ours, theirs = (_resolved(context, commit) for commit in (head, base))
    problem = _problem(context, head) or ours.missing
    if not problem:
        ours = replace(ours, stale=stale_at(context, RunRequest(head)))
    found = _without_models(context, theirs, ours)
    return replace(
        found, data_only=True, problems=(problem,) if problem else (), links=links or Links()
    )


def _problem(context: Context, head: CommitSha) -> str:
    """Return why the head can't be run and what to do, empty when it can."""
    try:
        _pipeline_at(context, head)
        refuse_unsound(context, RunRequest(head))
    except OutsideError:
        raise
    except ClewError as error:
        return ". ".join(filter(None, (error.what, error.fix)))
    return ""


def _without_models(context: Context, base: Side, head: Side) -> Report:
    data, data_missing = _data(context, base, head)
    code, code_missing = _code(context, base.commit, head.commit)
    environment = [
        dict(one.resolution.environment) if one.resolution else {} for one in (base, head)
    ]
    return Report(
        pipeline=context.pipeline.name,
        base=base,
        head=head,
        data=data,
        data_missing=data_missing,
        pointers=tuple(_pointers(base, head)),
        params=tuple(_params(base, head)),
        code=code,
        code_missing=code_missing,
        environment=tuple(_changes(*environment)) if base.resolution and head.resolution else (),
        parts=changed_parts(base.resolution, head.resolution),
    )


def _cost(context: Context, head: Side) -> str:
    if head.run is None:
        bound = estimate(context, TRAIN)
        return str(bound) if bound else ""
    return usd(head.cost_usd) if head.cost_usd is not None else ""


def side(context: Context, commit: CommitSha) -> Side:
    """Return what a commit means and the model that came of it."""
    found = _resolved(context, commit)
    if found.resolution is None:
        return found
    if stale := stale_at(context, RunRequest(commit)):
        # What dvc.lock names there is older than the commit: its model is another's.
        return replace(found, stale=stale, missing=f"{', '.join(stale)} did not run for it yet")
    run = finished_training(context, found.resolution)
    if run is None:
        return replace(found, missing="it was not trained")
    version = context.tracker.version_of(found.resolution.run_fingerprint)
    return replace(found, run=run, version=version)


def _resolved(context: Context, commit: CommitSha) -> Side:
    executor = context.executor.name
    try:
        pipeline = _pipeline_at(context, commit)
        found = resolve(context.project, pipeline, commit, executor=executor, overrides={})
        stages = (*pipeline.data.stages, *pipeline.train.stages)
        both = replace(pipeline, train=replace(pipeline.train, stages=stages))
        read = training(context.project, both, commit, executor=executor, overrides={})
    except NoPointer as error:
        return Side(commit, None, missing=error.what)  # nothing is wrong: it never ran
    except ClewError as error:
        return Side(commit, None, missing=error.what, error=error)
    return Side(commit, found, params=read.params)


def _pipeline_at(context: Context, commit: CommitSha) -> Pipeline:
    path = context.project.path(context.project.file)
    text = context.project.repository.read(commit, [path])[path]
    return load(text, path) if text is not None else context.pipeline


def baseline(context: Context, base: Side, head: Side | None = None) -> Side:
    """Return the side that the head is compared with: with the alias, where the base has no model.

    Where no model carries it, the base is all there is.
    """
    if base.run is not None:
        return base
    version = _baseline_version(context, head)
    commit = version.tags.get("code_git_commit_id") if version else None
    if version is None or commit is None:
        return base
    found = _resolved(context, CommitSha(commit))
    run = context.tracker.run(version.run_id)
    missing = found.missing if run else "its MLflow run is gone"
    return replace(found, run=run, version=version, missing=missing)


def _baseline_version(context: Context, head: Side | None) -> ModelVersion | None:
    """Return the version with the alias, or that had it when the head's own model took it over."""
    model, alias = context.pipeline.mlflow.model, context.pipeline.promotion.baseline
    version = context.tracker.version(model, alias)
    own = head.version if head else None
    if version is None or own is None or version.version != own.version:
        return version
    runs = context.tracker.runs({"clew.stage": EVALUATE, "clew.key": own.tags["run_fingerprint"]})
    judged = [run.tags.get("clew.baseline", "none") for run in runs]
    others = [uri for uri in judged if uri not in ("none", own.uri)]
    return context.tracker.version(model, others[-1].rpartition("/")[2]) if others else None


def _judged(context: Context, head: Side) -> tuple[Evaluation | None, str]:
    """Return the gates' verdict, or why there can't be one."""
    if head.run is None or head.resolution is None:
        return None, ""
    try:
        return judge(context, head.metrics, head.resolution.run_fingerprint), ""
    except OutsideError:
        raise
    except ClewError as error:
        return None, error.what


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
        one = base if before is None else head
        return None, f"the commit {one.commit[:12]} can't be resolved: {one.missing}"
    if before.data_fingerprint == after.data_fingerprint:
        return None, ""
    records = context.pipeline.records
    hashes = {pointer.hash for pointer in after.outputs}
    try:
        old, new = (read_state(context, one.outputs, records) for one in (before, after))
        return _diff(context, old, new, hashes), ""
    except ClewError as error:
        return None, error.what


def _diff(context: Context, base: DataState, head: DataState, hashes: set[str]) -> DataDiff:
    def sizes(md5s: set[str]) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for name in hashes:
            found |= context.store.sizes(name, md5s - found.keys())
        return found

    return data_diff(base, head, sizes)


def _pointers(base: Side, head: Side) -> Iterator[PointerChange]:
    if base.resolution is None or head.resolution is None:
        return
    before = {one.path: one for one in base.resolution.outputs}
    after = {one.path: one for one in head.resolution.outputs}
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old != new:
            files = (old.nfiles if old else 0, new.nfiles if new else 0)
            yield PointerChange(path, files, (old.size if old else 0, new.size if new else 0))


def _params(base: Side, head: Side) -> Iterator[Change]:
    """Yield what differs of what data and train stages read; either can change the model."""
    if base.resolution is None or head.resolution is None:
        return
    training_reads = base.resolution.params.keys() | head.resolution.params.keys()
    for one in _changes(base.params, head.params):
        yield replace(one, stage="training" if one.name in training_reads else "data")


def _changes(base: Mapping[str, Any], head: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted(base.keys() | head.keys()):
        if base.get(name) != head.get(name):
            yield Change(name, base.get(name), head.get(name))


def _code(context: Context, base: CommitSha, head: CommitSha) -> tuple[tuple[FileChange, ...], str]:
    """Return which files of code.paths, dvc.yaml and code.lock differ, or why that isn't known."""
    code = context.pipeline.code
    names = [*code.paths, DEFINITIONS, *([code.lock] if code.lock else [])]
    paths = [context.project.path(name) for name in names]
    try:
        return tuple(context.project.repository.changes(base, head, paths)), ""
    except ClewError:
        return (), f"this clone has no commit {base[:12]}"


def _history(context: Context) -> Iterator[PastVersion]:
    for one in reversed(context.tracker.latest_versions(VERSIONS)):
        run = context.tracker.run(one.run_id)
        if run is not None:
            yield PastVersion(one.version, run.metrics)
