"""What DVC committed: the stages in dvc.yaml, the pointers in dvc.lock and *.dvc, without DVC."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from clew.dvclock import lock_outs
from clew.dvcyaml import load
from clew.errors import ConfigError
from clew.identity import Pointer

DEFINITIONS, LOCK = "dvc.yaml", "dvc.lock"
OUT_KEYS = ("outs", "metrics", "plots")
LEGACY_HASH = "md5-dos2unix"  # what DVC 1 and 2 wrote, which name no algorithm
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
TEMPLATE = re.compile(r"\$\{[^}]*\}")
REPRODUCE = "Run `clew process`, or `dvc repro` and commit dvc.lock."


class NoPointer(ConfigError):
    """DVC has committed nothing for a data output."""


@dataclass(frozen=True)
class Out:
    """One output as dvc.yaml has it; `path` may hold `${…}` and is relative to dvc.yaml."""

    path: str
    cached: bool

    def makes(self, path: str) -> bool:
        """Tell whether a path is this output or lies within it."""
        parents = [path, *(str(parent) for parent in PurePosixPath(path).parents)]
        return any(_template(self.path).fullmatch(one) for one in parents)


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml; foreach and matrix stages are many in dvc.lock: `name@item`."""

    name: str
    definition: Mapping[str, Any]  # as it is written

    @property
    def body(self) -> Mapping[str, Any]:
        body = self.definition.get("do", self.definition)
        return body if isinstance(body, dict) else {}

    @property
    def wdir(self) -> str:
        return str(self.body.get("wdir", "."))

    def outs(self) -> Iterator[Out]:
        for item in (item for key in OUT_KEYS for item in self.listed(key)):
            for path, options in item.items() if isinstance(item, dict) else [(item, None)]:
                cached = options.get("cache", True) if isinstance(options, dict) else True
                yield Out(self.place(str(path)), bool(cached))

    def deps(self, *, templates: bool = False) -> Iterator[str]:
        """Yield the paths that it reads, relative to dvc.yaml; with `${…}` in them if asked for."""
        for item in self.listed("deps"):
            path = next(iter(item)) if isinstance(item, dict) else str(item)
            if "://" not in path and (templates or "${" not in path):
                yield self.place(path)

    def listed(self, key: str) -> list[Any]:
        """Return what this stage lists under a key; ConfigError when that is no list."""
        return _list(self.body.get(key), f"`{key}` of the stage '{self.name}'")

    def place(self, path: str) -> str:
        """Return a path of this stage relative to dvc.yaml."""
        return posixpath.normpath(posixpath.join(self.wdir, path))

    def is_locked_as(self, name: str) -> bool:
        many = "foreach" in self.definition or "matrix" in self.definition
        return name.startswith(f"{self.name}@") if many else name == self.name


@dataclass(frozen=True)
class Definitions:
    """dvc.yaml."""

    stages: Mapping[str, Stage]
    variables: Sequence[Any]  # top-level `vars`

    def stage(self, name: str) -> Stage:
        """Return a stage by its name or by `name@item`; ConfigError when there is none."""
        found = self.stages.get(name) or self.stages.get(name.partition("@")[0])
        if found is None:
            near = get_close_matches(name, self.stages, 1)
            raise ConfigError(
                f"dvc.yaml has no stage '{name}', which pipeline.yaml names",
                fix=f"Did you mean '{near[0]}'?" if near else _listed("It has", self.stages),
            )
        return found

    def owner(self, output: str) -> tuple[Stage, Out] | None:
        """Return the stage that makes an output; one that names it outright comes first."""
        outs = [(stage, out) for stage in self.stages.values() for out in stage.outs()]
        exact = next((found for found in outs if found[1].path == output), None)
        return exact or next((f for f in outs if _template(f[1].path).fullmatch(output)), None)


@lru_cache(maxsize=1024)
def definitions(text: bytes | None) -> Definitions:
    """Return the stages of dvc.yaml, none when there is no such file; ConfigError when broken."""
    document = load(text, DEFINITIONS) if text is not None else None
    stages = document.get("stages") if isinstance(document, dict) else document
    if not isinstance(stages or {}, dict):
        raise ConfigError("dvc.yaml has no mapping named `stages`", fix="See `dvc stage list`.")
    wrong = [name for name, stage in (stages or {}).items() if not isinstance(stage, dict)]
    if wrong:
        raise ConfigError(f"the stage '{wrong[0]}' in dvc.yaml is no mapping")
    variables = document.get("vars") if isinstance(document, dict) else None
    return Definitions(
        {name: Stage(name, stage) for name, stage in (stages or {}).items()},
        _list(variables, "`vars`"),
    )


def _list(value: Any, where: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise ConfigError(f"{where} in dvc.yaml is no list", fix="See `dvc stage list`.")
    return value or []


def files_of(outputs: Iterable[str]) -> list[str]:
    """Return the files that can hold the pointers of these outputs."""
    return [DEFINITIONS, LOCK, *(f"{output}.dvc" for output in outputs)]


def pointers(outputs: Iterable[str], files: Mapping[str, bytes | None]) -> tuple[Pointer, ...]:
    """Return the pointer of each output, from the contents of `files_of(outputs)`.

    NoPointer when DVC has none, ConfigError when what it has can't be a data version.
    """
    return tuple(_pointer(output, files) for output in outputs)


def pointers_in(lock: bytes, dvc_yaml: bytes, outputs: Iterable[str]) -> tuple[Pointer, ...]:
    """Return the pointers of those outputs that stages make, from a dvc.lock and its dvc.yaml."""
    files = {LOCK: lock, DEFINITIONS: dvc_yaml}
    return pointers((o for o in outputs if definitions(dvc_yaml).owner(o)), files)


def _pointer(output: str, files: Mapping[str, bytes | None]) -> Pointer:
    own = files.get(f"{output}.dvc")
    return _from_dvc_file(output, own) if own is not None else _from_lock(output, files)


@lru_cache(maxsize=4096)
def _from_dvc_file(output: str, text: bytes) -> Pointer:
    source = f"{output}.dvc"
    document = load(text, source)
    if not isinstance(document, dict) or not isinstance(document.get("outs"), list):
        raise ConfigError(f"{source} has no list named `outs`", fix="Run `dvc add` again.")
    folder = posixpath.join(posixpath.dirname(output), str(document.get("wdir", ".")))
    for entry in document["outs"]:
        if not isinstance(entry, dict):
            continue
        if posixpath.normpath(posixpath.join(folder, str(entry.get("path")))) == output:
            return _read(output, entry, source)
    raise ConfigError(f"{source} tracks something else than {output}", fix="Run `dvc add` again.")


def added(path: str, text: bytes) -> Pointer | None:
    """Return the pointer in a *.dvc file; None when DVC brings the content from elsewhere.

    `dvc import` leaves it in the other repository, a cloud-versioned remote under its own names.
    """
    document = load(text, f"{path}.dvc")
    deps, outs = _rows(document, "deps"), _rows(document, "outs")
    if any("repo" in dep for dep in deps) or not all("md5" in out for out in outs):
        return None
    return _from_dvc_file(path, text)


def _rows(document: Any, key: str) -> list[dict[str, Any]]:
    rows = document.get(key) if isinstance(document, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _from_lock(output: str, files: Mapping[str, bytes | None]) -> Pointer:
    owner, lock = definitions(files[DEFINITIONS]).owner(output), files[LOCK]
    if owner is None:
        raise _unowned(output, lock)
    stage, out = owner
    if not out.cached:
        raise _not_cached(output, f"the stage '{stage.name}' in dvc.yaml")
    if lock is None:
        raise NoPointer(f"there is no dvc.lock, so no pointer for {output}", fix=REPRODUCE)
    for entry in lock_outs(lock, stage.is_locked_as):
        if _template(stage.place(str(entry.get("path")))).fullmatch(output):
            return _read(output, entry, LOCK)
    raise NoPointer(
        f"dvc.lock has no pointer for {output}, which the stage '{stage.name}' makes",
        fix=REPRODUCE,
    )


def _unowned(output: str, lock: bytes | None) -> ConfigError:
    """Return why there is no pointer for an output that no stage of dvc.yaml makes."""
    entries = lock_outs(lock, lambda _: True) if lock is not None else []
    if any(entry.get("path") == output for entry in entries):
        return ConfigError(
            f"dvc.lock disagrees with dvc.yaml: it has a pointer for {output}, but no stage of "
            "dvc.yaml has this output any more",
            fix="Bring the stage back, or correct data.outputs in pipeline.yaml; "
            "then `dvc repro` and commit both files.",
        )
    return NoPointer(
        f"DVC does not track {output}: no stage of dvc.yaml has it as an output, and there is no "
        f"{output}.dvc",
        fix="Correct data.outputs in pipeline.yaml, or track it with `dvc add`.",
    )


def untracked(error: NoPointer, output: str, tracked: Iterable[str]) -> NoPointer:
    """Return the error with the nearest path that is tracked, if there is one."""
    known = sorted(set(tracked) - {output})
    for path in known:
        if output.startswith(f"{path}/"):
            return _named(f"{output} is inside {path}, which DVC tracks as a whole", path)
        if path.startswith(f"{output}/"):
            return _named(f"{output} is a folder above {path}, which DVC tracks", path)
    near = get_close_matches(output, known, 1)
    return NoPointer(error.what, fix=f"Did you mean '{near[0]}'?") if near else error


def _named(what: str, path: str) -> NoPointer:
    return NoPointer(what, fix=f"Write {path} in data.outputs of pipeline.yaml.")


def _read(output: str, entry: Mapping[str, Any], source: str) -> Pointer:
    if entry.get("cache") is False:
        raise _not_cached(output, source)
    md5 = entry.get("md5")
    if not isinstance(md5, str) or not MD5.fullmatch(md5):
        other = [key for key in ("etag", "checksum", "files", "cloud") if key in entry]
        found = f"`{other[0]}`" if other else f"md5: {md5!r}"
        raise ConfigError(
            f"{source} identifies {output} by {found}, not by an MD5 that DVC computed",
            fix="A data version must be in DVC's cache: use a local output, not an external or "
            "cloud-versioned one.",
        )
    return Pointer(
        path=output,
        hash=str(entry.get("hash", LEGACY_HASH)),
        md5=md5,
        size=_count(entry, "size"),
        nfiles=_count(entry, "nfiles"),
    )


def _count(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    return value if isinstance(value, int) else None


def _not_cached(output: str, where: str) -> ConfigError:
    return ConfigError(
        f"{where} has `cache: false` for {output}, so DVC keeps no copy of it",
        fix="Remove `cache: false`, then `dvc repro` and commit dvc.lock.",
    )


@lru_cache(maxsize=4096)
def _template(path: str) -> re.Pattern[str]:
    """Return what a path with `${…}` in it can become."""
    return re.compile(".+".join(re.escape(part) for part in TEMPLATE.split(path)))


def _listed(words: str, names: Iterable[str]) -> str:
    return f"{words}: {', '.join(names) or 'none'}."
