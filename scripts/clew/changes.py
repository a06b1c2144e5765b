"""changes: whether what lies between two commits can make other data or another model."""

from __future__ import annotations

from clew.context import Context
from clew.dvcfiles import DEFINITIONS, LOCK
from clew.errors import ConfigError
from clew.identity import CommitSha
from clew.inputs import inputs_of
from clew.preflight import DVC_CONFIG
from clew.repository import Repository

OWN = "Clew-Run"  # the trailer of clew's own commits


def own_run(repository: Repository, commit: CommitSha, before: CommitSha | None) -> str | None:
    """Return the run fingerprint that clew's own commit names, where a push brought nothing else.

    A merge that ends in such a commit brings more than it.
    """
    facts = repository.facts(commit)
    return facts.trailers.get(OWN) if facts.parents == (before,) else None


def made_for(repository: Repository, commit: CommitSha) -> CommitSha:
    """Return the commit that clew put its own on top of; any other commit is its own answer."""
    try:
        facts = repository.facts(commit)
    except ConfigError:  # this clone lacks it, so clew did not make it here
        return commit
    return facts.parents[0] if OWN in facts.trailers and len(facts.parents) == 1 else commit


def is_overtaken(repository: Repository, commit: CommitSha, head: CommitSha | None) -> bool:
    """Tell whether a branch is past a commit, or has left it: what is said of it is old."""
    return head not in (None, commit) and not repository.is_ancestor(head, commit)


def relevant_changes(context: Context, before: CommitSha, commit: CommitSha) -> list[str]:
    """Return the paths that differ and that data, training, gates or registration depend on.

    Folders are told as a whole. A commit that this clone lacks differs in everything.
    """
    project = context.project
    paths = [*_watched(context, commit), *_pointers(context, before), *_pointers(context, commit)]
    names = sorted({*map(project.path, paths), DVC_CONFIG})
    ids = [project.repository.object_ids([(at, name) for name in names]) for at in (before, commit)]
    return [name for name, *pair in zip(names, *ids, strict=True) if pair[0] != pair[1]]


def _watched(context: Context, commit: CommitSha) -> list[str]:
    pipeline = context.pipeline
    stages = [*pipeline.data.stages, *pipeline.train.stages]
    named = [context.project.file, DEFINITIONS, LOCK, *inputs_of(context, commit, stages)]
    named += [pipeline.code.lock] if pipeline.code.lock else []
    return [*named, pipeline.consent.registry] if pipeline.consent else named


def _pointers(context: Context, commit: CommitSha) -> list[str]:
    """Return the `*.dvc` files of the pipeline's folder."""
    project = context.project
    prefix = f"{project.folder}/" if project.folder else ""
    return [
        entry.path.removeprefix(prefix)
        for entry in project.repository.entries(commit)
        if entry.path.startswith(prefix) and entry.path.endswith(".dvc")
    ]
