"""attribute: train what tells a difference's causes apart: mixed parts, and other seeds.

A mixed training runs on a commit on no branch that has some parts of the head and the others of the
base. It is kept like that of an uncommitted tree: its fingerprint never equals a commit's, and its
model is not registered, so no alias can ever lead to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clew.budget import TRAIN, Estimate, estimate
from clew.context import Context
from clew.dvcfiles import files_of
from clew.errors import ClewError, ConfigError, JobFailed
from clew.fingerprint import PARAMS as PARAMS_FILE
from clew.identity import CommitSha, RunId, digest
from clew.mlflow_runs import complete, finished_training
from clew.ports import TrackedRun
from clew.preflight import refuse_unsound
from clew.remote_data import ensure_in_remote
from clew.report.attribution import SEED_OF, changed_parts, combinations, fingerprint_of, trained
from clew.report.compare import baseline, side
from clew.report.facts import CODE, DATA, ENVIRONMENT, PARAMS, PARTS, Side
from clew.request import RunRequest
from clew.resolve import Resolution, resolve
from clew.train import train

STAGE = "attribute"  # the tag clew.stage of the MLflow run that holds the trainings together
MIXED = "clew.mixed"  # the tag of a mixed training: which parts are of which commit
SEED_NAMES = ("seed", "random_seed", "random_state")

At = Callable[[CommitSha], Context]  # the context of a commit: its image is part of it


@dataclass(frozen=True)
class Trial:
    """One training that tells something, found or to be run."""

    what: str
    tags: tuple[tuple[str, str], ...]  # by which it is found again
    resolution: Resolution | None  # None: it can't be made, see `impossible`
    params: tuple[tuple[str, Any], ...] = ()  # overrides
    mixed: bool = False
    run: TrackedRun | None = None
    impossible: str = ""

    @property
    def action(self) -> str:
        return "exists" if self.run else "impossible" if self.impossible else "create"


@dataclass(frozen=True)
class Plan:
    """What is there already, what would be trained, and for how much each."""

    base: Side
    head: Side
    trials: tuple[Trial, ...]
    each: Estimate | None  # None where jobs cost nothing

    @property
    def missing(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.action == "create")

    @property
    def most_usd(self) -> float | None:
        """What all of it costs at most; None where that is nothing or can't be told."""
        worst = self.each.worst_usd if self.each else None
        return None if worst is None else worst * len(self.missing)

    def as_json(self) -> dict[str, Any]:
        rows = [
            {
                "what": one.what,
                "action": one.action,
                "reason": one.impossible,
                "run_fingerprint": one.resolution.run_fingerprint if one.resolution else None,
                "run_id": one.run.id if one.run else None,
            }
            for one in self.trials
        ]
        each = self.each.as_json() if self.each else None
        return {"trials": rows, "estimate_each": each, "most_usd": self.most_usd}


def plan(
    context: Context,
    at: At,
    base: CommitSha,
    head: CommitSha,
    *,
    every: bool = False,
    seeds: int = 0,
    seed_param: str | None = None,
) -> Plan:
    """Return the trainings that tell base and head apart; ConfigError where these are not trained.

    Without `every` they are those on the way from base to head, one part after the other; with it
    all combinations, for the Shapley value.
    """
    ours = side(context, head)
    theirs = baseline(context, side(context, base))
    for one in (ours, theirs):
        if one.run is None:
            raise ConfigError(
                f"the commit {one.commit[:12]} has no model to compare: {one.missing}",
                fix=f"Train it first: clew run --commit {one.commit}",
            )
    trials = [*_mixed(context, at, theirs, ours, every=every)]
    trials += _seeded(context, ours, seeds, seed_param)
    return Plan(theirs, ours, tuple(trials), estimate(context, TRAIN))


def _mixed(context: Context, at: At, base: Side, head: Side, *, every: bool) -> Iterator[Trial]:
    old, new = base.resolution, head.resolution
    if old is None or new is None:
        raise ConfigError(f"{base.commit[:12]} can't be compared: {base.missing}")
    for parts in combinations(changed_parts(old, new), every=every):
        named = " and ".join(part for part in PARTS if part in parts)
        what = f"{named} of {head.commit[:12]}, the rest of {base.commit[:12]}"
        trial = Trial(what, ((MIXED, what),), None, mixed=True)
        if run := trained(context, old, new, parts):
            yield replace(trial, run=run)
            continue
        try:
            commit = _combined(context, base.commit, head.commit, parts)
            made = _resolved(at(commit), commit)
            reason = _difference(old, new, parts, made)
        except ClewError as error:
            made, reason = None, error.what
        yield replace(trial, resolution=None if reason else made, impossible=reason)


def _combined(
    context: Context, base: CommitSha, head: CommitSha, parts: frozenset[str]
) -> CommitSha:
    """Return a commit of the head with the files of the base that stand for the other parts."""
    pipeline = context.pipeline
    locked = files_of(pipeline.data.outputs)[1:]  # dvc.yaml, the first, is code
    lock = [pipeline.code.lock] if pipeline.code.lock else []
    files = {
        DATA: locked,
        PARAMS: [PARAMS_FILE],
        CODE: ["dvc.yaml", *pipeline.code.paths],
        ENVIRONMENT: [context.project.file, *lock],
    }
    of_base = [name for part, names in files.items() if part not in parts for name in names]
    paths = [context.project.path(name) for name in of_base]
    return context.project.repository.combine(head, base, paths)


def _resolved(context: Context, commit: CommitSha) -> Resolution:
    executor = context.executor.name
    project, pipeline = context.project, context.pipeline
    return resolve(project, pipeline, commit, executor=executor, overrides={}, dirty=True)


def _difference(base: Resolution, head: Resolution, parts: frozenset[str], made: Resolution) -> str:
    """Return why a combination is not what it should be, empty when it is.

    Parts can hang together: code that reads a parameter which only the head has.
    """
    if made.run_fingerprint == fingerprint_of(base, head, parts, dirty=True):
        return ""
    found = {DATA: made.data_fingerprint, PARAMS: made.params, CODE: made.code_digest}
    for part, value in found.items():
        one = head if part in parts else base
        wanted = {DATA: one.data_fingerprint, PARAMS: one.params, CODE: one.code_digest}
        if value != wanted[part]:
            return f"the {part} can't be changed without the other parts"
    return "the environment can't be changed without the other parts"


def _seeded(context: Context, head: Side, seeds: int, name: str | None) -> Iterator[Trial]:
    if seeds == 0 or head.resolution is None:
        return
    key = _seed_param(head.resolution, name)
    own = head.resolution.params[key]
    if not isinstance(own, int):
        raise ConfigError(f"the seed {key} is {own!r}, no whole number", fix="See --seed-param.")
    for value in range(own + 1, own + 1 + seeds):
        found = resolve(
            context.project,
            context.pipeline,
            head.commit,
            executor=context.executor.name,
            overrides={key: value},
        )
        run = finished_training(context, found)
        tags = ((SEED_OF, str(head.resolution.run_fingerprint)),)
        yield Trial(f"{key} {value}", tags, found, params=((key, value),), run=run)


def _seed_param(head: Resolution, name: str | None) -> str:
    """Return the parameter that is the seed: the named one, or the only one that is called so."""
    likely = [key for key in head.params if key.rpartition(".")[2] in SEED_NAMES]
    if name is None and len(likely) == 1:
        return likely[0]
    if name in head.params:
        return str(name)
    found = f"no train stage reads a parameter {name}" if name else "which parameter is the seed?"
    known = ", ".join(likely or head.params) or "none"
    raise ConfigError(found, fix=f"Name it with --seed-param. The train stages read: {known}.")


def run(context: Context, at: At, plan: Plan) -> None:
    """Train what is missing, one after the other, and mark all so that reports find it.

    A training that fails keeps no other from being run; JobFailed names it in the end.
    """
    failed: list[str] = []
    parent = _parent(context, plan)
    for trial in plan.trials:
        if trial.run:
            context.tracker.record(trial.run.id, tags=dict(trial.tags))
        elif trial.resolution:
            context.reporter.step("attribute", trial.what)
            try:
                _train(at, trial, trial.resolution, parent)
            except JobFailed as error:
                failed.append(f"{trial.what}: {error.what}")
    complete(context, parent)
    if failed:
        raise JobFailed(
            f"{len(failed)} of {len(plan.trials)} trainings failed; {failed[0]}",
            fix="Parts that only work together can't be told apart. The others are kept.",
        )


def _parent(context: Context, plan: Plan) -> RunId:
    sides = (plan.base.resolution, plan.head.resolution)
    key = digest([one.run_fingerprint for one in sides if one])
    tags = {"clew.trigger": "local", "clew.executor": context.executor.name}
    return context.tracker.claim(STAGE, key, f"{STAGE}-{key[:12]}", tags)


def _train(at: At, trial: Trial, found: Resolution, parent: RunId) -> None:
    there = at(found.commit)
    request = RunRequest(found.commit, params=dict(trial.params))
    refuse_unsound(there, request)  # the working tree has no part in it
    request = replace(request, dirty=trial.mixed)
    ensure_in_remote(there, "attribute", found.outputs)
    done = train(there, request, found, parent)
    there.tracker.record(done.run_id, tags=dict(trial.tags))


def described(trials: Sequence[Trial], each: Estimate | None) -> Iterator[str]:
    """Yield a line for each training: what it is, whether it is there, what it would cost."""
    for one in trials:
        cost = f"; {each}" if each and one.action == "create" else ""
        reason = f": {one.impossible}" if one.impossible else ""
        yield f"{one.action:<10} {one.what}{reason}{cost}"
