"""version: make a data state permanent: verified in the remote, committed, tagged, pushed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clew.changes import relevant_changes
from clew.context import Context
from clew.dvcyaml import load
from clew.identity import CommitSha
from clew.mlflow_runs import finished_training
from clew.process import Processed
from clew.records.sign_off import data_entry, message
from clew.remote_data import ensure_in_remote
from clew.repository import Advance
from clew.request import RunRequest
from clew.resolve import Resolution, resolve


@dataclass(frozen=True)
class Versioned:
    """A data state that can be had for ever, and the commit that carries its dvc.lock."""

    resolution: Resolution
    created: bool  # the tag is new
    published: bool  # the Git remote has the commit, so it got the tag too
    pushed: int = 0  # objects that went from the local cache to the DVC remote

    def as_json(self) -> dict[str, Any]:
        return {**self.resolution.as_json(), "created": self.created, "pushed": self.pushed}


def version(context: Context, request: RunRequest, processed: Processed) -> Versioned:
    """Verify the data in the remote, commit a changed dvc.lock, tag the data commit, push the tag.

    Raises Unverifiable when the remote does not hold exactly what the pointers say.
    """
    resolution = resolve_request(context, request, _carrier(context, request, processed))
    pushed = 0
    if not resolution.tagged or finished_training(context, resolution) is None:
        pushed = ensure_in_remote(context, "version", resolution.outputs)
    entry = data_entry(context, resolution)
    if request.dirty:
        return Versioned(resolution, created=False, published=False, pushed=pushed)
    repository = context.project.repository
    tag = resolution.data_version
    published = repository.remote_url() is not None and repository.on_remote(request.commit)
    created = not resolution.tagged and not (published and repository.fetch_tag(tag))
    if created:
        origin = resolution.data_git_commit_id
        context.reporter.step("version", f"tag {tag} on {origin[:12]}")
        repository.create_tag(tag, origin, message(context.pipeline.name, entry))
    if published:
        repository.push_tag(tag)
    context.log.append([entry], publish=published)
    if not resolution.tagged:
        resolution = resolve_request(context, request, resolution.commit)
    return Versioned(resolution, created=created, published=published, pushed=pushed)


def resolve_request(context: Context, request: RunRequest, commit: CommitSha) -> Resolution:
    return resolve(
        context.project,
        context.pipeline,
        commit,
        executor=context.executor.name,
        overrides=request.params,
        dirty=request.dirty,
    )


def _carrier(context: Context, request: RunRequest, processed: Processed) -> CommitSha:
    """Return the commit with the dvc.lock that processing left; the same one at every try."""
    commit = request.commit
    (lock,) = context.read(commit, "dvc.lock")
    if processed.lock is None or processed.lock == lock:
        return commit
    path = context.project.path("dvc.lock")
    draft = context.project.repository.commit_file(commit, path, processed.lock, "draft")
    # Of the run that the commit by itself asks for: --param and --executor make no other commit.
    (text,) = context.read(commit, context.project.file)
    usual = load(text or b"", context.project.file).get("executor", {}).get("use", "local")
    own = resolve(context.project, context.pipeline, draft, executor=usual, overrides={})
    fingerprint = own.run_fingerprint
    message = f"Process {', '.join(processed.stale)}\n\nClew-Run: {fingerprint}\n"
    return context.project.repository.commit_file(commit, path, processed.lock, message)


def show_on_branch(context: Context, request: RunRequest, versioned: Versioned) -> Advance | None:
    """Bring the dvc.lock commit onto the branch it was made for; None when there is none to bring.

    Where no branch takes it, a branch of its own keeps it, and the run goes on.
    """
    resolution = versioned.resolution
    commit, carrier = request.commit, resolution.commit
    if carrier == commit or request.dirty:
        return None
    repository = context.project.repository
    if not versioned.published:
        moved = Advance.NO_REMOTE  # whoever pushes the commit pushes what stands on it
    elif request.branch is None and carrier == resolution.data_git_commit_id:
        return None  # the tag keeps it reachable
    else:
        target = request.branch or f"clew/{resolution.data_fingerprint[:12]}"
        path = context.project.path("dvc.lock")

        def fits(head: CommitSha) -> bool:
            # Another dvc.lock for the same inputs is no reason to drop this one.
            return set(relevant_changes(context, commit, head)) <= {path}

        moved = repository.advance(target, commit, carrier, path, fits)
        context.reporter.step("version", f"dvc.lock on {target}: {moved.value}")
    if moved in (Advance.MOVED, Advance.NO_REMOTE) and repository.fast_forward(commit, carrier):
        return moved
    context.reporter.step("version", "the checked-out branch was left as it is; pull to update")
    return moved
