"""Real Git histories whose data lies in a real DVC cache and remote, made without running stages.

What a state of the data needs is worked out here by itself, from the files' contents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from clew.adapters.dvc_objects import DvcObjects
from clew.adapters.git_refs import GitRefs
from clew.garbage import GarbagePlan, ObjectStore, Sources, find_garbage, remove
from clew.identity import CommitSha, Pointer
from clew.kept import Registered, RegisteredModels
from clew.ports import Reporter
from tests.gitrepo import GitRepo, git

CONFIG = """\
[core]
    remote = storage
    analytics = false
['remote "storage"']
    url = ../../storage
    verify = true
"""
OUTPUT = "data/prepared"
MODEL = "small-model"


class Silent(Reporter):
    """Shows nothing."""

    def step(self, name: str, message: str) -> None: ...

    def line(self, text: str) -> None: ...

    def progress(self, verb: str, done: int, total: int, what: str = "files") -> None: ...


class Models(RegisteredModels):
    """A registry in memory."""

    def __init__(self) -> None:
        self.versions: dict[str, Registered] = {}

    def register(self, uri: str, commit: str, model: str = MODEL) -> None:
        self.versions[uri] = Registered(uri, model, commit, "", "")

    def registered(self) -> list[Registered]:
        return list(self.versions.values())


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def objects_of(files: Iterable[str]) -> dict[str, bytes]:
    """Return the objects of a folder that has a file for each word, by md5."""
    objects = {md5(word.encode()): word.encode() for word in files}
    rows = [{"md5": md5(word.encode()), "relpath": word} for word in sorted(files)]
    listing = json.dumps(rows).encode()
    return objects | {f"{md5(listing)}.dir": listing}


def pointer(files: Iterable[str]) -> Pointer:
    (folder,) = (oid for oid in objects_of(files) if oid.endswith(".dir"))
    return Pointer(OUTPUT, "md5", folder)


def lock(files: Iterable[str]) -> str:
    return (
        "schema: '2.0'\nstages:\n  prepare:\n    cmd: python p.py\n    outs:\n"
        f"    - path: {OUTPUT}\n      hash: md5\n      md5: {pointer(files).md5}\n"
    )


DVC_YAML = f"stages:\n  prepare:\n    cmd: python p.py\n    outs: [{OUTPUT}]\n"


@dataclass
class StoredData:
    """A clone with a bare origin, a DVC cache and a DVC remote in one folder."""

    top: Path
    models: Models = field(default_factory=Models)

    def __post_init__(self) -> None:
        self.repo = GitRepo(self.top / "work")
        self.repo.git("config", "user.name", "T")
        self.repo.git("config", "user.email", "t@example.com")
        self.repo.git("checkout", "-q", "-b", "main")
        self.repo.write({".dvc/config": CONFIG, ".dvc/.gitignore": "/cache\n/tmp\n"})
        self.repo.commit({"README": "start"})
        self.origin = self.repo.publish(self.top / "origin.git")

    @property
    def cache(self) -> Path:
        return self.repo.path / ".dvc/cache"

    @property
    def storage(self) -> Path:
        return self.top / "storage"

    def put(self, files: Iterable[str], *places: Path) -> None:
        for place in places or (self.cache, self.storage):
            for oid, content in objects_of(files).items():
                path = place / "files/md5" / oid[:2] / oid[2:]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def commit(self, files: Iterable[str], folder: str = "") -> CommitSha:
        """Commit a state of the data that cache and remote hold."""
        self.put(files)
        prefix = f"{folder}/" if folder else ""
        return self.repo.commit({f"{prefix}dvc.lock": lock(files), f"{prefix}dvc.yaml": DVC_YAML})

    def push(self) -> None:
        self.repo.git("push", "-q", "--all", "origin")
        self.repo.git("push", "-q", "--tags", "origin")

    def on_origin(self, *arguments: str) -> None:
        git(self.origin, *arguments)

    def sources(self, wrap: Callable[[ObjectStore], ObjectStore] = lambda store: store) -> Sources:
        refs = GitRefs(self.repo.path, str(self.storage))
        return Sources(refs, self.models, wrap(DvcObjects(self.repo.path, None)), Silent())

    def plan(self, hours: float = 0, *, cache_only: bool = False) -> GarbagePlan:
        return find_garbage(
            self.sources(), model=MODEL, grace=timedelta(hours=hours), cache_only=cache_only
        )

    def clean(self, hours: float = 0, *, cache_only: bool = False) -> GarbagePlan:
        plan = self.plan(hours, cache_only=cache_only)
        remove(self.sources(), plan, cache_only=cache_only)
        return plan

    def held(self, place: Path) -> set[str]:
        found = (path for path in place.rglob("*") if path.is_file())
        return {f"{path.parent.name}{path.name}" for path in found}


def reasons(plan: GarbagePlan) -> set[str]:
    return {kept.reason for kept in plan.kept}


def removed(plan: GarbagePlan) -> set[str]:
    return {one.oid for garbage in plan.garbage for one in garbage.objects}
