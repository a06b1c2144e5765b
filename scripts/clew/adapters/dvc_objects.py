"""DVC: the objects in its cache and its remote, behind `ObjectStore`; DVC knows how to get there.

An object lies at `files/md5/ab/cdef…`, one of DVC 1 and 2 at `ab/cdef…`. The run cache (`runs/`)
holds no data and is left: DVC takes an entry for absent when its outputs are.
https://dvc.org/doc/user-guide/project-structure/internal-files#structure-of-the-cache-directory
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import stat
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clew.adapters.dvc import DvcStore, is_absent, translated
from clew.errors import ConfigError, OutsideError
from clew.garbage import ObjectStore, Place, Stored
from clew.pointer_files import Held

AT_ONCE = 16  # lists of files that are read
OBJECT = re.compile(r"(?:files/md5/)?([0-9a-f]{2})/([0-9a-f]{30}(?:\.dir)?)")
FOLDERS = ("files/md5/", "")  # of DVC 3, and of DVC 1 and 2
MODIFIED = ("LastModified", "last_modified", "mtime", "updated", "modified")  # as fsspec has it
VERSIONED = (
    "this bucket keeps old versions: what is removed lives on as such, and is paid for, until a "
    "lifecycle rule (NoncurrentVersionExpiration) or `aws s3api delete-object --version-id` ends it"
)
UNKNOWN = "whether this bucket keeps old versions of what is removed could not be asked"


class _Place(Place):
    """One folder with DVC's objects, here or in the cloud."""

    def __init__(self, name: str, url: str, fs: Any, path: str) -> None:
        self.name, self.url = name, url
        self._fs, self._path = fs, str(path).rstrip("/")

    @property
    def note(self) -> str:
        if self._fs.protocol != "s3":
            return ""
        bucket = self._path.partition("/")[0]
        try:
            answer = self._fs.fs.call_s3("get_bucket_versioning", Bucket=bucket)
        except Exception:  # mostly a right that one does without
            return UNKNOWN
        return VERSIONED if answer.get("Status") else ""

    @translated
    def objects(self) -> list[Stored]:
        rows = (
            _files_here(Path(self._path)) if self._fs.protocol == "local" else self._files_there()
        )
        matched = ((key, OBJECT.fullmatch(key), size, moment) for key, size, moment in rows)
        return [Stored(key, m[1] + m[2], size, moment) for key, m, size, moment in matched if m]

    def _files_there(self) -> Iterator[tuple[str, int, datetime | None]]:
        self._fs.fs.invalidate_cache()
        try:
            found: Mapping[str, Any] = self._fs.fs.find(self._path, detail=True)
        except FileNotFoundError as error:
            if not is_absent(error):
                raise
            return
        for name, info in found.items():
            key = str(name).removeprefix(f"{self._path}/")
            yield key, int(info["size"]), _modified(info)

    @translated
    def remove(self, keys: Sequence[str]) -> None:
        paths = [f"{self._path}/{key}" for key in keys]
        if self._fs.protocol == "local":
            for path in paths:
                Path(path).unlink(missing_ok=True)
            return
        with suppress(FileNotFoundError):  # another gc was there first
            self._fs.remove(paths)
        # S3 answers for each object of a request, which its client does not pass on.
        with ThreadPoolExecutor(AT_ONCE) as pool:
            left = [
                path
                for path, there in zip(paths, pool.map(self._is_there, paths), strict=True)
                if there
            ]
        if left:
            raise OutsideError(
                f"{len(left)} objects could not be removed from {self.url}, first {left[0]}",
                fix="Check the right to delete there; the same command goes on.",
            )

    def _is_there(self, path: str) -> bool:
        try:
            self._fs.fs.info(path, **({"refresh": True} if self._fs.protocol == "s3" else {}))
        except FileNotFoundError as error:
            if not is_absent(error):
                raise
            return False
        return True

    def read(self, oid: str) -> bytes | None:
        """Return the true bytes of an object, None where there are none."""
        for folder in FOLDERS:
            try:
                with self._fs.open(f"{self._path}/{folder}{oid[:2]}/{oid[2:]}", "rb") as file:
                    content = bytes(file.read())
            except FileNotFoundError as error:
                if not is_absent(error):
                    raise
                continue
            if hashlib.md5(content, usedforsecurity=False).hexdigest() == oid.removesuffix(".dir"):
                return content
        return None


class DvcObjects(DvcStore, ObjectStore):
    """The objects of the DVC repository that holds pipeline.yaml's folder."""

    @translated
    def places(self, *, remote: bool) -> list[Place]:
        cache = [] if self.shared_cache() else [self._cache_place]
        return [*cache, *([self._remote_place] if remote else [])]

    @translated
    def shared_cache(self) -> str | None:
        cache = Path(self._cache_place.url).resolve()
        return None if Path(self._repo.dvc_dir).resolve() in cache.parents else str(cache)

    def listings(self, folders: Collection[Held]) -> Iterator[tuple[str, Collection[str] | None]]:
        names = list(dict.fromkeys(held.md5 for held in folders))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from zip(names, pool.map(self._files_of, names), strict=True)

    @translated
    def _files_of(self, md5: str) -> frozenset[str] | None:
        """Return what a `.dir` object lists, from the first place that has its true bytes."""
        for place in self._sources:
            content = place.read(md5)
            if content is not None:
                return frozenset(sys.intern(row["md5"]) for row in json.loads(content))
        return None

    @functools.cached_property
    def _sources(self) -> list[_Place]:
        places = [self._cache_place]
        with suppress(ConfigError):  # there is no remote, or it has no such lists
            places.append(self._remote_place)
        return places

    @functools.cached_property
    def _cache_place(self) -> _Place:
        odb = self._repo.cache.legacy  # DVC 1 and 2's cache is the folder around DVC 3's
        return _Place("cache", str(odb.path), odb.fs, odb.path)

    @functools.cached_property
    def _remote_place(self) -> _Place:
        config = self.remote()
        for option in ("version_aware", "worktree"):
            if config.options.get(option, "").lower() == "true":
                raise ConfigError(
                    f"the DVC remote '{config.name}' is cloud-versioned ({option}): its files have "
                    "their own names, so what is needed can't be told from what is not",
                    fix="Let the bucket's lifecycle rules clean up old versions; for the cache "
                    "alone: --cache-only.",
                )
        remote = self._repo.cloud.get_remote(config.name)
        return _Place("remote", config.shown_url, remote.fs, remote.path)


def _files_here(folder: Path) -> Iterator[tuple[str, int, datetime | None]]:
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a push renames what it has written
            found = path.lstat()
            if stat.S_ISREG(found.st_mode):
                # What was moved or linked here keeps the time of the file that it was made of.
                moment = datetime.fromtimestamp(max(found.st_mtime, found.st_ctime), UTC)
                yield path.relative_to(folder).as_posix(), found.st_size, moment


def _modified(info: Mapping[str, Any]) -> datetime | None:
    """Return when an object came here, None where this kind of remote does not say."""
    moments = [_moment(info[key]) for key in MODIFIED if info.get(key) is not None]
    known = [moment for moment in moments if moment is not None]
    return max(known) if known else None


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    try:
        return _moment(datetime.fromisoformat(value)) if isinstance(value, str) else None
    except ValueError:
        return None
