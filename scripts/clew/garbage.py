"""gc: what DVC's cache and remote hold and nothing needs; what is not proven is kept.

The objects are listed first and the evidence is read afterwards, so that what is pushed in between
counts. Anything that can't be read makes the answer UNVERIFIABLE, and then nothing is removed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from clew.errors import ConfigError, OutsideError, Unverifiable
from clew.kept import Kept, Needs, Refs, RegisteredModels, kept_versions
from clew.pointer_files import Held
from clew.ports import Reporter

BATCH = 1_000  # objects: what S3 deletes with one request


class _Size(NamedTuple):
    """How many objects there are, in cache and remote together, and how large they are."""

    objects: int
    bytes: int


_NOTHING = _Size(0, 0)


@dataclass(frozen=True)
class Stored:
    """One object in a cache or a remote."""

    key: str  # below the cache or the remote
    oid: str
    size: int  # bytes
    modified: datetime | None  # None: the remote does not say

    @property
    def is_folder(self) -> bool:
        return self.oid.endswith(".dir")


class Place(Protocol):
    """A DVC cache or a DVC remote."""

    name: str  # cache | remote
    url: str

    @property
    def note(self) -> str:
        """What its user should know: that it keeps old versions, say."""

    def objects(self) -> list[Stored]:
        """Return every object of DVC's; what else lies there is none of them."""

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects; no error where one is gone already, OutsideError when one stays."""


class ObjectStore(Protocol):
    """DVC's objects, wherever they are."""

    def places(self, *, remote: bool) -> list[Place]:
        """Return the cache and the remote; ConfigError where removing from them is not safe."""

    def shared_cache(self) -> str | None:
        """Return where the cache is when it is not the repository's own; nothing there is ours."""

    def listings(self, folders: Collection[Held]) -> Iterator[tuple[str, Collection[str] | None]]:
        """Yield each folder's md5 and those of its files, None where no place has its true list."""


@dataclass(frozen=True)
class Garbage:
    """The objects of one place that nothing needs."""

    place: Place
    objects: tuple[Stored, ...]
    paths: Mapping[str, str]  # of an object's md5, as far as a commit tells

    def by_path(self) -> dict[str, list[Stored]]:
        """Return the objects by the path that they were the content of."""
        found: dict[str, list[Stored]] = defaultdict(list)
        for one in self.objects:
            found[self.paths.get(one.oid, "(in no commit)")].append(one)
        return dict(sorted(found.items()))

    def as_json(self) -> dict[str, Any]:
        paths = {path: _sum(objects) for path, objects in self.by_path().items()}
        where = {"place": self.place.name, "url": self.place.url, "note": self.place.note}
        return where | _sum(self.objects) | {"paths": paths}


@dataclass(frozen=True)
class GarbagePlan:
    """What is kept and why, and what would be removed: nothing when there are problems."""

    kept: tuple[Kept, ...]
    garbage: tuple[Garbage, ...]
    problems: tuple[str, ...]
    state: Mapping[str, str] = field(repr=False)  # branches and tags that this goes by

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": "UNVERIFIABLE" if self.problems else "PASS",
            "problems": list(self.problems),
            "kept": [kept.as_json() for kept in self.kept],
            "remove": [garbage.as_json() for garbage in self.garbage],
        }


@dataclass(frozen=True)
class Sources:
    """Where the evidence is."""

    refs: Refs
    models: RegisteredModels
    objects: ObjectStore
    reporter: Reporter
    elsewhere: frozenset[str] = frozenset()  # paths that training makes: MLflow keeps them


def find_garbage(
    sources: Sources, *, model: str, grace: timedelta, cache_only: bool
) -> GarbagePlan:
    """Return what could be removed; Unverifiable when MLflow or the Git remote can't be asked."""
    tell = sources.reporter.step
    places = _places(sources, cache_only=cache_only)
    stored = {place.name: place.objects() for place in places}
    everything = [one for objects in stored.values() for one in objects]
    tell("gc", f"{len(everything):,} objects in {' and '.join(stored)}")
    state = _state(sources, cache_only=cache_only)
    needs = kept_versions(sources.refs, sources.models, model)
    tell("gc", f"{len(needs.versions):,} versions are needed")
    young = _young(everything, datetime.now(UTC) - grace)
    hours = grace.total_seconds() / 3600
    needs.add(f"younger than {hours:g} h", [Held("", "md5", oid, True) for oid in young])
    needed, kept = _needed(needs, sources, _sizes(everything))
    rest = {name: [o for o in found if o.oid not in needed] for name, found in stored.items()}
    paths = _paths(sources, [one for found in rest.values() for one in found])
    known = not needs.problems
    return GarbagePlan(
        kept=kept,
        garbage=tuple(
            Garbage(place, tuple(rest[place.name]) if known else (), paths) for place in places
        ),
        problems=tuple(dict.fromkeys(needs.problems)),
        state=state,
    )


def _places(sources: Sources, *, cache_only: bool) -> list[Place]:
    shared = sources.objects.shared_cache()
    if shared is not None:
        words = f"DVC's cache {shared} may hold the data of other repositories, too"
        if cache_only:
            raise ConfigError(f"{words}: it is left alone", fix="Use `dvc gc --projects` for it.")
        sources.reporter.step("gc", f"{words}: it is left alone")
    return sources.objects.places(remote=not cache_only)


def remove(sources: Sources, plan: GarbagePlan, *, cache_only: bool) -> None:
    """Remove what the plan says, first the lists of folders, then files.

    So a folder whose files are partly gone never looks whole, wherever this is killed; the same
    again goes on. OutsideError when branches or tags moved since the plan was made.
    """
    if plan.problems:
        raise Unverifiable(
            f"nothing was removed: {plan.problems[0]}", fix="See `clew gc` for all of it."
        )
    for folders in (True, False):
        for garbage in plan.garbage:
            chosen = [one.key for one in garbage.objects if one.is_folder is folders]
            for at in range(0, len(chosen), BATCH):
                _refuse_moved(sources, plan, cache_only=cache_only)
                garbage.place.remove(chosen[at : at + BATCH])
                done = min(at + BATCH, len(chosen))
                sources.reporter.progress(f"{garbage.place.name}: removed", done, len(chosen))
    _refuse_moved(sources, plan, cache_only=cache_only)


def _refuse_moved(sources: Sources, plan: GarbagePlan, *, cache_only: bool) -> None:
    if _state(sources, cache_only=cache_only) != plan.state:
        raise OutsideError(
            "branches or tags changed meanwhile, and may need what was garbage before",
            fix="Run the same command again: it looks anew at what is needed.",
        )


def _state(sources: Sources, *, cache_only: bool) -> dict[str, str]:
    theirs = sources.refs.remote_refs()
    if theirs is None and not cache_only:
        raise Unverifiable(
            "there is no Git remote to ask which branches and data versions there are",
            fix="Add it with `git remote add origin URL`, or clean up the cache: --cache-only.",
        )
    named = {f"remote {name}": str(tip) for name, tip in (theirs or {}).items()}
    return named | {name: str(tip) for name, tip in sources.refs.local_refs().items()}


def _young(objects: Iterable[Stored], since: datetime) -> set[str]:
    """Return what may be of a run that has not committed its pointers yet."""
    return {one.oid for one in objects if one.modified is None or one.modified > since}


def _needed(
    needs: Needs, sources: Sources, sizes: Mapping[str, _Size]
) -> tuple[set[str], tuple[Kept, ...]]:
    """Return every object that is needed, the files of folders among them, and why."""
    every = {held.md5: held for version in needs.versions.values() for held in version}
    needed = set(every)
    sums = {md5: sizes.get(md5, _NOTHING) for md5 in every}
    folders = [held for held in every.values() if held.is_folder]
    for md5, files in sources.objects.listings(folders):
        if files is None:
            needs.problems += _gap(needs, md5, sources.elsewhere)
        else:
            needed.update(files)
            sums[md5] = _add(sizes.get(oid, _NOTHING) for oid in (md5, *files))
    kept = ((r, _add(sums[md5] for md5 in {h.md5 for h in v})) for r, v in needs.versions.items())
    return needed, tuple(Kept(reason, size.objects, size.bytes) for reason, size in kept)


def _gap(needs: Needs, md5: str, elsewhere: frozenset[str]) -> list[str]:
    """Return what is to be said of a list of files that nobody has, if somebody needs it."""
    lacking = {
        reason: held.path or "a folder"
        for reason, version in needs.versions.items()
        for held in version
        if held.md5 == md5 and held.required and held.path not in elsewhere
    }
    return [
        f"{reason}: the list of files of {path} ({md5}) is missing or corrupt in cache and "
        "remote; run `dvc push` where it was made"
        for reason, path in lacking.items()
    ]


def _sizes(objects: Iterable[Stored]) -> dict[str, _Size]:
    sizes: dict[str, _Size] = {}
    for one in objects:
        before = sizes.get(one.oid, _NOTHING)
        sizes[one.oid] = _Size(before.objects + 1, before.bytes + one.size)
    return sizes


def _add(sizes: Iterable[_Size]) -> _Size:
    found = list(sizes)
    return _Size(sum(one.objects for one in found), sum(one.bytes for one in found))


def _paths(sources: Sources, rest: Sequence[Stored]) -> dict[str, str]:
    """Return which path each object was the content of, as far as any commit here tells."""
    if not rest:
        return {}
    known = {held.md5: held for held in sources.refs.past()}
    folders = [known[one.oid] for one in rest if one.is_folder and one.oid in known]
    paths = {md5: held.path for md5, held in known.items()}
    for md5, files in sources.objects.listings(folders):
        for oid in files or ():
            paths.setdefault(oid, known[md5].path)
    return paths


def _sum(objects: Sequence[Stored]) -> dict[str, int]:
    return {"objects": len(objects), "bytes": sum(one.size for one in objects)}


def shown_bytes(size: int) -> str:
    """Return a size as people read it."""
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"
