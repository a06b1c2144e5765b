"""DVC: its cache, its remote and its own judgement of what is stale, behind `DataStore`."""

from __future__ import annotations

import errno
import functools
import io
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from clew.adapters.s3_objects import etags, sizes
from clew.adapters.translation import translating
from clew.errors import ClewError, ConfigError, OutsideError, Unverifiable
from clew.identity import Pointer
from clew.ports import DataStore, Problem, RemoteConfig
from clew.redaction import without_credentials

HASHED_BYTES = 500_000_000  # of data in the working tree, at most
READERS = 8  # threads; hashing releases the GIL

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the command line has words for these


def _explained(error: Exception, _store: DvcStore) -> ClewError | None:
    from dvc.config import ConfigError as DvcConfigError
    from dvc.exceptions import NotDvcRepoError

    if isinstance(error, OSError) and error.errno in FULL:
        return None
    if isinstance(error, NotDvcRepoError):
        return ConfigError("this is not a DVC repository", fix="Run `dvc init` and commit it.")
    said = without_credentials(str(error) or type(error).__name__)
    if isinstance(error, ImportError):
        return ConfigError(f"DVC lacks a part: {said}", fix="Install it where clew is installed.")
    if isinstance(error, DvcConfigError):
        return ConfigError(f"DVC's configuration is not usable: {said}", fix="See `dvc config -l`.")
    return OutsideError(f"DVC failed: {said}", fix="Running the same command again is safe.")


translated = translating(_explained)


class File(NamedTuple):
    """One file of a directory that DVC tracks."""

    path: str  # relative to pipeline.yaml
    md5: str


class DvcStore(DataStore):
    """The DVC repository that holds pipeline.yaml's folder."""

    def __init__(self, folder: Path, remote: str | None) -> None:
        self._folder = folder
        self._remote = remote
        self._readers: dict[str, Any] = {}  # by the name of the hash
        self._lock = Lock()

    @translated
    def remote(self) -> RemoteConfig:
        from dvc.fs import get_fs_config

        config = self._repo.config
        name = self._remote or config["core"].get("remote")
        known = sorted(config["remote"])
        if name not in known:
            found = f"no DVC remote named {name!r}" if name else "no default DVC remote"
            raise ConfigError(
                f"{found}; there are: {', '.join(known) or 'none'}",
                fix="Add it with `dvc remote add`, or name another in data.remote.",
            )
        # A remote may refer to another (`remote://`), which a job would not know.
        resolved = get_fs_config(config, name=name)
        options = {key: str(value) for key, value in resolved.items()}
        url = options.pop("url")
        return RemoteConfig(name=name, url=_absolute(url, self._repo), options=options)

    @translated
    def verifies(self) -> bool:
        """Tell whether DVC checks what it pulls from the remote (`verify = true`)."""
        return bool(self._repo.config["remote"][self.remote().name].get("verify"))

    @translated
    def check_remote(self) -> None:
        """Raise OutsideError unless the remote can be listed."""
        try:
            odb = self._odb("md5")
            odb.fs.info(odb.path)
        except Exception as error:
            if isinstance(error, FileNotFoundError) and is_absent(error):
                return  # the first push makes it
            raise _unreachable(self.remote().shown_url, error) from error

    @translated
    def stale_stages(self, source: Path, stages: Sequence[str]) -> list[str]:
        """Return the stages that `dvc repro` of these would run, those before them included."""
        from dvc.repo import Repo
        from dvc.repo.reproduce import get_active_graph, plan_repro

        # Without a site cache of its own, DVC would leave a folder in /var/tmp for each source.
        with tempfile.TemporaryDirectory(prefix="clew-") as site:
            core = {"no_scm": True, "site_cache_dir": site}
            with Repo(str(source), config={"core": core}) as repo, repo.lock:
                _silence()
                # A bare stage name would be looked up in the dvc.yaml of the current folder.
                targets = [f"{source / 'dvc.yaml'}:{stage}" for stage in stages]
                wanted = [stage for target in targets for stage in repo.stage.collect(target)]
                # What `dvc repro --dry` does, which fails at inputs that are not in the workspace.
                graph = get_active_graph(repo.index.graph)
                plan = [stage for stage in plan_repro(graph, wanted) if stage.cmd]
                return [stage.name for stage in plan if _is_stale(stage, graph.successors(stage))]

    @translated
    def problems(self, pointers: Sequence[Pointer]) -> list[Problem]:
        return [found for pointer in pointers for found in self._problems_of(pointer)]

    def _problems_of(self, pointer: Pointer) -> list[Problem]:
        odb = self._odb(pointer.hash)
        reason = _object_problem(odb, pointer.md5, pointer.size)
        if reason:
            return [Problem(pointer.path, reason)]
        if not pointer.md5.endswith(".dir"):
            return []
        files = _listing(pointer, odb)
        oids = {file.md5 for file in files}
        there, proven = _seen(odb, oids)
        bad = dict.fromkeys(oids - there, "missing")
        doubtful = sorted(there - proven)
        with ThreadPoolExecutor(READERS) as pool:
            reasons = pool.map(lambda oid: _object_problem(odb, oid), doubtful)
            bad |= {oid: why for oid, why in zip(doubtful, reasons, strict=True) if why}
        return [Problem(file.path, bad[file.md5]) for file in files if file.md5 in bad]

    @translated
    def push(self, pointers: Sequence[Pointer], on_progress: Callable[[int, int], None]) -> int:
        """Copy what the remote lacks from the cache, file by file.

        `dvc push` takes a directory for complete when its listing is there, and goes by an index
        of what the remote once had.
        """
        return sum(self._push(pointer, on_progress) for pointer in pointers)

    def _push(self, pointer: Pointer, on_progress: Callable[[int, int], None]) -> int:
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.transfer import transfer
        from fsspec import Callback

        cache, odb = self._cache(pointer.hash), self._odb(pointer.hash)
        oids = [pointer.md5]
        if pointer.md5.endswith(".dir"):
            oids += [file.md5 for file in _listing(pointer, cache, odb)]
        lacking = sorted(set(oids) - _existing(odb, set(oids)))
        for oid in lacking:
            reason = _object_problem(cache, oid)
            if reason:
                raise ConfigError(
                    f"{pointer.path} can't be pushed: {oid} is {reason} in DVC's cache",
                    fix="Run `dvc push` where the data was created.",
                )
        objects = [HashInfo(pointer.hash, oid) for oid in lacking]
        hooks = {"progress": lambda size, value, **_: on_progress(value, size or len(lacking))}
        result = transfer(cache, odb, objects, cache_odb=cache, callback=Callback(hooks=hooks))
        if result.failed:
            raise OutsideError(
                f"{len(result.failed)} objects could not be pushed to {self.remote().shown_url}",
                fix="Running the same command again pushes only what is missing.",
            )
        return len(lacking)

    @translated
    def modified(self, pointers: Sequence[Pointer]) -> list[str]:
        """Return which paths of the working tree hold something else than the pointers say.

        What is large is told by its size and number of files: hashing it would take too long.
        """
        return [pointer.path for pointer in pointers if self._is_modified(pointer)]

    def _is_modified(self, pointer: Pointer) -> bool:
        path = self._folder / pointer.path
        if not path.exists():
            return False
        ignore = self._repo.dvcignore
        found = ignore.find(self._repo.fs, str(path)) if path.is_dir() else [path]
        files = [Path(file) for file in found]
        if pointer.size is not None and sum(f.stat().st_size for f in files) != pointer.size:
            return True
        if pointer.size is None or pointer.size > HASHED_BYTES:
            return pointer.nfiles is not None and len(files) != pointer.nfiles
        return any(out.changed_checksum() for out in self._repo.find_outs_by_path(str(path)))

    @translated
    def in_cache(self, pointers: Sequence[Pointer]) -> bool:
        """Tell whether the local cache holds every object of the pointers."""
        for pointer in pointers:
            odb = self._cache(pointer.hash)
            if not odb.exists(pointer.md5):
                return False
            if pointer.md5.endswith(".dir"):
                if _object_problem(odb, pointer.md5):
                    return False
                wanted = {file.md5 for file in _listing(pointer, odb)}
                if wanted - _existing(odb, wanted):
                    return False
        return True

    @translated
    def files(self, pointer: Pointer) -> dict[str, str]:
        if not pointer.md5.endswith(".dir"):
            return {pointer.path: pointer.md5}
        places = (self._cache(pointer.hash), self._read_only(pointer.hash))
        return {file.path: file.md5 for file in _listing(pointer, *places)}

    @translated
    def read(self, hash_name: str, md5: str, path: str) -> bytes:
        for place in (self._cache, self._read_only):
            content = _content(place(hash_name), md5)
            if content is not None:
                return content
        raise Unverifiable(
            f"{path} ({md5}) is missing or corrupt in DVC's cache and remote",
            fix="Run `dvc push` where the data was created.",
        )

    @translated
    def sizes(self, hash_name: str, md5s: Iterable[str]) -> dict[str, int]:
        wanted = set(md5s)
        found = _sizes_on_disk(self._cache(hash_name), wanted)
        if not (missing := wanted - found.keys()):
            return found
        odb = self._odb(hash_name)
        if odb.fs.protocol == "local":
            return found | _sizes_on_disk(odb, missing)
        return found | sizes(odb, missing) if odb.fs.protocol == "s3" else found

    def _cache(self, hash_name: str) -> Any:
        cache = self._repo.cache
        return cache.local if hash_name == "md5" else cache.legacy

    def _odb(self, hash_name: str) -> Any:
        return self._repo.cloud.get_remote_odb(self.remote().name, hash_name=hash_name)

    def _read_only(self, hash_name: str) -> Any:
        """Return the remote as it can be read many times: a client of its own each takes 10 MB.

        What it listed once it takes for granted, so nobody may ask it what is there.
        """
        with self._lock:
            if hash_name not in self._readers:
                self._readers[hash_name] = self._odb(hash_name)
            return self._readers[hash_name]

    @functools.cached_property
    def _repo(self) -> Any:
        from dvc.repo import Repo

        _silence()
        # DVC's databases on the side allow one writer; two clew at once need one each.
        self._site = tempfile.TemporaryDirectory(prefix="clew-")
        return Repo(str(self._folder), config={"core": {"site_cache_dir": self._site.name}})


def is_absent(error: FileNotFoundError) -> bool:
    """Tell what is not there from a server that did not answer: fsspec raises the same for both."""
    return not isinstance(error.__cause__, OSError)


def _unreachable(url: str, error: BaseException) -> OutsideError:
    return OutsideError(
        without_credentials(f"the DVC remote {url} can't be reached: {error}"),
        fix="Check the network, its credentials and `dvc remote list`.",
    )


def _absolute(url: str, repo: Any) -> str:
    """Return a local remote's folder as an absolute path; DVC keeps it relative to `.dvc`."""
    if "://" in url:
        return url
    return str((Path(repo.dvc_dir) / url).resolve())


def _is_stale(stage: Any, upstream: Iterable[Any]) -> bool:
    # DVC takes a stage that never ran for unchanged when it may lack its outputs.
    was_run = any(item.hash_info for item in (*stage.deps, *stage.outs))
    return not was_run or stage.changed(allow_missing=True, upstream=list(upstream))


def _silence() -> None:
    """Keep DVC from telling on standard output what it does: that is for our own answer."""
    for name in ("dvc", "dvc_data", "dvc_objects"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _existing(odb: Any, oids: set[str]) -> set[str]:
    """Return which of the objects are there.

    DVC's own `oids_exist` deletes corrupt objects from a local remote and locks the others.
    """
    if odb.fs.protocol == "local":
        return {oid for oid in oids if Path(odb.oid_to_path(oid)).is_file()}
    return set(odb.oids_exist(sorted(oids)))


def _sizes_on_disk(odb: Any, oids: set[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for oid in oids:
        with suppress(OSError):
            # A Path for each would take as long again.
            found[oid] = os.stat(odb.oid_to_path(oid)).st_size  # noqa: PTH116
    return found


def _seen(odb: Any, oids: set[str]) -> tuple[set[str], set[str]]:
    """Return which of the objects are there, and which of these need not be read here.

    Where reading is all that tells right bytes from wrong, the job's own verified pull does it; but
    what is near, or has an ETag to compare, is known before a job is paid for.
    """
    if odb.fs.protocol == "s3":
        found = etags(odb, oids)
        return set(found), {oid for oid, etag in found.items() if etag == oid}
    there = _existing(odb, oids)
    return there, set() if odb.fs.protocol == "local" else there


def _object_problem(odb: Any, oid: str, size: int | None = None) -> str | None:
    """Return what is wrong with an object's bytes, None when they are what its name says.

    The size is that of the content; a `.dir` object is only the listing of it.
    """
    from dvc_data.hashfile.hash import file_md5

    path = odb.oid_to_path(oid)
    try:
        actual = file_md5(path, odb.fs, name=odb.hash_name)
        if actual == oid.removesuffix(".dir"):
            return None
        expected = 1 if size is None or oid.endswith(".dir") else size
        return "truncated" if odb.fs.size(path) < expected else "corrupt"
    except FileNotFoundError as error:
        if not is_absent(error):
            raise _unreachable(odb.path, error.__cause__ or error) from error
        return "missing"


def _content(odb: Any, oid: str) -> bytes | None:
    """Return an object's bytes, None when it is not there or they are not what its name says."""
    from dvc_data.hashfile.hash import fobj_md5

    try:
        with odb.fs.open(odb.oid_to_path(oid), "rb") as file:
            content = bytes(file.read())
    except FileNotFoundError as error:
        if not is_absent(error):
            raise _unreachable(odb.path, error.__cause__ or error) from error
        return None
    actual = fobj_md5(io.BytesIO(content), name=odb.hash_name)
    return content if actual == oid.removesuffix(".dir") else None


def _listing(pointer: Pointer, *odbs: Any) -> list[File]:
    """Return the files of a `.dir` object from the first place that holds its true bytes."""
    for odb in odbs:
        content = _content(odb, pointer.md5)
        if content is not None:
            rows = json.loads(content)
            return [File(f"{pointer.path}/{row['relpath']}", row["md5"]) for row in rows]
    raise Unverifiable(
        f"the list of files of {pointer.path} ({pointer.md5}) is missing or corrupt "
        "in DVC's cache and remote",
        fix="Run `dvc push` where the data was created.",
    )
