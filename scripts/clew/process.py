"""process: bring the data stages up to date, in a job on the exact commit."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clew import lineage
from clew.asked import forget
from clew.bundle import Bundle, bundle
from clew.context import Context
from clew.dvcfiles import DEFINITIONS, pointers_in
from clew.errors import ClewError, ConfigError, JobFailed, Unverifiable
from clew.identity import CommitSha, Pointer, RunId, digest
from clew.inputs import added_inputs, inputs_of, stages_before
from clew.jobs import PROCESS, run_id_of, run_job, taking_up
from clew.merges import woven
from clew.ports import Job, JobSpec
from clew.remote_data import ensure_in_remote, refusal
from clew.request import RunRequest


@dataclass(frozen=True)
class Processed:
    """What the data stages left: nothing when dvc.lock was up to date."""

    stale: tuple[str, ...] = ()
    lock: bytes | None = None
    run_id: RunId | None = None
    job: Job | None = None

    def as_json(self) -> dict[str, Any]:
        counts = {"new": self.job.pushed, "reused": self.job.reused} if self.job else {}
        name = self.job.name if self.job else None
        return {"stages": list(self.stale), "job": name, "files": counts}


def process(context: Context, request: RunRequest) -> Processed:
    """Run the stale data stages and return their dvc.lock; ConfigError when that is not allowed."""
    stages = context.pipeline.data.stages
    if not stages:
        return Processed()
    source = bundle(context, request.commit, inputs_of(context, request.commit, stages))
    stale, force = stages_to_run(context, request, source)
    if not stale:
        context.reporter.step("process", "dvc.lock is up to date, nothing to run")
        _keep_inputs(context, added_inputs(context, request.commit, stages))
        return Processed()
    if not request.may_process:
        raise ConfigError(
            f"dvc.lock is older than the inputs of {', '.join(stale)}",
            fix="Leave out --no-process, or run `dvc repro` and `dvc push`, and commit dvc.lock.",
        )
    ensure_in_remote(context, "process", added_inputs(context, request.commit, stages))
    return _run(context, request, source, stale, force=force)


def _keep_inputs(context: Context, inputs: Sequence[Pointer]) -> None:
    """Push what the data was made from by hand, so that it can be made again."""
    try:
        ensure_in_remote(context, "process", inputs)
    except Unverifiable as error:  # the data itself is there, which is what training reads
        told = f"the data can't be made again: {error.what}"
        context.reporter.step("process", told)


def stages_to_run(
    context: Context, request: RunRequest, source: Bundle
) -> tuple[tuple[str, ...], bool]:
    """Return the data stages to run, and whether DVC has to be told that they are stale."""
    if request.reprocess:
        return context.pipeline.data.stages, True
    put_together = _woven(context, request.commit)
    return put_together or stale_stages(context, source), bool(put_together)


def _woven(context: Context, commit: CommitSha) -> tuple[str, ...]:
    """Return the stages whose entry in dvc.lock a merge made up and no finished run has made."""
    names = stages_before(context, commit, context.pipeline.data.stages)
    found = list(woven(context.project, commit, names))
    if not found:
        return ()
    runs = [] if context.tracker.is_new() else context.tracker.runs({"clew.stage": "process"})
    made = {run.tags.get("clew.key") for run in runs if run.status == "FINISHED"}
    left = [one for one in found if made.isdisjoint(process_key(context, c) for c in one.commits)]
    for one in left:
        told = f"the merge {one.merge[:12]} put {one.stage} in dvc.lock together from both sides"
        context.reporter.step("process", told)
    return tuple(one.stage for one in left)


def stale_at(context: Context, request: RunRequest) -> tuple[str, ...]:
    """Return the data stages that would have to run for a request."""
    if not (stages := context.pipeline.data.stages):
        return ()
    source = bundle(context, request.commit, inputs_of(context, request.commit, stages))
    return stages_to_run(context, request, source)[0]


def stale_stages(context: Context, source: Bundle) -> tuple[str, ...]:
    """Return the data stages whose results at the commit are not those of its inputs."""
    with tempfile.TemporaryDirectory(prefix="clew-") as folder:
        with tarfile.open(source.path) as archive:
            archive.extractall(folder, filter="data")
        where = Path(folder) / context.project.folder
        return tuple(context.store.stale_stages(where, context.pipeline.data.stages))


def process_key(context: Context, commit: CommitSha) -> str:
    """Return the identity of a processing: the same tree and stages give the same data."""
    (tree,) = context.project.repository.object_ids([(commit, "")])
    return digest({"tree": tree, "stages": context.pipeline.data.stages})


def _run(
    context: Context, request: RunRequest, source: Bundle, stale: tuple[str, ...], *, force: bool
) -> Processed:
    context.reporter.step("process", f"stages to run: {', '.join(stale)}")
    key = process_key(context, request.commit)

    def make(name: str) -> JobSpec:
        tags = lineage.run_tags(context, request)
        run_id = context.tracker.claim("process", key, f"process-{key[:12]}", tags)
        commit = {"code_git_commit_id": request.commit}
        context.tracker.record(run_id, params=commit)
        return replace(_spec(context, request, name, source, run_id), force=force)

    def lacks(job: Job) -> ClewError | None:
        return _lacks(context, request, job)

    try:
        job = run_job(context, request, PROCESS, key, make, lacks)
    except JobFailed as error:
        forget(context, request, str(error))
        raise
    context.tracker.record(run_id_of(job), tags=taking_up(context, job))
    return Processed(stale, _lock_of(job), run_id_of(job), job)


def _spec(
    context: Context, request: RunRequest, name: str, source: Bundle, run_id: RunId
) -> JobSpec:
    return JobSpec(
        name=name,
        bundle=source.path,
        bundle_sha256=source.sha256,
        workdir=context.project.folder or ".",
        stages=context.pipeline.data.stages,
        remote=context.store.remote(),
        push=context.pipeline.data.outputs,
        environment={"CLEW_RUN_ID": run_id},
        max_seconds=context.pipeline.executor.max_seconds,
        tags=lineage.job_tags(context, {"code_git_commit_id": request.commit}),
    )


def _lock_of(job: Job) -> bytes:
    lock = job.output / "output/data/dvc.lock" if job.output else None
    if lock is None or not lock.exists():
        raise JobFailed(f"the processing job {job.name} left no dvc.lock")
    return lock.read_bytes()


def _lacks(context: Context, request: RunRequest, job: Job) -> ClewError | None:
    """Return why the data that a job made can't be taken up, None where the remote holds it."""
    again = f"make the data again: `clew run --force`{', paid for again' if job.arn else ''}."
    (stages,) = context.read(request.commit, DEFINITIONS)
    try:
        pointers = pointers_in(_lock_of(job), stages or b"", context.pipeline.data.outputs)
    except JobFailed as error:
        return JobFailed(error.what, fix=again.capitalize())
    except ConfigError as error:
        what = f"the dvc.lock that the job {job.name} left can't be used: {error.what}"
        return Unverifiable(what, fix=f"Restore it and delete {job.output}, or {again}")
    if not (problems := context.store.problems(pointers)):
        return None
    return Unverifiable(
        f"the job {job.name} left a dvc.lock that the data does not match: "
        f"{refusal(context, problems).what}",
        fix=f"Restore these objects, or the dvc.lock and delete {job.output}, or {again}",
    )
