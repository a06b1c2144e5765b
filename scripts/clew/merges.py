"""Merges that put dvc.lock together from both sides' lines: nothing ever ran what they say.

One side changed the raw data, the other the stage's code: Git merges dvc.lock without a conflict,
and DVC takes the outputs for current, since every input is the one that is written there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from clew.dvcfiles import DEFINITIONS, LOCK, Stage, definitions
from clew.dvcyaml import load
from clew.errors import ConfigError
from clew.identity import CommitSha
from clew.project import Project
from clew.repository import HistoryEntry

SEARCHED = 1_000  # commits back from the one that is asked for

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Woven:
    """A stage whose entry in dvc.lock a merge has put together."""

    stage: str
    merge: CommitSha
    commits: tuple[CommitSha, ...]  # those that have this entry, the merge last


def woven(project: Project, commit: CommitSha, names: list[str]) -> Iterator[Woven]:
    """Yield those of the stages whose entry at the commit comes from a merge and from no run."""
    path, own = project.path(LOCK), project.path(DEFINITIONS)
    stages = definitions(project.repository.read(commit, [own])[own])
    wanted = [stages.stage(name) for name in names]
    locked = [name for name in _lock(project, commit) if _is_one_of(name, wanted)]
    if not locked:
        return
    found = itertools.islice(project.repository.history(commit, [path]), SEARCHED)
    walk = _Walk(project, path, {entry.commit: entry for entry in found})
    for name in locked:
        commits = walk.back(commit, name)
        if commits and walk.is_woven(commits[-1], name):
            yield Woven(name, commits[-1], commits)


def _is_one_of(name: str, stages: list[Stage]) -> bool:
    return any(stage.is_locked_as(name) for stage in stages)


@dataclass(frozen=True)
class _Walk:
    project: Project
    path: str
    history: Mapping[CommitSha, HistoryEntry]

    def back(self, commit: CommitSha, name: str) -> tuple[CommitSha, ...]:
        """Return the commits back to the one that introduced the entry, none if it is too far."""
        entry, passed = self._entry(commit, name), [commit]
        while (found := self.history.get(passed[-1])) is not None:
            same = (p for n, p in enumerate(found.parents) if self._has(found, n, p, name, entry))
            parent = next(same, None)
            if parent is None:
                return tuple(passed)
            passed.append(parent)
        return ()

    def is_woven(self, commit: CommitSha, name: str) -> bool:
        """Tell whether a merge took the outputs of its parents together with other inputs."""
        parents = self.history[commit].parents
        if len(parents) < 2:
            return False
        entry = self._entry(commit, name) or {}
        theirs = [out for parent in parents for out in self._outs(parent, name)]
        return all(out in theirs for out in entry.get("outs") or [])

    def _has(
        self, found: HistoryEntry, number: int, parent: CommitSha, name: str, entry: Entry | None
    ) -> bool:
        untouched = number == 0 and self.path not in found.before
        return untouched or self._entry(parent, name) == entry

    def _outs(self, commit: CommitSha, name: str) -> list[Any]:
        return list((self._entry(commit, name) or {}).get("outs") or [])

    def _entry(self, commit: CommitSha, name: str) -> Entry | None:
        return _lock(self.project, commit).get(name)


def _lock(project: Project, commit: CommitSha) -> Mapping[str, Entry]:
    path = project.path(LOCK)
    text = project.repository.read(commit, [path])[path]
    return _stages(text) if text is not None else {}


@lru_cache(maxsize=256)
def _stages(text: bytes) -> Mapping[str, Entry]:
    try:
        document = load(text, LOCK)
    except ConfigError:
        return {}  # of an earlier commit: it is another state
    stages = document.get("stages") if isinstance(document, dict) else None
    found = stages if isinstance(stages, dict) else {}
    return {name: entry for name, entry in found.items() if isinstance(entry, dict)}
