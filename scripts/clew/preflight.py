"""preflight: what is refused before anything changes."""

from __future__ import annotations

import contextlib
import posixpath
import re
from difflib import get_close_matches

from clew.conflicts import refuse_unmerged
from clew.context import Context
from clew.dvcfiles import DEFINITIONS, LOCK, Definitions, NoPointer, definitions
from clew.errors import ConfigError
from clew.fingerprint import training
from clew.identity import CommitSha
from clew.inputs import added_inputs, dvc_files
from clew.lineage import RESERVED
from clew.request import RunRequest
from clew.resolve import pointers_at

SHOWN_PATHS = 5
MLFLOW_NAME = re.compile(r"[/\w.\- :]{1,250}")
DVC_CONFIG = ".dvc/config"


def preflight(context: Context, request: RunRequest) -> None:
    """Raise ConfigError or OutsideError for what would make a run unsound or fail halfway."""
    context.tracker.check()
    context.store.remote()
    if context.packages is not None and context.executor.name == "sagemaker":
        context.packages.check()
    refuse_unsound(context, request)


def refuse_unsound(context: Context, request: RunRequest) -> None:
    """Raise ConfigError for what is wrong in the commit or in the working tree."""
    if request.dirty or request.commit == context.project.repository.commit("HEAD"):
        refuse_unmerged(context.project)
    stages = definitions(context.read(request.commit, DEFINITIONS)[0])
    for name in (*context.pipeline.data.stages, *context.pipeline.train.stages):
        stages.stage(name)
    with contextlib.suppress(NoPointer):  # not processed yet
        pointers_at(context.project, context.pipeline, request.commit)
    _refuse_reserved(context, request)
    _refuse_unwritten(context, stages)
    _refuse_absent(context, request.commit, stages)
    _refuse_unlisted_inputs(context, request.commit, stages)
    if not request.dirty:
        _refuse_dirty(context, request.commit, stages)
    _refuse_modified(context, request)


def _refuse_unlisted_inputs(context: Context, commit: CommitSha, stages: Definitions) -> None:
    """Refuse what training reads and no fingerprint covers: a change of it would go unseen."""
    pipeline = context.pipeline
    made = {o.path for name in pipeline.train.stages for o in stages.stage(name).outs()}
    covered = made | set(pipeline.data.outputs) | set(pipeline.code.paths) | {"params.yaml"}
    for name in pipeline.train.stages:
        for dep in stages.stage(name).deps(templates=True):
            if any(dep == path or dep.startswith(f"{path}/") for path in covered):
                continue
            tracked = context.read(commit, f"{dep}.dvc") != [None] or stages.owner(dep) is not None
            key = "data.outputs" if tracked else "code.paths"
            raise ConfigError(
                f"the stage '{name}' reads {dep}, which no fingerprint covers: "
                "a change of it would not count as another training",
                fix=f"Add {dep} to {key} in pipeline.yaml.",
            )


def _refuse_reserved(context: Context, request: RunRequest) -> None:
    """Refuse params that MLflow can't hold, or that would pass for clew's own record."""
    executor = context.executor.name
    found = training(
        context.project, context.pipeline, request.commit, executor=executor, overrides={}
    )
    for name in found.params:
        if name in RESERVED or not MLFLOW_NAME.fullmatch(name):
            why = "clew's own record uses" if name in RESERVED else "MLflow does not take"
            raise ConfigError(
                f"the train stages read a param named {name!r}, a name which {why}",
                fix="Give it another name in params.yaml.",
            )


def _refuse_unwritten(context: Context, stages: Definitions) -> None:
    """Refuse results that pipeline.yaml names and no train stage writes."""
    train = context.pipeline.train
    made = [out for name in train.stages for out in stages.stage(name).outs()]
    named = [("train.model", train.model), *(("train.metrics", f.path) for f in train.metrics)]
    for key, path in named:
        if not any(out.makes(path) for out in made):
            known = sorted(out.path for out in made)
            near = get_close_matches(path, known, 1)
            raise ConfigError(
                f"{key} names {path}, which no train stage in dvc.yaml has as an output",
                fix=f"Did you mean '{near[0]}'?" if near else f"They have: {', '.join(known)}.",
            )


def _refuse_absent(context: Context, commit: CommitSha, stages: Definitions) -> None:
    """Refuse inputs that are neither in the commit, nor with DVC, nor made by a stage."""
    pipeline = context.pipeline
    names = (*pipeline.data.stages, *pipeline.train.stages)
    deps = {dep: name for name in names for dep in stages.stage(name).deps()}
    here = [dep for dep in deps if stages.owner(dep) is None]
    asked = [(commit, context.project.path(dep)) for dep in here]
    found = context.project.repository.object_ids(asked) if asked else []
    for dep, oid in zip(here, found, strict=True):
        if oid is None and not dvc_files(context, commit, [dep]):
            raise ConfigError(
                f"the stage '{deps[dep]}' reads {dep}, which is not in the commit {commit[:12]}",
                fix=f"Run `git add {dep}`, or `dvc add {dep}` when it is data, and commit.",
            )


def _refuse_modified(context: Context, request: RunRequest) -> None:
    """Refuse data in the working tree that DVC was not told of: no job would see it."""
    if not request.dirty and request.commit != context.project.repository.commit("HEAD"):
        return
    names = [*context.pipeline.data.stages, *context.pipeline.train.stages]
    modified = context.store.modified(added_inputs(context, request.commit, names))
    if modified:
        raise ConfigError(
            f"DVC tracks {modified[0]}, which holds something else than is committed",
            fix=f"Run `dvc add {modified[0]}` and commit {modified[0]}.dvc, or `dvc checkout` it.",
        )


def _refuse_dirty(context: Context, commit: CommitSha, stages: Definitions) -> None:
    repository = context.project.repository
    if commit != repository.commit("HEAD"):
        return  # the working tree is not what was asked for
    pipeline = context.pipeline
    read = {context.project.file, DEFINITIONS, LOCK, "params.yaml", DVC_CONFIG}
    read |= {*pipeline.code.paths, *(f"{path}.dvc" for path in pipeline.data.outputs)}
    read |= {pipeline.code.lock} if pipeline.code.lock else set()
    for name in (*pipeline.data.stages, *pipeline.train.stages):
        read |= {path for dep in stages.stage(name).deps() for path in (dep, f"{dep}.dvc")}
    paths = {context.project.path(path) for path in read} | {DVC_CONFIG}
    changed = repository.dirty(sorted(paths))
    if changed:
        shown = ", ".join(posixpath.normpath(path) for path in changed[:SHOWN_PATHS])
        more = f" and {len(changed) - SHOWN_PATHS} more" if len(changed) > SHOWN_PATHS else ""
        raise ConfigError(
            f"a job would not see what is not committed: {shown}{more}",
            fix="Run `git add` and `git commit`, or try it out with --allow-dirty.",
        )
