"""What a run did, in a few lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from clew.evaluate import Evaluation
from clew.flow import Step
from clew.ports import Job
from clew.prices import usd
from clew.process import Processed
from clew.register import Registered
from clew.train import Trained
from clew.version import Versioned


def summary(done: dict[str, Step]) -> str:
    """Return a few lines for each step that was taken."""
    return "\n".join(f"{name:<9} {line}" for name, step in done.items() for line in _lines(step))


def _lines(step: Step) -> Iterator[str]:
    match step:
        case Processed():
            return _process(step)
        case Versioned():
            return _version(step)
        case Trained():
            return _train(step)
        case Evaluation():
            return _evaluate(step)
        case Registered():
            return _register(step)


def _process(step: Processed) -> Iterator[str]:
    if step.job is None:
        yield "nothing to do: dvc.lock is up to date"
    else:
        yield f"{', '.join(step.stale)} by job {_job(step.job)}"
        yield f"files: {step.job.pushed} new, {step.job.reused} reused in the DVC remote"


def _version(step: Versioned) -> Iterator[str]:
    resolution = step.resolution
    yield f"{resolution.data_version} ({'new' if step.created else 'exists'})"
    yield f"data_git_commit_id {resolution.data_git_commit_id}"


def _train(step: Trained) -> Iterator[str]:
    if step.job is None:
        yield f"reused: MLflow run {step.run_id} has the same run fingerprint; no job"
    else:
        yield f"job {_job(step.job)}, MLflow run {step.run_id}"


def _job(job: Job) -> str:
    cost = f", {usd(job.cost_usd)}" if job.cost_usd is not None else ""
    return f"{job.name} in {job.seconds:.1f} s{cost}"


def _evaluate(step: Evaluation) -> Iterator[str]:
    against = f"against {step.baseline}" if step.baseline else "no baseline yet"
    yield f"gates {step.verdict} ({against})"
    for gate in step.results:
        mark = "ok  " if gate.passed else "FAIL"
        before = f", baseline {gate.baseline:.4f}" if gate.baseline is not None else ""
        yield f"{mark} {gate.metric} = {gate.value:.4f}{before} ({gate.rule} {gate.limit:g})"


def _register(step: Registered) -> Iterator[str]:
    new = "new" if step.created else "reused, no new version"
    yield f"{step.version.uri} ({new})"
    if step.consent:
        yield f"consent: {step.consent}"
    if step.held_back:
        yield f"not promoted: {step.held_back}"
    yield f"aliases: {', '.join(step.version.aliases) or 'none'}"
    yield from step.stays
