"""evaluate: hold a model's metrics against the gates and against the baseline model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clew.config.model import Gate
from clew.context import Context
from clew.errors import ConfigError, Unverifiable
from clew.identity import RunId
from clew.mlflow_runs import EVALUATE, claim, complete
from clew.ports import ModelVersion
from clew.request import RunRequest
from clew.resolve import Resolution
from clew.train import Trained


@dataclass(frozen=True)
class GateResult:
    """One rule of one gate: what was asked, what was found."""

    metric: str
    rule: str  # min | max | max_regression | min_improvement
    limit: float
    value: float
    passed: bool
    baseline: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Evaluation:
    results: tuple[GateResult, ...]
    baseline: str | None  # the model version compared with

    @property
    def passed(self) -> bool:
        return all(result.passed for result in self.results)

    @property
    def verdict(self) -> str:
        return "passed" if self.passed else "refused"

    def as_json(self) -> dict[str, Any]:
        gates = [vars(result) for result in self.results]
        return {"passed": self.passed, "baseline": self.baseline, "gates": gates}


def evaluate(
    context: Context,
    request: RunRequest,
    resolution: Resolution,
    trained: Trained,
    parent: RunId,
) -> Evaluation:
    """Judge the model and write the verdict into its nested MLflow run."""
    run_id = claim(context, request, resolution, EVALUATE, {"mlflow.parentRunId": parent})
    evaluation = compare(context, trained.metrics, resolution.run_fingerprint)
    for result in evaluation.results:
        verdict = "passed" if result.passed else "refused"
        words = f"{result.metric} {result.rule} {result.limit:g}: {result.value:.4f}, {verdict}"
        context.reporter.step("evaluate", f"{words} {result.note}".rstrip())
    tags = {"clew.gate": evaluation.verdict, "clew.baseline": evaluation.baseline or "none"}
    context.tracker.record(run_id, metrics=trained.metrics, tags=tags)
    complete(context, run_id)
    return evaluation


def compare(context: Context, metrics: Mapping[str, float], fingerprint: str) -> Evaluation:
    """Judge the metrics; Unverifiable when the baseline exists but its metrics can't be read."""
    pipeline = context.pipeline
    baseline = context.tracker.version(pipeline.mlflow.model, pipeline.promotion.baseline)
    if baseline is None:
        note = f"(no model carries the alias '{pipeline.promotion.baseline}' yet)"
        return Evaluation(tuple(judge(pipeline.gates, metrics, None, note)), None)
    if baseline.tags.get("run_fingerprint") == fingerprint:
        note = "(this model is the baseline)"
        return Evaluation(tuple(judge(pipeline.gates, metrics, None, note)), baseline.uri)
    measured = _baseline_metrics(context, baseline)
    return Evaluation(tuple(judge(pipeline.gates, metrics, measured)), baseline.uri)


def _baseline_metrics(context: Context, baseline: ModelVersion) -> Mapping[str, float]:
    run = context.tracker.run(baseline.run_id)
    if run is None:
        raise Unverifiable(
            f"the baseline {baseline.uri} can't be compared with: its MLflow run is gone",
            fix="Restore the run in MLflow, or move the baseline alias to another version.",
        )
    return run.metrics


def judge(
    gates: Iterable[Gate],
    metrics: Mapping[str, float],
    baseline: Mapping[str, float] | None,
    no_baseline: str = "",
) -> list[GateResult]:
    """Return each rule's result; a rule on the baseline passes where there is none to compare."""
    results: list[GateResult] = []
    for gate in gates:
        value = _metric(metrics, gate.metric)
        if gate.min is not None:
            results.append(GateResult(gate.metric, "min", gate.min, value, value >= gate.min))
        if gate.max is not None:
            results.append(GateResult(gate.metric, "max", gate.max, value, value <= gate.max))
        results += _against_baseline(gate, value, baseline, no_baseline)
    return results


def _against_baseline(
    gate: Gate, value: float, baseline: Mapping[str, float] | None, note: str
) -> list[GateResult]:
    rules = (
        ("max_regression", gate.max_regression, -1.0),
        ("min_improvement", gate.min_improvement, 1.0),
    )
    results: list[GateResult] = []
    for rule, limit, sign in rules:
        if limit is None:
            continue
        if baseline is None:
            passed = math.isfinite(value)
            results.append(GateResult(gate.metric, rule, limit, value, passed, note=note))
            continue
        before = _baseline_metric(baseline, gate.metric)
        gain = value - before if gate.direction == "higher" else before - value
        passed = gain >= sign * limit
        results.append(GateResult(gate.metric, rule, limit, value, passed, baseline=before))
    return results


def _metric(metrics: Mapping[str, float], name: str) -> float:
    if name in metrics:
        return metrics[name]
    raise ConfigError(
        f"a gate names the metric '{name}', which the train stages did not write",
        fix=f"They wrote: {', '.join(sorted(metrics))}. Correct gates in pipeline.yaml.",
    )


def _baseline_metric(baseline: Mapping[str, float], name: str) -> float:
    value = baseline.get(name, math.nan)
    if math.isnan(value):
        raise Unverifiable(
            f"the baseline model has no metric '{name}' to compare with",
            fix="Move the baseline alias to a model that has it, or gate with min or max.",
        )
    return value
