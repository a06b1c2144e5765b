"""DVC: its cache, its remote and its own judgement of what is stale, behind `DataStore`."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from clew.errors import ClewError, ConfigError, OutsideError
from clew.identity import Pointer
from clew.ports import DataFile, DataStore, Problem, RemoteConfig

READERS = 8  # threads; hashing releases the GIL

P = ParamSpec("P")
R = TypeVar("R")


def _translated(call: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except (ClewError, OSError):
            raise
        except Exception as error:
            raise _explained(error) from error

    return wrapper


def _explained(error: Exception) -> ClewError:
    from dvc.config import ConfigError as DvcConfigError
    from dvc.exceptions import NotDvcRepoError

    if isinstance(error, NotDvcRepoError):
        return ConfigError("this is not a DVC repository", fix="Run `dvc init` and commit it.")
    said = str(error) or type(error).__name__
    if isinstance(error, DvcConfigError):
        return ConfigError(f"DVC's configuration is not usable: {said}", fix="See `dvc config -l`.")
    return OutsideError(f"DVC failed: {said}", fix="Running the same command again is safe.")


class DvcStore(DataStore):
    """The DVC repository that holds pipeline.yaml's folder."""

    def __init__(self, folder: Path, remote: str | None) -> None:
        self._folder = folder
        self._remote = remote

    @_translated
    def remote(self) -> RemoteConfig:
        config = self._repo.config
        name = self._remote or config["core"].get("remote")
        known = sorted(config["remote"])
        if name not in known:
            found = f"no DVC remote named {name!r}" if name else "no default DVC remote"
            raise ConfigError(
                f"{found}; there are: {', '.join(known) or 'none'}",
                fix="Add it with `dvc remote add`, or name another in data.remote of pipeline.yaml.",
            )
        options = {key: str(value) for key, value in config["remote"][name].items()}
        url = options.pop("url")
        return RemoteConfig(name=name, url=_absolute(url, self._repo), options=options)

    @_translated
    def verifies(self) -> bool:
        """Tell whether DVC checks what it pulls from the remote (`verify = true`)."""
        return bool(self._repo.config["remote"][self.remote().name].get("verify"))

    @_translated
    def check_remote(self) -> None:
        """Raise OutsideError unless the remote can be listed."""
        odb = self._odb("md5")
        try:
            odb.fs.exists(odb.path)
        except Exception as error:
            raise OutsideError(
                f"the DVC remote {self.remote().url} can't be reached: {error}",
                fix="Check the network, its credentials and `dvc remote list`.",
            ) from error

    @_translated
    def stale_stages(self, source: Path, stages: Sequence[str]) -> list[str]:
        from dvc.repo import Repo

        with Repo(str(source), config={"core": {"no_scm": True}}) as repo:
            # A bare stage name would be looked up in the dvc.yaml of the current folder.
            targets = [f"{source / 'dvc.yaml'}:{stage}" for stage in stages]
            _silence()
            stale = repo.reproduce(targets, dry=True, allow_missing=True, run_cache=False)
        return [stage.name for stage in stale]

    @_translated
    def problems(self, pointers: Sequence[Pointer]) -> list[Problem]:
        found: list[Problem] = []
        for pointer in pointers:
            odb = self._odb(pointer.hash)
            found += self._problems_of(odb, pointer)
        return found

    def _problems_of(self, odb: Any, pointer: Pointer) -> list[Problem]:
        reason = _object_problem(odb, pointer.md5)
        if reason:
            return [Problem(pointer.path, reason)]
        if not pointer.md5.endswith(".dir"):
            return []
        files = _listing(odb, pointer)
        there = set(odb.oids_exist(sorted({file.md5 for file in files})))
        missing = [Problem(file.path, "missing") for file in files if file.md5 not in there]
        present = [file for file in files if file.md5 in there]
        if odb.fs.protocol != "local":
            return missing  # the job's own verified pull reads every byte
        with ThreadPoolExecutor(READERS) as pool:
            reasons = pool.map(lambda file: _object_problem(odb, file.md5), present)
        return missing + [
            Problem(file.path, reason)
            for file, reason in zip(present, reasons, strict=True)
            if reason
        ]

    @_translated
    def push(self, pointers: Sequence[Pointer]) -> int:
        from dvc_data.hashfile.hash_info import HashInfo

        objects = [HashInfo(pointer.hash, pointer.md5) for pointer in pointers]
        result = self._repo.cloud.push(objects, remote=self.remote().name)
        if result.failed:
            raise OutsideError(
                f"{len(result.failed)} objects could not be pushed to {self.remote().url}",
                fix="Running the same command again pushes only what is missing.",
            )
        return len(result.transferred)

    @_translated
    def in_cache(self, pointers: Sequence[Pointer]) -> bool:
        """Tell whether the local cache holds every object of the pointers."""
        for pointer in pointers:
            odb = self._repo.cache.local if pointer.hash == "md5" else self._repo.cache.legacy
            if not odb.exists(pointer.md5):
                return False
            if pointer.md5.endswith(".dir"):
                wanted = {file.md5 for file in _listing(odb, pointer)}
                if wanted - set(odb.oids_exist(sorted(wanted))):
                    return False
        return True

    @_translated
    def files(self, pointers: Sequence[Pointer]) -> list[DataFile]:
        found: list[DataFile] = []
        for pointer in pointers:
            if pointer.md5.endswith(".dir"):
                found += _listing(self._odb(pointer.hash), pointer)
            else:
                found.append(DataFile(pointer.path, pointer.md5))
        return found

    def _odb(self, hash_name: str) -> Any:
        return self._repo.cloud.get_remote_odb(self.remote().name, hash_name=hash_name)

    @functools.cached_property
    def _repo(self) -> Any:
        from dvc.repo import Repo

        _silence()
        return Repo(str(self._folder))


def _silence() -> None:
    """Keep DVC from telling on standard output what it does: that is for our own answer."""
    logging.getLogger("dvc").setLevel(logging.ERROR)


def _absolute(url: str, repo: Any) -> str:
    """Return a local remote's folder as an absolute path; DVC keeps it relative to `.dvc`."""
    if "://" in url:
        return url
    return str((Path(repo.dvc_dir) / url).resolve())


def _object_problem(odb: Any, oid: str) -> str | None:
    """Return what is wrong with an object's bytes, None when they are what its name says."""
    try:
        with odb.fs.open(odb.oid_to_path(oid), "rb") as file:
            content = hashlib.md5(usedforsecurity=False)
            size = 0
            while chunk := file.read(1 << 20):
                content.update(chunk)
                size += len(chunk)
    except FileNotFoundError:
        return "missing"
    if content.hexdigest() == oid.removesuffix(".dir"):
        return None
    return "corrupt" if size else "truncated"


def _listing(odb: Any, pointer: Pointer) -> list[DataFile]:
    """Return the files of a `.dir` object."""
    with odb.fs.open(odb.oid_to_path(pointer.md5), "rb") as file:
        rows = json.loads(file.read())
    return [DataFile(f"{pointer.path}/{row['relpath']}", row["md5"]) for row in rows]
