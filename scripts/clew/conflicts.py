"""Merge conflicts: which files have them, and the one command that ends them.

A conflict in dvc.lock is never merged by hand: processing makes dvc.lock again from the inputs of
the merged commit, so either side will do to start from. All other files are sources.
"""

from __future__ import annotations

import itertools
import posixpath
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from clew.errors import ConfigError
from clew.identity import CommitSha
from clew.project import Project

LOCK = "dvc.lock"
SEARCHED = 1_000  # commits that are looked through for a whole dvc.lock
# https://git-scm.com/docs/git-merge#_how_conflicts_are_presented
MARKER = re.compile(rb"^(?:<{7}|\|{7}|>{7})(?: |\r?$)", re.MULTILINE)
CONTINUE = {  # how a commit is made of what was merged
    "merge": "git commit --no-edit",
    "rebase": "git -c core.editor=true rebase --continue",
    # A commit of dvc.lock alone, as clew's own are, has nothing left in it.
    **{
        name: f"(git -c core.editor=true {name} --continue || git {name} --skip)"
        for name in ("cherry-pick", "revert")
    },
}


class Conflict(ConfigError):
    """A committed file has conflict markers in it."""

    def __init__(self, source: str, fix: str) -> None:
        super().__init__(f"{source} has conflict markers (`<<<<<<<`) in it", fix=fix)
        self.source = source


@dataclass(frozen=True)
class Unmerged:
    """What a merge that is not finished has left in the working tree."""

    operation: str  # merge | rebase | cherry-pick | revert, empty for `git stash pop`
    paths: tuple[str, ...]


def refuse_markers(text: bytes, source: str) -> None:
    """Raise Conflict when a committed file has conflict markers in it."""
    if MARKER.search(text):
        raise Conflict(source, _by_hand([source], "git commit"))


def refuse_unmerged(project: Project) -> None:
    """Raise ConfigError when Git waits for conflicts to be solved, and say how."""
    found = project.repository.unmerged()
    if found is None:
        return
    locks = [path for path in found.paths if posixpath.basename(path) == LOCK]
    others = [path for path in found.paths if path not in locks]
    going_on = CONTINUE.get(found.operation, "")
    words = f"a {found.operation} is not finished" if going_on else "there are conflicts"
    what = f"{words}: {', '.join(found.paths)} changed on both sides"
    if not locks:
        raise ConfigError(what, fix=_by_hand(others, going_on or "git commit"))
    taken = _command(*_our_side(project, locks), going_on, "clew run")
    both = f"dvc.lock is made again from both sides' inputs, so don't merge it by hand: {taken}"
    raise ConfigError(what, fix=f"{_by_hand(others, '')} Then: {both}" if others else both)


def _our_side(project: Project, locks: Sequence[str]) -> list[str]:
    """Return the commands that take each dvc.lock as HEAD has it, or as it has none."""
    repository = project.repository
    ids = repository.object_ids([(repository.commit("HEAD"), path) for path in locks])
    paths = [_quoted(path) for path, oid in zip(locks, ids, strict=True) if oid is not None]
    gone = [_quoted(path) for path, oid in zip(locks, ids, strict=True) if oid is None]
    taken = f"git checkout HEAD -- {' '.join(paths)}" if paths else ""
    return [taken, f"git rm --quiet {' '.join(gone)}" if gone else ""]


def with_command(project: Project, commit: CommitSha, found: Conflict) -> Conflict:
    """Return the same conflict with the command that ends it, if it is in dvc.lock."""
    if found.source != LOCK:
        return found
    whole = _last_whole_lock(project, commit)
    path = _quoted(project.path(LOCK))
    taken = f"git checkout {whole[:12]} -- {path}" if whole else f"git rm --quiet {path}"
    command = _command(taken, 'git commit -m "Take one side of dvc.lock"', "clew run")
    fix = f"dvc.lock is made again from both sides' inputs, so don't merge it by hand: {command}"
    return Conflict(LOCK, fix)


def _last_whole_lock(project: Project, commit: CommitSha) -> CommitSha | None:
    """Return the nearest earlier commit whose dvc.lock has no markers, None where there is none."""
    repository, path = project.repository, project.path(LOCK)
    history = itertools.islice(repository.history(commit, [path]), SEARCHED)
    commits = [entry.commit for entry in history]
    ids = repository.object_ids([(one, path) for one in commits])
    texts = repository.blobs({oid for oid in ids if oid is not None})
    whole = {oid for oid, text in texts.items() if not MARKER.search(text)}
    return next((one for one, oid in zip(commits, ids, strict=True) if oid in whole), None)


def _by_hand(paths: Sequence[str], going_on: str) -> str:
    shown = " ".join(map(_quoted, paths))
    command = _command(f"git add {shown}", going_on)
    pointers = [path.removesuffix(".dvc") for path in paths if path.endswith(".dvc")]
    if pointers:
        data = ", ".join(pointers)
        return (
            f"Bring together in {data} what both sides have (or take one side with `git checkout "
            f"--ours` or `--theirs` and `dvc checkout`), run `dvc add` for it, then: {command}"
        )
    return f"Only you know which side is right: edit what Git marked, then: {command}"


def _command(*parts: str) -> str:
    return f"`{' && '.join(filter(None, parts))}`"


def _quoted(path: str) -> str:
    """Return a path from the top of the repository, wherever the command is given."""
    return shlex.quote(f":/{path}" if "/" in path else path)
