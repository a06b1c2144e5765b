"""preflight: what is refused before anything changes."""

from __future__ import annotations

import contextlib
import posixpath

from clew.context import Context
from clew.dvcfiles import DEFINITIONS, LOCK, Definitions, NoPointer, definitions
from clew.errors import ConfigError
from clew.identity import CommitSha
from clew.inputs import deps_of
from clew.request import RunRequest
from clew.resolve import pointers_at

SHOWN_PATHS = 5
DVC_CONFIG = ".dvc/config"


def preflight(context: Context, request: RunRequest) -> None:
    """Raise ConfigError or OutsideError for what would make a run unsound or fail halfway."""
    context.tracker.check()
    context.store.remote()
    stages = definitions(context.read(request.commit, DEFINITIONS)[0])
    for name in (*context.pipeline.data.stages, *context.pipeline.train.stages):
        stages.stage(name)
    with contextlib.suppress(NoPointer):  # not processed yet
        pointers_at(context.project, context.pipeline, request.commit)
    _refuse_unlisted_inputs(context, request.commit, stages)
    if not request.dirty:
        _refuse_dirty(context, request.commit, stages)


def _refuse_unlisted_inputs(context: Context, commit: CommitSha, stages: Definitions) -> None:
    """Refuse what training reads and no fingerprint covers: a change of it would go unseen."""
    pipeline = context.pipeline
    made = {o.path for name in pipeline.train.stages for o in stages.stage(name).outs()}
    covered = made | set(pipeline.data.outputs) | set(pipeline.code.paths) | {"params.yaml"}
    for name in pipeline.train.stages:
        for dep in deps_of(stages.stage(name)):
            if any(dep == path or dep.startswith(f"{path}/") for path in covered):
                continue
            tracked = context.read(commit, f"{dep}.dvc") != [None] or stages.owner(dep) is not None
            key = "data.outputs" if tracked else "code.paths"
            raise ConfigError(
                f"the stage '{name}' reads {dep}, which no fingerprint covers: "
                "a change of it would not count as another training",
                fix=f"Add {dep} to {key} in pipeline.yaml.",
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
        read |= {path for dep in deps_of(stages.stage(name)) for path in (dep, f"{dep}.dvc")}
    paths = {context.project.path(path) for path in read} | {DVC_CONFIG}
    changed = repository.dirty(sorted(paths))
    if changed:
        shown = ", ".join(posixpath.normpath(path) for path in changed[:SHOWN_PATHS])
        more = f" and {len(changed) - SHOWN_PATHS} more" if len(changed) > SHOWN_PATHS else ""
        raise ConfigError(
            f"a job would not see what is not committed: {shown}{more}",
            fix="Run `git add` and `git commit`, or try it out with --allow-dirty.",
        )
