"""What a difference in metrics comes from: data, parameters, code or environment.

Between two commits that differ in k of these parts there are 2^k - 2 trainings that take some parts
from the head and the others from the base. Those that are in MLflow, by run fingerprint, tell how
much each part accounts for; nothing is trained here (see `clew.attribute`).
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence

from clew.context import Context
from clew.fingerprint import run_fingerprint
from clew.identity import RunFingerprint
from clew.mlflow_runs import COMPLETED, TRAIN, finished_training_of
from clew.ports import TrackedRun
from clew.report.facts import CODE, DATA, ENVIRONMENT, PARAMS, PARTS, Attribution, Side
from clew.resolve import Resolution

SEED_OF = "clew.seed_of"  # the tag with the fingerprint of the run that differs only in its seed

Parts = frozenset[str]  # those that come from the head
Values = Mapping[Parts, float]  # of one metric


def changed_parts(base: Resolution | None, head: Resolution | None) -> tuple[str, ...]:
    """Return which parts differ; none where one side can't be resolved."""
    if base is None or head is None:
        return ()
    pairs = {
        DATA: (base.data_fingerprint, head.data_fingerprint),
        PARAMS: (base.params, head.params),
        CODE: (base.code_digest, head.code_digest),
        ENVIRONMENT: (base.environment, head.environment),
    }
    return tuple(name for name, (before, after) in pairs.items() if before != after)


def combinations(parts: Sequence[str], *, every: bool) -> list[Parts]:
    """Return the mixed ones: all, or those on the way from base to head in the order of PARTS."""
    named = [part for part in PARTS if part in parts]
    if not every:
        return [frozenset(named[:count]) for count in range(1, len(named))]
    sizes = range(1, len(named))
    return [frozenset(some) for size in sizes for some in itertools.combinations(named, size)]


def fingerprint_of(
    base: Resolution, head: Resolution, parts: Parts, *, dirty: bool
) -> RunFingerprint:
    """Return the run fingerprint of a training that takes these parts from the head."""

    def side(part: str) -> Resolution:
        return head if part in parts else base

    return run_fingerprint(
        side(DATA).data_fingerprint,
        side(PARAMS).params,
        side(CODE).code_digest,
        side(ENVIRONMENT).environment,
        dirty=dirty,
    )


def trained(
    context: Context, base: Resolution, head: Resolution, parts: Parts
) -> TrackedRun | None:
    """Return a finished training of a combination: a commit's own, or one for attribution."""
    for dirty in (False, True):
        found = finished_training_of(context, fingerprint_of(base, head, parts, dirty=dirty))
        if found is not None:
            return found
    return None


def attribution(context: Context, base: Side, head: Side, names: Iterable[str]) -> Attribution:
    """Return how much of each metric's difference each part accounts for, as far as is known."""
    parts = changed_parts(base.resolution, head.resolution)
    if base.resolution is None or head.resolution is None or not (base.run and head.run):
        return Attribution()
    wanted = combinations(parts, every=True)
    runs = {some: trained(context, base.resolution, head.resolution, some) for some in wanted}
    there = {some: run.metrics for some, run in runs.items() if run is not None}
    there |= {frozenset(): base.metrics, frozenset(parts): head.metrics}
    found = divide(parts, there, names)
    seeds = [head.metrics, *seed_metrics(context, head.resolution)]
    noise = scatter(seeds, names) if len(seeds) > 1 else {}
    known = sum(run is not None for run in runs.values())
    return Attribution(*found, known, len(wanted), noise, len(seeds) if noise else 0)


def divide(
    parts: Sequence[str], trainings: Mapping[Parts, Mapping[str, float]], names: Iterable[str]
) -> tuple[str, Mapping[str, Mapping[str, float]]]:
    """Return the method, and for each metric how much each part accounts for.

    With all combinations it is the Shapley value (Shapley 1953, "A value for n-person games"), else
    the steps from base to head in the order of PARTS. The shares always add up to the difference.
    """
    ordered = [part for part in PARTS if part in parts]
    if not ordered:
        return "", {}
    whole = combinations(ordered, every=True)
    steps = combinations(ordered, every=False)
    method = "only" if len(ordered) == 1 else "shapley"
    if not trainings.keys() >= set(whole):
        if not trainings.keys() >= set(steps):
            return "", {}
        method = "in order"
    share = _step if method == "in order" else _shapley
    shares: dict[str, dict[str, float]] = {}
    for name in names:
        values = {some: metrics.get(name, math.nan) for some, metrics in trainings.items()}
        found = {part: share(ordered, part, values) for part in ordered}
        if all(map(math.isfinite, found.values())):
            shares[name] = found
    return method, shares


def _shapley(parts: Sequence[str], part: str, values: Values) -> float:
    others = [one for one in parts if one != part]
    total = 0.0
    for size in range(len(parts)):
        orders = math.factorial(size) * math.factorial(len(others) - size)
        for some in map(frozenset, itertools.combinations(others, size)):
            total += orders * (values[some | {part}] - values[some])
    return total / math.factorial(len(parts))


def _step(parts: Sequence[str], part: str, values: Values) -> float:
    before = frozenset(parts[: parts.index(part)])
    return values[before | {part}] - values[before]


def seed_metrics(context: Context, head: Resolution) -> Iterator[Mapping[str, float]]:
    """Yield the metrics of the trainings that differ from the head only in their seed."""
    tags = {"clew.stage": TRAIN, SEED_OF: head.run_fingerprint, **COMPLETED}
    runs = {run.tags["clew.key"]: run for run in context.tracker.runs(tags)}
    yield from (run.metrics for run in runs.values() if run.status == "FINISHED")


def scatter(trainings: Sequence[Mapping[str, float]], names: Iterable[str]) -> dict[str, float]:
    """Return the standard deviation of each metric that all trainings have."""
    found: dict[str, float] = {}
    for name in names:
        values = [metrics.get(name, math.nan) for metrics in trainings]
        if all(map(math.isfinite, values)):
            found[name] = statistics.stdev(values)
    return found
