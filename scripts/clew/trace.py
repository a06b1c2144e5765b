"""trace: from a model to its data, code and job, and from data back to its models.

Every fact says where it was read; facts that are kept in two places are held against each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from clew.chain import Trace
from clew.config.load import load
from clew.config.model import Pipeline
from clew.context import Context
from clew.dvcyaml import scalar
from clew.errors import ClewError, ConfigError
from clew.fingerprint import training
from clew.identity import CommitSha, DataFingerprint, Pointer, RunId, data_fingerprint, data_version
from clew.lineage import CHARGED, NAMES, recorded_param
from clew.mlflow_runs import COMPLETED, TRAIN
from clew.packages import follow_package
from clew.ports import ModelVersion, TrackedRun
from clew.project import Project
from clew.resolve import data_commit_of, pointers_then, project_at

RUN_ID = re.compile(r"[0-9a-f]{32}")
MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")


def trace(context: Context, subject: str) -> Trace:
    """Return the chain of a model URI, a run id, a data version or a commit.

    Raises ConfigError when there is no such thing.
    """
    result = Trace(subject)
    if match := MODEL_URI.fullmatch(subject):
        name, wanted = match["name"], match["version"] or match["alias"]
        version = context.tracker.version(name, wanted)
        if version is None:
            raise ConfigError(
                f"MLflow at {context.tracker.uri} has no {subject}",
                fix="Its models and aliases are in MLflow's own page of registered models.",
            )
        follow_model(context, result, version)
    elif RUN_ID.fullmatch(subject):
        run = context.tracker.run(RunId(subject))
        if run is None:
            raise ConfigError(
                f"MLflow at {context.tracker.uri} has no run {subject}",
                fix="Ask the MLflow server where it was made: set MLFLOW_TRACKING_URI.",
            )
        _run(context, result, run)
        _models_of(context, result, {"run_fingerprint": run.params.get("run_fingerprint", "")})
    elif subject.startswith("data/"):
        _from_data_version(context, result, subject)
    elif subject.startswith("models:"):
        raise ConfigError(
            f"{subject} names no model version",
            fix="Write models:/NAME/VERSION or models:/NAME@ALIAS.",
        )
    else:
        _from_commit(context, result, context.project.repository.commit(subject))
    return result


def follow_model(context: Context, result: Trace, version: ModelVersion) -> None:
    """Add a model version and all that it comes from."""
    source = f"MLflow tags of {version.uri}"
    facts = {name: version.tags[name] for name in NAMES if name in version.tags}
    facts |= {"aliases": ", ".join(version.aliases) or "none"}
    result.add(version.uri, "model version", facts, source)
    follow_package(context, result, version)
    run = context.tracker.run(version.run_id)
    if run is None:
        result.check(f"the MLflow run of {version.uri}", None, f"run {version.run_id} is gone")
        _data(context, result, version.uri, version.tags, source)
        return
    result.link(version.uri, run.id, "trained by")
    for name in NAMES:
        there = version.tags.get(name), run.params.get(name)
        equal = None if None in there else there[0] == there[1]
        evidence = f"tag of {version.uri}: {there[0]}, param of run {run.id}: {there[1]}"
        result.check(f"{name} of model version and run", equal, evidence)
    made = context.tracker.model_source(run.id)
    evidence = f"{version.uri}: {version.source}, run {run.id}: {made or 'no model'}"
    equal = None if made is None else version.source == made
    result.check("the bytes of model version and run", equal, evidence)
    _run(context, result, run)


def _run(context: Context, result: Trace, run: TrackedRun) -> None:
    source = f"MLflow params and tags of run {run.id}"
    keys = (
        *("clew.stage", "clew.trigger", "clew.actor", "clew.reason"),
        *("clew.executor", "clew.job", "clew.dirty"),
    )
    facts = {"status": run.status, **run.params}
    facts |= {key: run.tags[key] for key in keys if key in run.tags}
    result.add(run.id, "MLflow run", facts, source)
    if "clew.job" in run.tags:
        job = f"job {run.tags['clew.job']}"
        charged = {key: run.tags[key] for key in CHARGED if key in run.tags}
        facts = {"executor": run.tags.get("clew.executor", ""), **charged}
        result.add(job, "job", facts, source)
        result.link(run.id, job, "ran as")
    _data(context, result, run.id, run.params, source)
    if run.tags.get("clew.stage") == TRAIN:
        finished = run.status == "FINISHED" and COMPLETED.items() <= run.tags.items()
        result.check(f"the run {run.id} is complete", finished, f"its status is {run.status}")
        _fingerprint(context, result, run)


def _fingerprint(context: Context, result: Trace, run: TrackedRun) -> None:
    """Compute the run fingerprint again, from the commit and the recorded params."""
    recorded = run.params.get("run_fingerprint")
    what = "the run fingerprint"
    if recorded is None:
        return  # the lineage record is incomplete, which is told already
    try:
        computed = _computed(context, run)
    except ClewError as error:
        result.check(what, None, error.what)
        return
    commit = run.params["code_git_commit_id"][:12]
    evidence = f"recorded {recorded}, computed from the commit {commit} and params: {computed}"
    result.check(what, computed == recorded, evidence)


def _computed(context: Context, run: TrackedRun) -> str:
    commit = CommitSha(run.params["code_git_commit_id"])
    there = _pipeline_at(context, commit)
    if there is None:
        raise ConfigError(f"pipeline.yaml at {commit[:12]} can't be read")
    project, pipeline = there
    executor = run.tags.get("clew.executor", "")
    made = training(project, pipeline, commit, executor=executor, overrides={})
    other = {
        key: scalar(run.params[key])
        for key, value in made.params.items()
        if run.params.get(key, recorded_param(value)) != recorded_param(value)
    }
    data = DataFingerprint(run.params["data_fingerprint"])
    dirty = run.tags.get("clew.dirty") == "true"
    return replace(made, params={**made.params, **other}).fingerprint(data, dirty=dirty)


def _data(context: Context, result: Trace, owner: str, facts: Any, source: str) -> None:
    """Follow a model's or a run's own words to the data commit, and check them against Git."""
    missing = [name for name in NAMES if name not in facts]
    if missing:
        result.check("the lineage record", None, f"{source} lack {', '.join(missing)}")
        return
    code, data = CommitSha(facts["code_git_commit_id"]), CommitSha(facts["data_git_commit_id"])
    pipeline = _pipeline_of(context, code)
    _data_commit(context, result, data, pipeline, facts["data_fingerprint"])
    result.link(owner, data, "data_git_commit_id")
    if code != data:
        _commit(context, result, code)
    result.link(owner, code, "code_git_commit_id")
    _tag(context, result, facts["data_version"], data)


def _commit(context: Context, result: Trace, commit: CommitSha) -> None:
    repository = context.project.repository
    try:
        known = repository.commit(f"{commit}^{{commit}}") == commit
    except ClewError:
        known = False
    result.add(commit, "commit", {}, "git cat-file")
    evidence = "git cat-file" if known else "this clone does not have it; fetch it first"
    result.check(f"the commit {commit[:12]} exists", True if known else None, evidence)


def _data_commit(
    context: Context, result: Trace, commit: CommitSha, pipeline: Pipeline, recorded: str
) -> None:
    _commit(context, result, commit)
    try:
        pointers = pointers_then(context.project, pipeline, commit)
    except ClewError as error:
        result.check(f"the pointers at {commit[:12]}", None, error.what)
        return
    fingerprint = data_fingerprint(pointers)
    evidence = f"recorded {recorded}, computed from dvc.lock at {commit[:12]}: {fingerprint}"
    result.check("the data fingerprint", fingerprint == recorded, evidence)
    remote = context.store.remote()
    result.add(remote.shown_url, "DVC remote", {"name": remote.name}, "DVC config")
    _bytes(context, result, pointers)
    for pointer in pointers:
        facts = {key: str(value) for key, value in pointer.as_json().items() if value is not None}
        node = f"{pointer.path} {pointer.md5}"
        result.add(node, "DVC pointer", facts, f"dvc.lock at {commit}")
        result.link(commit, node, "holds")
        result.link(node, remote.shown_url, "stored in")


def _bytes(context: Context, result: Trace, pointers: Sequence[Pointer]) -> None:
    """Hold the remote's objects against the pointers."""
    what = "the data in the DVC remote"
    try:
        problems = context.store.problems(pointers)
    except ClewError as error:
        result.check(what, None, error.what)
        return
    shown = ", ".join(f"{problem.path} is {problem.reason}" for problem in problems[:3])
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    found = f"{shown}{more}" if problems else "every object is there, with the bytes of its name"
    result.check(what, not problems, found)


def _tag(context: Context, result: Trace, tag: str, data: CommitSha) -> None:
    repository = context.project.repository
    found = repository.tag_commit(tag) or repository.fetch_tag(tag)
    if found is None:
        result.check(f"the tag {tag}", None, "neither this clone nor the remote has it")
        return
    result.add(tag, "data version", {"commit": found}, f"git tag {tag}")
    result.link(data, tag, "tagged as")
    result.check(f"the tag {tag} is on the data commit", found == data, f"it is on {found}")


def _from_data_version(context: Context, result: Trace, tag: str) -> None:
    repository = context.project.repository
    commit = repository.tag_commit(tag) or repository.fetch_tag(tag)
    if commit is None:
        raise ConfigError(f"there is no data version {tag}", fix="See `git tag --list 'data/*'`.")
    result.add(tag, "data version", {"commit": commit}, f"git tag {tag}")
    _commit(context, result, commit)
    result.link(tag, commit, "is on")
    _names_its_data(context, result, tag, commit)
    _data_state(context, result, commit)
    for version in context.tracker.versions({"data_version": tag}):
        result.link(tag, version.uri, "trained")
        follow_model(context, result, version)


def _names_its_data(context: Context, result: Trace, tag: str, commit: CommitSha) -> None:
    pipeline = _pipeline_of(context, commit)
    with suppress(ClewError):  # told where the data state is followed
        fingerprint = data_fingerprint(pointers_then(context.project, pipeline, commit))
        name = data_version(pipeline.name, fingerprint)
        result.check(f"the tag {tag} names its data", name == tag, f"the data is {name}")


def _from_commit(context: Context, result: Trace, commit: CommitSha) -> None:
    _commit(context, result, commit)
    for run in context.tracker.runs_with_param("code_git_commit_id", commit):
        if run.tags.get("clew.stage") == "train":
            _run(context, result, run)
    _models_of(context, result, {"code_git_commit_id": commit})
    _models_of(context, result, {"data_git_commit_id": commit})
    _data_state(context, result, commit)


def _data_state(context: Context, result: Trace, commit: CommitSha) -> None:
    pipeline = _pipeline_of(context, commit)
    try:
        found = data_commit_of(context.project, pipeline, commit)
    except ClewError as error:
        result.check(f"the data of {commit[:12]}", None, error.what)
        return
    _data_commit(context, result, found.commit, pipeline, found.fingerprint)
    if found.commit != commit:
        result.link(commit, found.commit, "data_git_commit_id")
    _tag(context, result, found.version, found.commit)


def _models_of(context: Context, result: Trace, tags: dict[str, str]) -> None:
    for version in context.tracker.versions(tags):
        follow_model(context, result, version)


def _pipeline_of(context: Context, commit: CommitSha) -> Pipeline:
    """Return the pipeline as a commit has it; as it is now where the commit has none."""
    there = _pipeline_at(context, commit)
    return there[1] if there else context.pipeline


def _pipeline_at(context: Context, commit: CommitSha) -> tuple[Project, Pipeline] | None:
    """Return pipeline.yaml as a commit has it, and where it was then."""
    try:
        project = context.project
        if context.read(commit, project.file) == [None]:
            project = project_at(project, context.pipeline.name, commit)
        path = project.path(project.file)
        text = project.repository.read(commit, [path])[path]
        return (project, load(text, path)) if text is not None else None
    except ClewError:
        return None
