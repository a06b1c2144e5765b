"""What must hold between the fields of pipeline.yaml, which a JSON Schema can't say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, combinations

from clew.config.mistakes import Location, found_name, shown
from clew.config.model import Gate, Pipeline

Finding = tuple[Location, str]

GATE_RULES = ("min", "max", "max_regression", "min_improvement")


def findings(pipeline: Pipeline) -> Iterator[Finding]:
    """Yield what contradicts itself, each with its path in the document."""
    return chain(
        _overlapping_outputs(pipeline.data.outputs),
        _shared_stages(pipeline),
        _metrics_declared_twice(pipeline),
        _unknown_metrics(pipeline),
        _empty_ranges(pipeline.gates),
        _repeated_rules(pipeline.gates),
        _missing_section(pipeline),
        _one_alias(pipeline),
        _manifest_outside(pipeline),
        _two_keys(pipeline),
        _two_values(pipeline),
        _half_a_network(pipeline),
    )


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _overlapping_outputs(outputs: Sequence[str]) -> Iterator[Finding]:
    for (_, one), (n, other) in combinations(enumerate(outputs), 2):
        if _inside(one, other) or _inside(other, one):
            text = f"found {shown(other)}, which overlaps {shown(one)}; allowed: separate paths"
            yield ("data", "outputs", n), text


def _shared_stages(pipeline: Pipeline) -> Iterator[Finding]:
    for n, stage in enumerate(pipeline.train.stages):
        if stage in pipeline.data.stages:
            text = f"found {shown(stage)}, which is in data.stages too; allowed: in one of them"
            yield ("train", "stages", n), text


def _metrics_declared_twice(pipeline: Pipeline) -> Iterator[Finding]:
    seen: Counter[str] = Counter()
    for n, file in enumerate(pipeline.train.metrics):
        seen.update(file.names)
        for name in dict.fromkeys(name for name in file.names if seen[name] > 1):
            text = f"found metric {shown(name)} twice; allowed: in one file, as higher or as lower"
            yield ("train", "metrics", n), text


def _unknown_metrics(pipeline: Pipeline) -> Iterator[Finding]:
    files = pipeline.train.metrics
    if not all(file.names for file in files):
        return  # a file without a declaration may hold any metric
    names = [name for file in files for name in file.names]
    for n, gate in enumerate(pipeline.gates):
        if gate.metric not in names:
            yield ("gates", n, "metric"), found_name(gate.metric, names)


def _empty_ranges(gates: Sequence[Gate]) -> Iterator[Finding]:
    for n, gate in enumerate(gates):
        if gate.min is not None and gate.max is not None and gate.max < gate.min:
            text = f"found {gate.max}, which is below min; allowed: {gate.min} or more"
            yield ("gates", n, "max"), text


def _repeated_rules(gates: Sequence[Gate]) -> Iterator[Finding]:
    first: dict[tuple[str, str], int] = {}
    for n, gate in enumerate(gates):
        for rule in GATE_RULES:
            if getattr(gate, rule) is None:
                continue
            if (at := first.setdefault((gate.metric, rule), n)) != n:
                text = f"found {rule} of {shown(gate.metric)} twice, first in gates[{at}]"
                yield ("gates", n, rule), f"{text}; allowed: each rule of a metric once"


def _missing_section(pipeline: Pipeline) -> Iterator[Finding]:
    if pipeline.executor.use == "sagemaker" and pipeline.executor.sagemaker is None:
        text = "found 'sagemaker' without an executor.sagemaker section; allowed: with it, or local"
        yield ("executor", "use"), text


def _one_alias(pipeline: Pipeline) -> Iterator[Finding]:
    promotion = pipeline.promotion
    if promotion.candidate == promotion.baseline:
        text = f"found {shown(promotion.candidate)} for both aliases; allowed: two different ones"
        yield ("promotion", "candidate"), text


def _manifest_outside(pipeline: Pipeline) -> Iterator[Finding]:
    records, outputs = pipeline.records, pipeline.data.outputs
    if records and not any(_inside(records.manifest, output) for output in outputs):
        text = f"found {shown(records.manifest)}; allowed: a file in {', '.join(outputs)}"
        yield ("records", "manifest"), text


def _two_keys(pipeline: Pipeline) -> Iterator[Finding]:
    records = pipeline.records
    if records and records.key_file and records.kms_key_file:
        text = f"found {shown(records.kms_key_file)} beside key_file; allowed: one of them"
        yield ("records", "kms_key_file"), text


def _two_values(pipeline: Pipeline) -> Iterator[Finding]:
    settings = pipeline.executor.sagemaker
    for name in sorted(settings.environment.keys() & settings.secrets.keys()) if settings else ():
        text = f"found {shown(name)} in secrets, too; allowed: one of them"
        yield ("executor", "sagemaker", "environment", name), text


def _half_a_network(pipeline: Pipeline) -> Iterator[Finding]:
    settings = pipeline.executor.sagemaker
    if settings and bool(settings.network.subnets) != bool(settings.network.security_groups):
        there, lacking = "subnets", "security_groups"
        if settings.network.security_groups:
            there, lacking = lacking, there
        text = f"found {there} without {lacking}; allowed: both, as AWS takes no VPC without"
        yield ("executor", "sagemaker", "network", there), text
