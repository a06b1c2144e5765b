"""MLflow, DVC's files and the log's clock, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from clew.errors import OutsideError, Unverifiable
from clew.identity import CommitSha, Pointer, RunId
from clew.log import Draft, Entry, Log
from clew.ports import ModelVersion, Reporter, TrackedRun
from tests.gitrepo import OUTPUT

MANIFEST = f"{OUTPUT}/manifest.csv"
START = datetime(2026, 1, 1, tzinfo=UTC)


def place_of(run: RunId) -> str:
    return f"there/{run}"


class Clock:
    """A time of its own for everything that happens."""

    def __init__(self) -> None:
        self.now = START

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


class MemoryLog(Log):
    def __init__(self, clock: Clock) -> None:
        self.clock, self.entries = clock, list[Entry]()
        self.behind = timedelta()  # of the machine that writes

    def logged(self) -> list[Entry]:
        return list(self.entries)

    def head(self) -> CommitSha | None:
        return self.entries[-1].id if self.entries else None

    def fetch(self) -> None:
        pass

    def append(self, drafts: Sequence[Draft], *, publish: bool) -> None:
        known = {entry.key for entry in self.entries}
        for draft in drafts:
            if draft.key not in known:
                number = len(self.entries) + 1
                sha = CommitSha(f"{number:040}")
                moment = self.clock.tick() - self.behind
                self.entries.append(Entry(number, sha, moment, draft.kind, draft.facts))


class MemoryTracker:
    """What is asked of MLflow's registry, and can be changed there by hand."""

    uri = "memory"

    def __init__(self) -> None:
        self.by_number: dict[int, ModelVersion] = {}
        self.by_run: dict[str, TrackedRun] = {}
        self.alias: dict[str, int] = {}
        self.is_up = True

    def check(self, *, writing: bool = True) -> None:
        if not self.is_up:
            raise OutsideError("MLflow is down")

    def versions(self, tags: Mapping[str, str]) -> list[ModelVersion]:
        return [self._shown(one) for one in self.by_number.values()]

    def every_version(self) -> list[ModelVersion]:
        return self.versions({})

    def model_source(self, run_id: RunId) -> str | None:
        return place_of(run_id)

    def version(self, name: str, version_or_alias: str) -> ModelVersion | None:
        number = self.alias.get(version_or_alias)
        if number is None and version_or_alias.isdigit():
            number = int(version_or_alias)
        found = self.by_number.get(number or 0)
        return self._shown(found) if found else None

    def runs(self, tags: Mapping[str, str]) -> list[TrackedRun]:
        return list(self.by_run.values())

    def run(self, run_id: RunId) -> TrackedRun | None:
        return self.by_run.get(run_id)

    def aliases(self) -> Mapping[str, int]:
        return dict(self.alias)

    def _shown(self, version: ModelVersion) -> ModelVersion:
        mine = tuple(name for name, number in self.alias.items() if number == version.version)
        return replace(version, aliases=mine)


class MemoryStore:
    """What DVC's cache and remote hold: one manifest for each directory."""

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}  # by the md5 of the directory

    def files(self, pointer: Pointer) -> dict[str, str]:
        return {MANIFEST: f"m{pointer.md5}"}

    def read(self, hash_name: str, md5: str, path: str) -> bytes:
        if (content := self.manifests.get(md5[1:])) is None:
            raise Unverifiable(f"{path} is lost")
        return content


class Silent(Reporter):
    def step(self, name: str, message: str) -> None:
        pass

    def line(self, text: str) -> None:
        pass

    def progress(self, verb: str, done: int, total: int, what: str = "files") -> None:
        pass
