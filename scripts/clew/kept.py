"""Which versions of the data are needed, by whom, and what of that could not be found out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from clew.errors import ConfigError
from clew.identity import CommitSha
from clew.pointer_files import Held, held_by

NAMES = {  # how refs are called, the more special prefix first
    "refs/heads/": "branch ",
    "refs/remotes/": "branch ",
    "refs/stash": "stash",
    "refs/tags/data/": "data version data/",
    "refs/tags/": "tag ",
}


@dataclass(frozen=True)
class Kept:
    """What one reason keeps; reasons overlap."""

    reason: str
    objects: int
    bytes: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Registered:
    """A model version in MLflow, of any registered model."""

    uri: str
    model: str
    commit: str  # data_git_commit_id, empty when nothing says it
    repository: str  # dvc_repo_url of its run, empty when nothing says it
    remote: str  # dvc_remote_url of its run


class RegisteredModels(Protocol):
    """Every model version of the MLflow registry."""

    def registered(self) -> list[Registered]:
        """Return all of them; Unverifiable when MLflow can't be read."""


class Refs(Protocol):
    """The branches, tags and working trees of a repository and of its remote."""

    def is_ours(self, repository: str, remote: str) -> bool:
        """Tell whether a run's repository or DVC remote is this one."""

    def remote_refs(self) -> Mapping[str, CommitSha] | None:
        """Return branches and tags as the Git remote has them now; None when there is no remote.

        Their commits are brought here where this clone lacks them.
        """

    def local_refs(self) -> Mapping[str, CommitSha]:
        """Return every ref of this clone that leads to a commit, stashes and worktrees too."""

    def bring(self, commit: str) -> CommitSha | None:
        """Return a commit, asked of the Git remote where this clone lacks it; None: not there."""

    def pointer_files(self, commit: CommitSha) -> dict[str, bytes]:
        """Return all of DVC's pointer files at a commit."""

    def uncommitted(self) -> dict[str, dict[str, bytes]]:
        """Return DVC's pointer files of each working tree and index, by what to call them."""

    def past(self) -> Iterator[Held]:
        """Yield what any commit of this clone ever pointed to."""


@dataclass
class Needs:
    """What each reason needs."""

    versions: dict[str, list[Held]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, reason: str, found: Iterable[Held | ConfigError]) -> None:
        version = self.versions.setdefault(reason, [])
        for one in found:
            if isinstance(one, ConfigError):
                self.problems.append(f"{reason}: {one.what}")
            else:
                version.append(one)


def kept_versions(refs: Refs, models: RegisteredModels, model: str) -> Needs:
    """Return what branches, tags, working trees and registered models need."""
    needs = Needs()
    tips = {_named(name): tip for name, tip in refs.local_refs().items()}
    theirs = refs.remote_refs() or {}
    for name, tip in theirs.items():
        called = _named(name)
        # A branch may be elsewhere here than in the remote: both count.
        tips[called if tips.get(called, tip) == tip else f"{called} in the Git remote"] = tip
    here = {str(tip): tip for tip in tips.values()}
    for one in models.registered():
        found = here.get(one.commit) or _commit_of(refs, one, model, needs)
        if found is not None:
            tips[f"model version {one.uri}"] = found
    seen: dict[CommitSha, list[Held | ConfigError]] = {}
    for reason, tip in tips.items():
        if tip not in seen:
            seen[tip] = list(held_by(refs.pointer_files(tip)))
        needs.add(reason, seen[tip])
    for place, files in refs.uncommitted().items():
        needs.add(place, held_by(files))
    return needs


def _commit_of(refs: Refs, one: Registered, model: str, needs: Needs) -> CommitSha | None:
    """Return the data commit of a model version; None when it is another repository's."""
    found = refs.bring(one.commit) if one.commit else None
    if found is not None:
        return found
    others = one.model != model and not refs.is_ours(one.repository, one.remote)
    if others and (not one.commit or (one.repository and one.remote)):
        return None  # not clew's, or all that is recorded says that it is somebody else's
    lost = f"its data commit {one.commit[:12]} is neither here nor in the Git remote"
    said = lost if one.commit else "it has no data_git_commit_id"
    needs.problems.append(f"the data of {one.uri} is unknown: {said}")
    return None


def _named(ref: str) -> str:
    found = (
        (word, ref.removeprefix(prefix)) for prefix, word in NAMES.items() if ref.startswith(prefix)
    )
    return "".join(next(found, (ref,)))
