"""Everything that DVC's files at a commit point to: all `*.dvc` and dvc.lock, in any folder."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from clew.dvcfiles import DEFINITIONS, LEGACY_HASH, LOCK, MD5, OUT_KEYS, Stage, definitions
from clew.dvclock import lock_outs
from clew.dvcyaml import load
from clew.errors import ConfigError


class Held(NamedTuple):
    """An object of DVC's that a path needs."""

    path: str  # relative to the top of the repository
    hash: str
    md5: str
    required: bool  # DVC keeps it in cache and remote, so its absence is a gap in the evidence

    @property
    def is_folder(self) -> bool:
        return self.md5.endswith(".dir")


def is_pointer_file(path: str) -> bool:
    """Tell whether DVC keeps pointers, or what they mean, in a file of this name."""
    name = posixpath.basename(path)
    return name in (LOCK, DEFINITIONS) or (name.endswith(".dvc") and name != ".dvc")


def held_by(texts: Mapping[str, bytes]) -> Iterator[Held | ConfigError]:
    """Yield what a tree's pointer files need, and an error for each that can't be read."""
    for path, text in texts.items():
        if posixpath.basename(path) == DEFINITIONS:
            continue
        try:
            if posixpath.basename(path) == LOCK:
                stages = texts.get(posixpath.join(posixpath.dirname(path), DEFINITIONS))
                yield from _of_lock(path, text, stages)
            else:
                yield from _of_dvc_file(path, text)
        except ConfigError as error:
            yield ConfigError(f"{path} can't be read: {error.what}")


@lru_cache(maxsize=4096)
def _of_dvc_file(path: str, text: bytes) -> tuple[Held, ...]:
    document = load(text, path)
    if not isinstance(document, dict):
        raise ConfigError("it has no mapping at the top")
    deps = document.get("deps") or []
    # `dvc import` leaves the content with the other repository, and DVC never pushes it.
    imported = any(isinstance(dep, dict) and "repo" in dep for dep in deps)
    folder = posixpath.join(posixpath.dirname(path), str(document.get("wdir", ".")))
    entries = _entries(document.get("outs"))
    return tuple(_held(entries, lambda out: posixpath.join(folder, out), lambda _: not imported))


@lru_cache(maxsize=4096)
def _of_lock(path: str, text: bytes, dvc_yaml: bytes | None) -> tuple[Held, ...]:
    folder, stages = posixpath.dirname(path), definitions(dvc_yaml).stages.values()
    found: list[Held] = []
    for stage in stages:
        found += _of_stage(folder, stage, lock_outs(text, stage.is_locked_as))
    # DVC takes no notice of a stage that dvc.yaml has no more.
    gone = lock_outs(text, lambda name: not any(stage.is_locked_as(name) for stage in stages))
    found += _held(gone, lambda out: posixpath.join(folder, out), lambda _: False)
    return tuple(found)


def _of_stage(folder: str, stage: Stage, entries: list[dict[str, Any]]) -> Iterator[Held]:
    # An output that dvc.yaml does not list is one it can't say `cache: false` of.
    outs = list(stage.outs())
    return _held(
        entries,
        lambda path: posixpath.join(folder, stage.place(path)),
        lambda path: all(out.cached for out in outs if out.makes(stage.place(path))),
    )


def _held(
    entries: Iterable[dict[str, Any]],
    placed: Callable[[str], str],
    is_kept: Callable[[str], bool],
) -> Iterator[Held]:
    for entry in entries:
        md5, path = entry.get("md5"), str(entry.get("path"))
        if md5 is None:  # outside of cache and remote: external, cloud-versioned, not brought yet
            continue
        if not isinstance(md5, str) or not MD5.fullmatch(md5):
            raise ConfigError(f"the pointer of {path} is no MD5: {md5!r}")
        required = entry.get("cache") is not False and is_kept(path)
        where = posixpath.normpath(placed(path))
        yield Held(where, str(entry.get("hash", LEGACY_HASH)), md5, required)


def _entries(outs: Any) -> list[dict[str, Any]]:
    if not isinstance(outs, list) or not all(isinstance(entry, dict) for entry in outs):
        raise ConfigError(f"it has no list named `{OUT_KEYS[0]}`")
    return outs
