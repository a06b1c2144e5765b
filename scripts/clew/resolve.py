"""resolve: from a commit to the data commit, the data version and both fingerprints."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from clew.config.model import Pipeline
from clew.conflicts import Conflict, with_command
from clew.dvcfiles import NoPointer, definitions, files_of, pointers, untracked
from clew.dvcyaml import load
from clew.errors import ClewError, ConfigError, Unverifiable
from clew.fingerprint import training
from clew.identity import (
    CommitSha,
    DataFingerprint,
    Pointer,
    RunFingerprint,
    data_fingerprint,
    data_version,
)
from clew.project import Project
from clew.repository import HistoryEntry

FIRST_CHUNK, LARGEST_CHUNK = 256, 4096  # commits

Pointers = tuple[Pointer, ...]
State = tuple[str | None, ...]  # blob ids of the files that can hold the pointers


@dataclass(frozen=True)
class DataCommit:
    """The commit that stands for a data state, and the names of this state."""

    commit: CommitSha
    version: str
    fingerprint: DataFingerprint
    pointers: Pointers
    tagged: bool  # the data version tag said so


@dataclass(frozen=True)
class Resolution:
    """What a commit means: its data, its training, and what each is known by."""

    commit: CommitSha
    data_git_commit_id: CommitSha
    data_version: str
    data_fingerprint: DataFingerprint
    run_fingerprint: RunFingerprint
    outputs: Pointers
    params: Mapping[str, Any]
    code_digest: str
    environment: Mapping[str, Any]
    tagged: bool  # the data version tag exists already

    def as_json(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name != "outputs"}
        return own | {"outputs": [pointer.as_json() for pointer in self.outputs]}


def resolve(
    project: Project,
    pipeline: Pipeline,
    commit: CommitSha,
    *,
    executor: str,
    overrides: Mapping[str, Any],
    dirty: bool = False,
) -> Resolution:
    """Return what a commit means; `dirty` says that it is a snapshot of an uncommitted tree.

    Raises ConfigError where the commit can't be run, Unverifiable where the data version tag is on
    another data state.
    """
    data = data_commit_of(project, pipeline, commit)
    code = training(project, pipeline, commit, executor=executor, overrides=overrides)
    return Resolution(
        commit=commit,
        data_git_commit_id=data.commit,
        data_version=data.version,
        data_fingerprint=data.fingerprint,
        run_fingerprint=code.fingerprint(data.fingerprint, dirty=dirty),
        outputs=data.pointers,
        params=code.params,
        code_digest=code.code_digest,
        environment=code.environment,
        tagged=data.tagged,
    )


def pointers_at(project: Project, pipeline: Pipeline, commit: CommitSha) -> Pointers:
    """Return the pointers of the data outputs; ConfigError where DVC has committed none."""
    outputs = pipeline.data.outputs
    names = files_of(outputs)
    paths = [project.path(name) for name in names]
    found = project.repository.read(commit, paths)
    files = {name: found[path] for name, path in zip(names, paths, strict=True)}
    for output in outputs:
        try:
            pointers([output], files)
        except NoPointer as error:
            tracked = _tracked(project, commit, files["dvc.yaml"])
            raise untracked(error, output, tracked) from None
        except Conflict as error:
            raise with_command(project, commit, error) from None
    return pointers(outputs, files)


def pointers_then(project: Project, pipeline: Pipeline, commit: CommitSha) -> Pointers:
    """Return the pointers at an earlier commit, before the pipeline was moved to its folder, too.

    ConfigError where DVC has committed none.
    """
    try:
        return pointers_at(project, pipeline, commit)
    except ClewError:
        before = project_at(project, pipeline.name, commit)
        if before == project:
            raise
        return pointers_at(before, pipeline, commit)


def project_at(project: Project, name: str, commit: CommitSha) -> Project:
    """Return where a pipeline was at a commit: it may have been moved since."""
    for entry in project.repository.entries(commit):
        if posixpath.basename(entry.path) != project.file:
            continue
        text = project.repository.read(commit, [entry.path])[entry.path]
        with suppress(ConfigError):
            document = load(text or b"", entry.path)
            if isinstance(document, dict) and document.get("name") == name:
                return replace(project, folder=posixpath.dirname(entry.path))
    return project


def data_commit_of(project: Project, pipeline: Pipeline, commit: CommitSha) -> DataCommit:
    """Return the data commit of the data state that a commit has."""
    return data_commit(project, pipeline, commit, pointers_at(project, pipeline, commit))


def data_commit(
    project: Project, pipeline: Pipeline, commit: CommitSha, wanted: Pointers
) -> DataCommit:
    """Return the commit of the data version tag, or else the one that the walk ends at.

    Unverifiable when the tag is on another data state, ConfigError when the clone is too shallow.
    """
    repository = project.repository
    fingerprint = data_fingerprint(wanted)
    tag = data_version(pipeline.name, fingerprint)
    tagged = repository.tag_commit(tag)
    if tagged is None:
        walk = _Walk(project, pipeline, wanted)
        origin = walk.origin(commit)
        if walk.is_cut(origin):
            tagged = repository.fetch_tag(tag)
            if tagged is None:
                origin = _walked_deeper(project, commit, walk)
    found = tagged or origin
    if found != commit:
        _verify(project, pipeline, found, wanted, tag if tagged else "")
    return DataCommit(found, tag, fingerprint, wanted, tagged is not None)


def _walked_deeper(project: Project, commit: CommitSha, walk: _Walk) -> CommitSha:
    """Return where the walk ends in the whole history; ConfigError when it can't be had."""
    if project.repository.deepen():
        origin = walk.origin(commit)
        if not walk.is_cut(origin):
            return origin
    raise ConfigError(
        "this clone is too shallow: its history ends before the data commit of "
        f"{commit[:12]}, and no remote has the rest or the data version tag",
        fix="Clone with the whole history: `fetch-depth: 0` in actions/checkout, GIT_DEPTH: 0 in "
        "GitLab CI, or `git fetch --unshallow`.",
    )


def _verify(
    project: Project, pipeline: Pipeline, commit: CommitSha, wanted: Pointers, tag: str
) -> None:
    """Hold the pointers at the data commit against those that were asked for."""
    where = f"the data version tag {tag} is on {commit}" if tag else f"the walk ended at {commit}"
    try:
        found = pointers_then(project, pipeline, commit)
    except ClewError as error:
        raise Unverifiable(
            f"{where}, whose pointers can't be read: {error.what}",
            fix=f"A data version never moves. Find out who moved it, then: git tag -d {tag}"
            if tag
            else "This is a bug in clew, please report it.",
        ) from error
    if found != wanted:
        raise Unverifiable(
            f"{where}, whose data is {_shown(found)}; the commit has {_shown(wanted)}",
            fix=f"A data version never moves. Find out who moved it, then: git tag -d {tag}"
            if tag
            else "This is a bug in clew, please report it.",
        )


def _shown(found: Pointers) -> str:
    return ", ".join(f"{pointer.path} {pointer.md5}" for pointer in found)


def _tracked(project: Project, commit: CommitSha, stages: bytes | None) -> Iterator[str]:
    """Yield every path of this pipeline that DVC tracks."""
    for stage in definitions(stages).stages.values():
        yield from (out.path for out in stage.outs())
    prefix = f"{project.path('')}/" if project.folder else ""
    for entry in project.repository.entries(commit):
        if entry.path.startswith(prefix) and entry.path.endswith(".dvc"):
            yield entry.path.removeprefix(prefix).removesuffix(".dvc")


@dataclass
class _Walk:
    """Goes back through parents whose pointers are equal, reading the history in growing chunks."""

    project: Project
    pipeline: Pipeline
    wanted: Pointers
    _entries: dict[CommitSha, HistoryEntry] = field(default_factory=dict)
    _others: dict[CommitSha, State] = field(default_factory=dict)  # of parents but the first
    _texts: dict[str, bytes | None] = field(default_factory=dict)
    _verdicts: dict[State, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._names = files_of(self.pipeline.data.outputs)
        self._paths = [self.project.path(name) for name in self._names]

    def origin(self, commit: CommitSha) -> CommitSha:
        """Return the last commit of the walk that begins here."""
        self._entries.clear()
        chunks = self._chunks(commit)
        (state,) = self._states([commit])
        current = commit
        while True:
            while current not in self._entries:
                self._load(next(chunks))
            step = self._step(self._entries[current], state)
            if step is None:
                return current
            current, state = step

    def is_cut(self, origin: CommitSha) -> bool:
        """Tell whether the walk ended only because this clone lacks the parents."""
        has_parents = bool(self._entries[origin].parents)
        return not has_parents and origin in self.project.repository.shallow_boundary()

    def _step(self, entry: HistoryEntry, state: State) -> tuple[CommitSha, State] | None:
        """Return the first parent with equal pointers, and its state."""
        for number, parent in enumerate(entry.parents):
            there = self._before(entry, state) if number == 0 else self._other(parent)
            if there == state or self._is_equal(there):
                return parent, there
        return None

    def _before(self, entry: HistoryEntry, state: State) -> State:
        if not entry.before:
            return state
        before = entry.before
        return tuple(before.get(path, ours) for path, ours in zip(self._paths, state, strict=True))

    def _other(self, parent: CommitSha) -> State:
        if parent not in self._others:
            # One process for all merges that are known by now: there may be thousands.
            merges = [p for entry in self._entries.values() for p in entry.parents[1:]]
            missing = list(dict.fromkeys(p for p in merges if p not in self._others))
            states = self._states(missing)
            self._others |= zip(missing, states, strict=True)
            self._fetch(oid for state in states for oid in state if oid is not None)
        return self._others[parent]

    def _states(self, commits: list[CommitSha]) -> list[State]:
        asked = [(commit, path) for commit in commits for path in self._paths]
        ids = self.project.repository.object_ids(asked)
        width = len(self._paths)
        return [tuple(ids[at : at + width]) for at in range(0, len(ids), width)]

    def _is_equal(self, state: State) -> bool:
        if state not in self._verdicts:
            self._fetch(oid for oid in state if oid is not None)
            texts = [self._texts[oid] if oid is not None else None for oid in state]
            files = dict(zip(self._names, texts, strict=True))
            try:
                found: Pointers | None = pointers(self.pipeline.data.outputs, files)
            except ConfigError:
                found = None  # a state that can't be read is another state
            self._verdicts[state] = found == self.wanted
        return self._verdicts[state]

    def _chunks(self, commit: CommitSha) -> Iterator[list[HistoryEntry]]:
        history = self.project.repository.history(commit, self._paths)
        size = FIRST_CHUNK
        while chunk := list(itertools.islice(history, size)):
            yield chunk
            size = LARGEST_CHUNK

    def _load(self, chunk: list[HistoryEntry]) -> None:
        self._texts.clear()  # the verdicts stay
        self._entries |= ((entry.commit, entry) for entry in chunk)
        self._fetch(oid for entry in chunk for oid in entry.before.values() if oid is not None)

    def _fetch(self, ids: Iterator[str]) -> None:
        missing = [oid for oid in dict.fromkeys(ids) if oid not in self._texts]
        if missing:
            found = self.project.repository.blobs(missing)
            self._texts |= ((oid, found.get(oid)) for oid in missing)
